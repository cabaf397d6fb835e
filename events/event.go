// Package events turns frames, the entries that dockerd wrote, into events, the lines that
// CloudWatch Logs keeps: 16 KiB pieces are joined per source, and an unfinished piece comes out
// at the end of the log or after a bounded wait.
//
// The package is pure: it must not know files, clocks, goroutines or AWS. The caller passes the
// time and owns every goroutine.
package events

// Source says which output of the container an event came from.
type Source uint8

// The sources that dockerd names in an entry's "source" field (moby, daemon/logger/copier.go and
// container/stream). Anything else is Unknown, and is treated as one more source.
const (
	Unknown Source = iota
	Stdout
	Stderr
)

// String returns "stdout", "stderr" or "unknown".
func (s Source) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	default:
		return "unknown"
	}
}

// Range is a half-open range [From, To) of positions in a container's stream: the bytes that
// dockerd wrote, counted from the first one.
type Range struct{ From, To uint64 }

// Event is one event for CloudWatch Logs.
type Event struct {
	// Time is dockerd's time of the event's first frame, in nanoseconds since the Unix epoch.
	Time int64
	// Source is the output of the container that the event came from.
	Source Source
	// Message is the event's text as the container wrote it, which may be invalid UTF-8. It belongs
	// to whoever made the event and stays as it is only until the next call on that maker.
	//
	// It is empty for an empty line alone. The service takes no empty message (PutLogEvents: at
	// least one byte), so the last stage's caller acknowledges such an event's Ranges itself and
	// hands it to nobody.
	Message []byte
	// Ranges are the frames the event was made from, in ascending order: one range where they
	// stand together in the stream, more where frames of the other source stand between them.
	// They are valid as long as Message is.
	//
	// No two events share a frame. One whose bytes had to be divided belongs to the last event that
	// holds some of them, so that acknowledging the earlier ones does not lose the rest; an event
	// made from the middle of a very large frame therefore has no range at all.
	Ranges []Range
}
