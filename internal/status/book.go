package status

import "time"

const (
	// day is a day in UTC, which has no daylight saving time.
	day = 24 * time.Hour

	// maxIngested is how many pairs of container and group a book counts. What further
	// containers send is counted by group.
	maxIngested = 10_000
	// maxIngestedGroups is how many groups a book counts beyond maxIngested. What goes to
	// further groups is one sum.
	maxIngestedGroups = 1_000
)

// book counts what was ingested today and yesterday. It is what a Ledger saves.
type book struct {
	// day is when today began, or zero before the first report.
	day time.Time
	// since is when the counting began: with yesterday, or later.
	since time.Time
	// time is when the last report was made.
	time time.Time
	rows map[ingestedKey]*Ingested
	// changed says that the book differs from what was saved.
	changed bool
}

// ingestedKey identifies a row. Container is empty for the sum of what is not counted by
// container, and so is Group for what is not counted by group.
type ingestedKey struct{ Container, Group string }

// setDay makes the day of now today.
func (b *book) setDay(now time.Time) {
	now = now.UTC()
	today := now.Truncate(day)
	b.time = now
	switch days := today.Sub(b.day) / day; {
	case b.day.IsZero(), days < -1:
		// The clock was wrong by days. Nothing that was counted can be assigned to a day.
		*b = book{since: now, time: now}
	case days == 0:
	case days == 1:
		b.each(func(i *Ingested) { i.Yesterday, i.Bytes = i.Bytes, 0 })
	case days > 1: // The plugin did not run.
		b.each(func(i *Ingested) { i.Yesterday, i.Bytes = 0, 0 })
	case days == -1: // The clock was set back over midnight.
		b.each(func(i *Ingested) { i.Yesterday, i.Bytes = 0, i.Bytes+i.Yesterday })
	}
	b.changed = b.changed || !today.Equal(b.day)
	b.day = today
	if yesterday := today.Add(-day); b.since.Before(yesterday) {
		b.since = yesterday
	}
	if b.since.After(now) {
		b.since = now
	}
}

// each calls f for each row, and removes the row if nothing is left in it.
func (b *book) each(f func(*Ingested)) {
	for key, row := range b.rows {
		if f(row); row.Bytes == 0 && row.Yesterday == 0 {
			delete(b.rows, key)
		}
	}
}

// add counts bytes that were ingested today.
func (b *book) add(key ingestedKey, bytes int64) {
	b.row(key).Bytes += bytes
	b.changed = true
}

// row returns the row of key, or of a sum if there are too many rows.
func (b *book) row(key ingestedKey) *Ingested {
	if b.rows == nil {
		b.rows = map[ingestedKey]*Ingested{}
	}
	if b.rows[key] == nil && len(b.rows) >= maxIngested {
		key.Container = ""
	}
	if b.rows[key] == nil && len(b.rows) >= maxIngested+maxIngestedGroups {
		key.Group = ""
	}
	if b.rows[key] == nil {
		b.rows[key] = &Ingested{Container: key.Container, Group: key.Group}
	}
	return b.rows[key]
}

// ingested returns a copy of the rows, in no order.
func (b *book) ingested() []Ingested {
	all := make([]Ingested, 0, len(b.rows))
	for _, row := range b.rows {
		all = append(all, *row)
	}
	return all
}
