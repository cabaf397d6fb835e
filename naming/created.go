package naming

import (
	"reflect"
	"strconv"
	"time"
)

// maxLayout is the longest layout of a time, in bytes: as many as a name has characters.
const maxLayout = maxName

var errLayout = &limitError{"makes too much text: the layout of a time may have " + strconv.Itoa(maxLayout) + " bytes"}

// created is the time when a container was created, in UTC like dockerd's (moby,
// daemon/container.go, newContainer). In Docker's tag template it is a time.Time. Some methods
// are missing here. Local, Location and In would use the plugin's time zone and not dockerd's.
// The result of AppendFormat has no limit. Methods that compare or encode times are of no use
// in a name.
type created time.Time

var createdMethods = methodsOf(reflect.TypeFor[created]())

// Format is the only method whose result can be long: a few times the length of the layout.
func (c created) Format(layout string) (string, error) {
	if len(layout) > maxLayout {
		return "", errLayout
	}
	return time.Time(c).Format(layout), nil
}

// String returns what {{.ContainerCreated}} renders.
func (c created) String() string { return time.Time(c).String() }

// MarshalJSON returns what {{json .ContainerCreated}} renders.
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
