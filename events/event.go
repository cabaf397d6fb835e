// Package events turns frames, the entries that dockerd wrote, into events, the messages that
// CloudWatch Logs keeps. In this order:
//
//  1. Frames become lines: 16 KiB pieces are joined per source, and an unfinished piece comes out at
//     the end of the log or after a bounded wait.
//  2. The terminal's control sequences are removed (Options.StripANSI).
//  3. Lines become events of several lines, per source (Options.Pattern). As awslogs does it, each
//     line is followed by a newline, the last one too; lines before the first one that matches are an
//     event; and an empty line is a line like others, so that an event may be "\n".
//  4. Events that nobody wants are dropped (Options.Include, Options.Exclude).
//  5. An event is sent as it is, or as a JSON object (Options.JSON). A text that is itself a JSON
//     object, white space around it apart, stands in there as one, byte for byte; any other text as a
//     string, without its last newline. There, too, an event without any text is not sent.
//
// An event that is longer than the service takes is divided: between lines if it has several, else
// between characters, never inside one or inside a control sequence that is to be removed. The parts
// have the event's time, come in order, and say what they are. In text a part that is not the
// last ends with
//
//	[logspool: continued in part 2]
//
// after a space, and one that is not the first begins with
//
//	[logspool: part 2]
//
// and a space; without these marks, the parts joined are the event. Of a JSON object each part is an
// object of its own, with all the fields, a part of the text as a string, "part": N, and "continued": true in
// all but the last. What fits is not marked, with three exceptions. An event of more than 1,024 lines between which the
// other output's stand is divided there. What is there of a line that goes on and on is a part 12 times Options.Wait
// after the line's first piece. And when all containers together hold more unfinished text than Options.Budget allows, the
// largest lines and events go out in parts. The newline at the end of an event of several lines is left out where it
// alone would not fit.
//
// AppendEntry goes the other way, for docker logs: from a frame to the entry that dockerd reads back.
//
// The package is pure: it must not know files, clocks, goroutines or AWS. The caller passes the
// time and owns every goroutine.
package events

import "github.com/logspool/logspool/internal/stream"

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

// Event is one event for CloudWatch Logs.
type Event struct {
	// Time is dockerd's time of the event's first frame, in nanoseconds since the Unix epoch. All
	// parts of an event have the same.
	Time int64
	// Source is the output of the container that the event came from.
	Source Source
	// Message is the event's text as the container wrote it, which may be invalid UTF-8, or what
	// Options make of it. It belongs to whoever made the event and stays as it is only until the next
	// call on that maker.
	//
	// It is empty for an empty line, and for what is not wanted (Options.Include and Exclude). The
	// service takes no empty message (PutLogEvents: at least one byte), so the caller acknowledges
	// such an event's Ranges itself and hands it to nobody.
	Message []byte
	// Ranges are the frames the event was made from, in ascending order: one range where they
	// stand together in the stream, more where frames of the other source stand between them.
	// They are valid as long as Message is.
	//
	// No two events share a frame. One whose bytes had to be divided belongs to the last event that
	// holds some of them, or to a later part, so that acknowledging the earlier ones does not lose the
	// rest; an event made from the middle of a very large frame therefore has no range at all.
	Ranges []stream.Range
}
