package statuspage

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

// query is what the address of the page asks for.
type query struct {
	sort string
	desc bool
	all  bool
}

// parseQuery reads the parameters sort, desc and all. It ignores everything else.
func parseQuery(v url.Values) query {
	q := query{sort: v.Get("sort"), desc: v.Has("desc"), all: v.Has("all")}
	if !slices.ContainsFunc(columns, func(c column) bool { return c.key == q.sort }) {
		q.sort, q.desc = "", false
	}
	return q
}

// address returns the page's address for a query, relative to the page.
func (q query) address() string {
	var parts []string
	if q.sort != "" {
		parts = append(parts, "sort="+q.sort)
	}
	if q.desc {
		parts = append(parts, "desc")
	}
	if q.all {
		parts = append(parts, "all")
	}
	return "./?" + strings.Join(parts, "&")
}

// column is a column of the table of containers.
type column struct {
	key, title string
	// order is the order that is more interesting, and number says that the column has
	// numbers.
	order  order
	number bool
	// compare orders two rows by this column.
	compare func(a, b *row) int
}

// order is the order of a column.
type order bool

const (
	ascending  order = false
	descending order = true
)

func by[T cmp.Ordered](value func(*row) T) func(a, b *row) int {
	return func(a, b *row) int { return cmp.Compare(value(a), value(b)) }
}

// columns are the columns of the table.
var columns = []column{
	{"name", "Container", ascending, false, by(func(r *row) string { return r.Name })},
	{"group", "Group", ascending, false, by(func(r *row) string { return r.firstGroup })},
	{"stream", "Stream", ascending, false, by(func(r *row) string { return r.firstStream })},
	{"lines", "Lines/s", descending, true, by(func(r *row) float64 { return r.c.Rate.Lines })},
	{"bytes", "Bytes/s", descending, true, by(func(r *row) float64 { return r.c.Rate.Bytes })},
	{"ulines", "Undelivered lines", descending, true, by(func(r *row) int64 { return r.lines })},
	{"ubytes", "Undelivered bytes", descending, true, by(func(r *row) int64 { return r.c.Undelivered.Bytes })},
	{"age", "Oldest", descending, true, by(func(r *row) time.Duration { return r.age })},
	{"dropped", "Dropped", descending, true, by(func(r *row) int64 { return r.dropped })},
	{"error", "Last error", descending, false, by(func(r *row) int { return problemCount(r.c) })},
}

// defaultSort is the column that orders the table if the address names none: containers with
// errors come first.
const defaultSort = "error"

// head is the head of a column.
type head struct {
	Key, Title string
	Number     bool
	// Link is the address of the page in the order of this column.
	Link string
	// Sorted is "ascending" or "descending" if this column orders the table.
	Sorted string
}

func (q query) heads() []head {
	sorted, desc := q.sort, q.desc
	if sorted == "" {
		sorted, desc = defaultSort, true
	}
	var all []head
	for _, c := range columns {
		h := head{Key: c.key, Title: c.title, Number: c.number}
		next := query{sort: c.key, desc: bool(c.order), all: q.all}
		if c.key == sorted {
			h.Sorted = "ascending"
			if desc {
				h.Sorted = "descending"
			}
			next.desc = !desc
		}
		h.Link = next.address()
		all = append(all, h)
	}
	return all
}

// row is a container in the table.
type row struct {
	c *status.Container

	Key, Name string
	// Badge is the container's state, unless it runs.
	Badge string
	// Groups has the groups of Streams, each once.
	Groups  []link
	Streams []streamCell
	Spark   spark

	LineRate, ByteRate  string
	UndeliveredLines    string
	UndeliveredBytes    string
	Age                 string
	Late                bool
	Dropped, DroppedWhy string
	Problems            []problem

	firstGroup, firstStream string
	lines, dropped          int64
	age                     time.Duration
}

// streamCell is a log stream of a container.
type streamCell struct {
	link
	// Output is stdout or stderr if the container has two streams.
	Output string
}

// problem is an error that lasts.
type problem struct {
	Text, Remedy, Since string
}

// rows returns the containers of a report in the order of a query, and how many there are.
// It returns at most maxRows, unless the query asks for all.
func (q query) rows(r *status.Report, history func(id string) []status.Point) (shown []*row, total int) {
	all := make([]*row, len(r.Containers))
	for i := range r.Containers {
		all[i] = newRow(&r.Containers[i], r.Time)
	}
	key, desc := q.sort, q.desc
	if key == "" {
		key, desc = defaultSort, true
	}
	at := slices.IndexFunc(columns, func(c column) bool { return c.key == key })
	slices.SortStableFunc(all, func(a, b *row) int {
		order := columns[at].compare(a, b)
		if desc {
			order = -order
		}
		// Rows that are equal must not move from one update to the next.
		return cmp.Or(order, cmp.Compare(a.Name, b.Name), cmp.Compare(a.c.ID, b.c.ID))
	})
	shown = all
	if !q.all {
		shown = all[:min(len(all), maxRows)]
	}
	for _, row := range shown {
		row.describe(r)
		row.Spark = sparkline(coarse(history(row.c.ID)), status.HistoryPoints/2, lines, "Lines per second", lineRate)
	}
	return shown, len(all)
}

// newRow returns a row with what decides its place.
func newRow(c *status.Container, now time.Time) *row {
	r := &row{c: c, Name: cmp.Or(c.Name, shortID(c.ID))}
	if n := c.Undelivered.Lines; n != nil {
		r.lines = *n
	}
	if t := c.Undelivered.Oldest; !t.IsZero() {
		r.age = now.Sub(t)
	}
	for _, n := range c.Dropped {
		r.dropped += n.Lines
	}
	if len(c.Streams) > 0 {
		r.firstGroup, r.firstStream = c.Streams[0].Group, c.Streams[0].Stream
	}
	return r
}

// describe adds what the page shows.
func (r *row) describe(report *status.Report) {
	c, now := r.c, report.Time
	r.Key, r.Problems = "c-"+c.ID, problems(report, c)
	r.LineRate, r.ByteRate = lineRate(c.Rate.Lines), byteRate(c.Rate.Bytes)
	r.UndeliveredLines, r.UndeliveredBytes, r.Age = unknown, size(c.Undelivered.Bytes), unknown
	if c.State != status.ContainerRunning {
		r.Badge = c.State
	}
	if c.Undelivered.Lines != nil {
		r.UndeliveredLines = count(r.lines)
	}
	if !c.Undelivered.Oldest.IsZero() {
		r.Age, r.Late = age(r.age), isLate(c, now)
	}
	if r.dropped > 0 {
		r.Dropped, r.DroppedWhy = count(r.dropped), reasons(c.Dropped)
	}
	for _, s := range c.Streams {
		group := newLink(s.Group, consoleURL(s.Region, s.Endpoint, s.Group, ""))
		if !slices.Contains(r.Groups, group) {
			r.Groups = append(r.Groups, group)
		}
		r.Streams = append(r.Streams, streamCell{newLink(s.Stream, consoleURL(s.Region, s.Endpoint, s.Group, s.Stream)), s.Output})
	}
}

// problemCount returns how many things stop the delivery of a container's lines.
func problemCount(c *status.Container) (n int) {
	if c.Held != "" {
		n++
	}
	for _, s := range c.Streams {
		if s.Error != nil {
			n++
		}
	}
	return n
}

// problems returns what stops the delivery of a container's lines.
func problems(r *status.Report, c *status.Container) []problem {
	var all []problem
	if c.Held != "" {
		all = append(all, problem{Text: sentence(c.Held), Remedy: sentence(r.HoldRemedy(c))})
	}
	for _, s := range c.Streams {
		if e := s.Error; e != nil {
			p := problem{Text: sentence(cmp.Or(e.Err, e.Kind)), Remedy: sentence(e.Remedy), Since: clock(e.Since, r.Time)}
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// shortID returns the ID as docker ps prints it.
func shortID(id string) string { return oneline.Cut(id, 12) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
