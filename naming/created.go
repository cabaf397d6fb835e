package naming

import (
	"reflect"
	"strconv"
	"time"
)

// maxLayout is the longest layout of a time, in bytes: as many as a name has characters.
const maxLayout = maxName

var errLayout = &limitError{"makes too much text: the layout of a time may have " + strconv.Itoa(maxLayout) + " bytes"}

// created is when a container was made, in UTC, as dockerd has it (moby, daemon/container.go,
// newContainer). In Docker's tag template it is a time.Time. Not all of that is here: what reads
// a time zone (Local, Location, In) would read the plugin's and not dockerd's, what appends to a slice
// (AppendFormat) has no bound, and what compares or encodes gives nothing for a name.
type created time.Time

var createdMethods = methodsOf(reflect.TypeFor[created]())

// Format is the only method whose result is as long as the template makes it: a few times the layout.
func (c created) Format(layout string) (string, error) {
	if len(layout) > maxLayout {
		return "", errLayout
	}
	return time.Time(c).Format(layout), nil
}

// String is what {{.ContainerCreated}} is.
func (c created) String() string { return time.Time(c).String() }

// MarshalJSON is what {{json .ContainerCreated}} is.
func (c created) MarshalJSON() ([]byte, error) { return time.Time(c).MarshalJSON() }

func (c created) UTC() created { return c }

func (c created) Add(d time.Duration) created      { return created(time.Time(c).Add(d)) }
func (c created) AddDate(y, m, d int) created      { return created(time.Time(c).AddDate(y, m, d)) }
func (c created) Round(d time.Duration) created    { return created(time.Time(c).Round(d)) }
func (c created) Truncate(d time.Duration) created { return created(time.Time(c).Truncate(d)) }

func (c created) IsZero() bool          { return time.Time(c).IsZero() }
func (c created) Year() int             { return time.Time(c).Year() }
func (c created) Month() time.Month     { return time.Time(c).Month() }
func (c created) Day() int              { return time.Time(c).Day() }
func (c created) YearDay() int          { return time.Time(c).YearDay() }
func (c created) Weekday() time.Weekday { return time.Time(c).Weekday() }
func (c created) Hour() int             { return time.Time(c).Hour() }
func (c created) Minute() int           { return time.Time(c).Minute() }
func (c created) Second() int           { return time.Time(c).Second() }
func (c created) Nanosecond() int       { return time.Time(c).Nanosecond() }
func (c created) Unix() int64           { return time.Time(c).Unix() }
func (c created) UnixMilli() int64      { return time.Time(c).UnixMilli() }
func (c created) UnixMicro() int64      { return time.Time(c).UnixMicro() }
func (c created) UnixNano() int64       { return time.Time(c).UnixNano() }
