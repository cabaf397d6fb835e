package statuspage

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// view is what the template shows.
type view struct {
	Assets string
	// Seconds is the time between two updates.
	Seconds int

	Report   *status.Report
	Uptime   string
	Headline headline
	Figures  figures
	Services []serviceView
	Disk     meter
	Files    meter
	Faults   []faultView
	// MoreFaults and MoreServices count those that are not shown.
	MoreFaults, MoreServices int

	Heads []head
	Rows  []*row
	// Containers is how many there are, and AllLink the address of the page with all of them
	// if Rows lacks some.
	Containers int
	AllLink    string
	Costs      *costs
}

// figures are the sums of all containers.
type figures struct {
	LineRate, ByteRate           string
	Lines, Bytes                 spark
	UndeliveredBytes, Undelivers string
	Oldest                       string
	Late                         bool
	Dropped, DroppedWhy          string
}

// serviceView is CloudWatch Logs with one access.
type serviceView struct {
	*status.Service
	Level string
	// Access says as whom and where, if that is not the default.
	Access        string
	Since, Remedy string
	Error         string
	Requests      string
	Latency       string
	Compression   string
}

type faultView struct {
	What, Error, Remedy string
	Since               string
	Times               string
	// Attrs has what else the log says, such as "region eu-west-1".
	Attrs string
}

// meter is a bar that shows how much of a limit is used.
type meter struct {
	Used, Limit int64
	Percent     int
	Level       string
}

func newMeter(used, limit int64) meter {
	m := meter{Used: used, Limit: limit, Level: good}
	if limit > 0 {
		m.Percent = int(min(100, max(0, used)*100/limit))
	}
	switch {
	case m.Percent >= 95:
		m.Level = bad
	case m.Percent >= 80:
		m.Level = warn
	}
	return m
}

// view makes the page for a query.
func (h *handler) view(q query) view {
	r := h.source.Report()
	every := h.Refresh
	if q.all && len(r.Containers) > maxRows {
		every = max(every, refreshAll)
	}
	v := view{
		Assets: h.assets.version, Seconds: max(1, int(every/time.Second)),
		Report: r, Uptime: age(r.Time.Sub(r.Started)),
		Headline: newHeadline(r), Figures: h.figures(r),
		Disk: newMeter(r.Disk.Used, r.Disk.Limit), Files: newMeter(int64(r.Process.OpenFiles), int64(r.Process.MaxFiles)),
		MoreFaults: max(0, len(r.Faults)-maxItems), MoreServices: max(0, len(r.Services)-maxItems),
		Heads: q.heads(), Costs: h.newCosts(r, q.all),
	}
	for _, s := range r.Services[:min(len(r.Services), maxItems)] {
		v.Services = append(v.Services, newService(s, r.Time))
	}
	for _, f := range r.Faults[:min(len(r.Faults), maxItems)] {
		v.Faults = append(v.Faults, newFault(f, r.Time))
	}
	v.Rows, v.Containers = q.rows(r, h.source.History)
	if len(v.Rows) < v.Containers {
		q.all = true
		v.AllLink = q.address()
	}
	return v
}

func (h *handler) figures(r *status.Report) figures {
	var f figures
	var rate status.Rate
	var bytes, unsent int64
	var oldest time.Duration
	known := true
	lost := status.Traffic{}
	lost.Add(r.Ended)
	for i := range r.Containers {
		c := &r.Containers[i]
		rate.Lines += c.Rate.Lines
		rate.Bytes += c.Rate.Bytes
		lost.Add(c.Traffic)
		if c.State == status.ContainerIgnored {
			continue
		}
		bytes += c.Undelivered.Bytes
		if n := c.Undelivered.Lines; n != nil {
			unsent += *n
		} else {
			known = false
		}
		if t := c.Undelivered.Oldest; !t.IsZero() {
			oldest = max(oldest, r.Time.Sub(t))
		}
		f.Late = f.Late || isLate(c, r.Time)
	}
	points := h.source.History("")
	f.LineRate, f.Lines = lineRate(rate.Lines), sparkline(points, status.HistoryPoints, lines, "Lines per second", lineRate).filled()
	f.ByteRate, f.Bytes = byteRate(rate.Bytes), sparkline(points, status.HistoryPoints, volume, "Bytes per second", byteRate).filled()
	f.UndeliveredBytes, f.Undelivers = size(bytes), plural(int(unsent), "line")
	if !known {
		f.Undelivers = "at least " + f.Undelivers
	}
	f.Oldest = unknown
	if oldest > 0 {
		f.Oldest = age(oldest)
	}
	var n int64
	for _, c := range lost.Dropped {
		n += c.Lines
	}
	f.Dropped, f.DroppedWhy = count(n), reasons(lost.Dropped)
	return f
}

func newService(s status.Service, now time.Time) serviceView {
	v := serviceView{Service: &s, Level: good, Since: clock(s.Since, now), Error: sentence(s.Error), Remedy: sentence(s.Remedy), Latency: unknown, Compression: unknown}
	switch {
	case failing[s.State]:
		v.Level = bad
	case s.State == status.ServiceThrottled:
		v.Level = warn
	case s.State == status.ServiceIdle:
		v.Level = "idle"
	}
	var access []string
	for _, a := range []string{s.Role, withoutPassword(s.Endpoint), s.Credentials} {
		if a != "" {
			access = append(access, a)
		}
	}
	v.Access = strings.Join(access, ", ")
	var answers int64
	for _, n := range s.Requests {
		answers += n
	}
	v.Requests = count(answers)
	if n := total(s.Latency); n > 0 {
		v.Latency = fmt.Sprintf("%.0f ms", s.Latency.Sum/float64(n)*1000)
	}
	if s.BodyBytes > 0 && s.SentBytes > 0 {
		v.Compression = size(s.SentBytes) + " of " + size(s.BodyBytes)
	}
	return v
}

// withoutPassword returns an endpoint without the password that its address may have.
func withoutPassword(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		return u.Redacted()
	}
	_, host, found := strings.Cut(endpoint, "@")
	if !found {
		return endpoint
	}
	return host
}

func total(h status.Histogram) (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

func newFault(f status.Fault, now time.Time) faultView {
	v := faultView{What: sentence(f.What), Error: sentence(cmp.Or(f.Err, f.Kind)), Remedy: sentence(f.Remedy), Since: clock(f.Since, now), Times: count(int64(f.Times))}
	var attrs []string
	for _, k := range sortedKeys(f.Attrs) {
		attrs = append(attrs, k+" "+f.Attrs[k])
	}
	v.Attrs = strings.Join(slices.DeleteFunc(attrs, func(a string) bool { return strings.HasSuffix(a, " ") }), " · ")
	return v
}
