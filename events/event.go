// Package events turns frames, which are the entries that dockerd wrote, into events,
// which are the messages in CloudWatch Logs. The steps are:
//
//  1. Join the 16 KiB pieces of long lines, per source. If the log ends or the next piece does
//     not come in time, the unfinished line goes out.
//  2. Remove the terminal's control sequences (Options.StripANSI).
//  3. Join lines to multi-line events, per source (Options.Pattern, Options.Traces).
//  4. Drop events that the filters reject (Options.Include, Options.Exclude).
//  5. Format each event as plain text, or as a JSON object (Options.JSON). An event whose
//     message would be empty is not sent.
//
// Multi-line events of Options.Pattern are like those of awslogs. Each line is followed by a
// newline, also the last one. Lines before the first match are an event. An empty line is a
// line, so that an event may be "\n". If only that newline at the end does not fit into the
// message, it is left out. An event of Options.Traces has newlines between its lines only.
//
// A JSON object has the text in its member "log". If the text is itself a JSON object, it
// becomes the member's value byte for byte, without the white space around it. Any other
// text becomes a string, without its last newline. An event that has only newlines is not
// sent.
//
// # Parts
//
// An event that is longer than CloudWatch allows goes out in parts. It is divided between
// lines if it has several, otherwise between characters. It is never divided inside a
// character, or inside a control sequence that is to be removed. The parts are in order
// and have the event's time.
//
// In plain text, a part ends with a space and this mark if another part follows:
//
//	[logspool: continued in part 2]
//
// It begins with this mark and a space if it is not the first part:
//
//	[logspool: part 2]
//
// Without these marks, the joined parts are the event. With Options.JSON each part is an
// object with all the fields. Its text is a string. It has "part": N, and "continued":
// true if another part follows.
//
// An event that fits into one message is not divided, with three exceptions:
//
//   - An event of more than 1,024 lines is divided if lines of the other source are
//     between them.
//   - A part of a line that does not end goes out 12 times Options.Wait after its first piece.
//   - The largest lines and events go out in parts when all containers together hold more
//     unfinished text than Options.Budget allows.
//
// # docker logs
//
// AppendEntry works in the other direction, for docker logs: it turns a frame into the
// entry that dockerd reads back.
//
// The package must not know files, clocks, goroutines or AWS. The caller passes the time
// and owns every goroutine.
package events

import "github.com/logspool/logspool/internal/stream"

// Source is the output of the container that an event came from.
type Source uint8

// The sources that dockerd names in an entry's "source" field (moby,
// daemon/logger/copier.go and container/stream). Any other name is Unknown, which is
// treated as a third source.
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

// Event is one event for CloudWatch Logs.
//
// Message may contain invalid UTF-8, or is in the form that Options ask for. It is empty
// for an empty line, and for an event that the filters drop. CloudWatch accepts no empty
// message (PutLogEvents), so the caller must not send such an event. It acknowledges the
// event's Ranges itself.
//
// Adjacent frames share a range in Ranges. Frames of the other source may be between two
// ranges. No two events share a frame. A frame whose bytes are in several events belongs
// to the last of them, or to a later part. So acknowledging the earlier ones does not lose
// the rest. An event from the middle of a very large frame therefore has no range.
//
// Message and Ranges belong to the maker of the event, and are valid until the next call
// of a method of the maker.
type Event struct {
	// Time is dockerd's time of the event's first frame, in nanoseconds since the Unix
	// epoch, and all parts of an event have the same.
	Time int64
	// Source is the output of the container that the event came from.
	Source Source
	// Message is the event's text as the container wrote it.
	Message []byte
	// Ranges are the frames that the event was made from, in ascending order.
	Ranges []stream.Range
}
