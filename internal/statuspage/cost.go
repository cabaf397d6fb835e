package statuspage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/status"
)

// bytesPerGB is what AWS means by a GB: its price examples have 1,024 GB in a TB.
const bytesPerGB = 1 << 30

// costs are the tables of what was ingested.
type costs struct {
	// Price is the price of a GB, or "" if there is none.
	Price string
	Total costRow
	// Since is the time from which the month is projected, if it is later than yesterday.
	Since      string
	Groups     []costRow
	Containers []costRow
}

// costRow is one line of a table of costs.
type costRow struct {
	Key, Container, Group string
	// Others counts the rows that this row sums up.
	Others int
	Today  string
	// TodayCost, Month and MonthCost are empty if they are not known.
	TodayCost, Month, MonthCost string
}

// newCosts returns the tables, or nil if nothing counts.
func (h *handler) newCosts(r *status.Report, all bool) *costs {
	if h.Usage == nil {
		return nil
	}
	u := h.Usage()
	if u.Time.IsZero() {
		return nil
	}
	money := h.money(r.Region)
	most := maxCosts
	if all {
		most = len(u.Ingested)
	}
	groups := map[string]status.Ingested{}
	for _, i := range u.Ingested {
		sum := groups[i.Group]
		sum.Group, sum.Bytes, sum.Yesterday = i.Group, sum.Bytes+i.Bytes, sum.Yesterday+i.Yesterday
		groups[i.Group] = sum
	}
	byGroup := make([]status.Ingested, 0, len(groups))
	for _, g := range groups {
		byGroup = append(byGroup, g)
	}
	slices.SortFunc(byGroup, func(a, b status.Ingested) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Yesterday, a.Yesterday), cmp.Compare(a.Group, b.Group))
	})
	c := &costs{
		Total:      costOf(u, u.Total(), money),
		Groups:     costRows(u, byGroup, most, money),
		Containers: costRows(u, u.Ingested, most, money),
	}
	if h.PricePerGB > 0 {
		c.Price = money(bytesPerGB)
	}
	if u.Since.After(u.Day) {
		c.Since = clock(u.Since, r.Time)
	}
	return c
}

// costRows returns the first rows, and one for the rest.
func costRows(u status.Usage, all []status.Ingested, most int, money func(int64) string) []costRow {
	var rows []costRow
	for _, i := range all[:min(len(all), most)] {
		rows = append(rows, costOf(u, i, money))
	}
	if len(all) > most {
		rest := costOf(u, status.Usage{Ingested: all[most:]}.Total(), money)
		rest.Key, rest.Others = "others", len(all)-most
		rows = append(rows, rest)
	}
	return rows
}

func costOf(u status.Usage, i status.Ingested, money func(int64) string) costRow {
	row := costRow{
		Key: "i-" + i.Container + "\n" + i.Group, Container: i.Container, Group: i.Group,
		Today: size(i.Bytes), TodayCost: money(i.Bytes),
	}
	if month, ok := u.Month(i); ok {
		row.Month, row.MonthCost = size(month), money(month)
	}
	return row
}

// money returns a function that prints the price of bytes, in the currency of the region's
// partition.
func (h *handler) money(region string) func(int64) string {
	if h.PricePerGB <= 0 {
		return func(int64) string { return "" }
	}
	sign := "$"
	switch {
	case strings.HasPrefix(region, "cn-"):
		sign = "¥"
	case strings.HasPrefix(region, "eusc-"):
		sign = "€"
	}
	return func(bytes int64) string {
		price := float64(bytes) / bytesPerGB * h.PricePerGB
		switch {
		case price > 0 && price < 0.01:
			return "<" + sign + "0.01"
		case price >= 1000:
			return sign + count(int64(price+0.5))
		}
		return fmt.Sprintf("%s%.2f", sign, price)
	}
}
