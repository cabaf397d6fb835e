package events

import (
	"regexp"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// MaxBytes is the longest message that CloudWatch Logs accepts: a batch has at most
	// 1,048,576 bytes, of which each event takes 26 beside its message (PutLogEvents).
	MaxBytes = 1_048_550

	// DefaultWait is Options.Wait if that is zero.
	DefaultWait = 5 * time.Second

	// minBytes is the lowest limit of a message. It leaves room for the marks of a part,
	// or the JSON object of a part, and a character.
	minBytes = 128
)

// Options are the settings of a Pipeline. The zero value is the default.
//
// MaxBytes counts a message as CloudWatch does, after each byte of invalid UTF-8 has
// become U+FFFD. Less than 128 counts as 128. An event that always gets one more line in
// time goes out 12 times Wait after its first.
//
// StripANSI covers the control sequences of ECMA-48: colours, cursor movements, titles,
// hyperlinks. Pattern, Include and Exclude do not see them either.
//
// Only an event that matches Include and does not match Exclude has a message. They are
// matched with the whole event as a terminal shows it, without its last newline and
// without the carriage returns at the ends of its lines. For an event that is too long for
// one message, the first MaxBytes bytes decide. For an event that goes out in parts
// earlier, the first part decides. A regexp of more than 64 instructions, also Pattern,
// sees only the first 64 MiB of an event divided by their number.
type Options struct {
	// Wait is how long an unfinished line waits for its next piece, and an unfinished
	// event of several lines for its next line; 0 means 5 s.
	Wait time.Duration
	// MaxBytes is the length of the longest message; 0 means the constant MaxBytes.
	MaxBytes int
	// Pattern matches the first line of an event, without its newline, and the lines after
	// it belong to the event; nil means that each line is an event.
	Pattern *regexp.Regexp
	// Traces makes a stack trace of one of these runtimes one event with the line before it.
	// Every other line is an event of its own. Pattern must then be nil.
	Traces []Runtime
	// StripANSI removes the terminal's control sequences.
	StripANSI bool
	// Include and Exclude filter events; nil means no filter.
	Include, Exclude *regexp.Regexp
	// JSON makes each message a JSON object that has these fields beside the text; nil
	// means that a message is text.
	JSON *JSON
	// Budget bounds the memory for unfinished text; nil means a budget of BudgetBytes that
	// all such Pipelines of the process share.
	Budget *Budget
}

// joinsLines reports whether an event may have several lines.
func (o Options) joinsLines() bool { return o.Pattern != nil || len(o.Traces) > 0 }

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = MaxBytes
	}
	o.MaxBytes = max(o.MaxBytes, minBytes)
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Budget == nil {
		o.Budget = shared
	}
	return o
}

// Pipeline makes events from the frames of one container, as the package comment
// describes. Without Options, a complete line costs neither a copy nor an allocation.
//
// A Pipeline keeps at most one unfinished line and one unfinished event per source, within
// Options.Budget. With Pattern or Traces, an event ends
//   - before a line of its source that matches Pattern, or that is not part of a stack trace;
//   - before a frame, of any source, with a time that is Wait after its last line's, or
//     12 times Wait after its first line's: the event had gone out when that frame was
//     written, or should have;
//   - when Flush finds that it has waited too long, and at Close.
//
// Lines that come after their event has ended, or before the first line that matches,
// make an event of their own. An event has the time of its first line.
//
// After each Push, Flush and Close, the caller takes events until there are none:
//
//	p.Push(frame, from, to, now)
//	for e, ok := p.Next(); ok; e, ok = p.Next() { … }
//
// A Pipeline is not safe for concurrent use. No method blocks.
type Pipeline struct{ stage stage }

// stage makes events from frames. Its methods do what the methods of a Pipeline of the
// same names do.
type stage interface {
	push(f Frame, at stream.Range, now time.Time)
	next() (Event, bool)
	flush(now time.Time)
	due() time.Time
	close()
	release()
	keep() Event
	unfinished() []stream.Range
	reset()
	passes() int
}

// NewPipeline returns a Pipeline without any frame.
func NewPipeline(o Options) *Pipeline {
	o = o.withDefaults()
	if !o.joinsLines() {
		return &Pipeline{newAssembler(o)}
	}
	return &Pipeline{newMultiline(o)}
}

// Push takes the frame at [from, to) of the stream, at the time now. The caller pushes
// frames in the order of the stream. The frame's text must not change until Next returns
// false. Push panics if Next has not returned false since the last Push, or, with
// Pattern or Traces, since the last Flush or Close.
func (p *Pipeline) Push(f Frame, from, to uint64, now time.Time) {
	p.stage.push(f, stream.Range{From: from, To: to}, now)
}

// Next returns the next event. It returns false if there is none before the next frame,
// Flush or Close. The event is valid until the next call of any method.
func (p *Pipeline) Next() (Event, bool) { return p.stage.next() }

// Passes returns how long a complete line may be, in bytes, to be an event as it is: if it were
// pushed now, Next would return its text, its time and its place, and then false. So the
// caller need not push it. Passes returns 0 if no line passes now, because something is
// unfinished or the Options change lines.
func (p *Pipeline) Passes() int { return p.stage.passes() }

// Flush ends the unfinished lines and events that have waited long enough (Options.Wait),
// so that Next returns them. The caller flushes when it has no frame to push. If it
// flushed earlier, a line that is already there would come too late.
func (p *Pipeline) Flush(now time.Time) { p.stage.flush(now) }

// Due returns when Flush will next have an effect. It is the zero time if nothing is
// unfinished.
func (p *Pipeline) Due() time.Time { return p.stage.due() }

// Close ends all unfinished lines and events, because the log has ended, so that Next
// returns them. The caller may push more frames afterwards.
func (p *Pipeline) Close() { p.stage.close() }

// Release gives up the event that Next returned last, and its buffer. Unfinished lines
// and events stay. Release copies what the Pipeline still needs of the frame pushed last,
// so that the caller may reuse the frame's text.
func (p *Pipeline) Release() { p.stage.release() }

// Keep does what Release does, but keeps the event that Next returned last and returns
// it. The event is valid until the next call of any other method, even if the caller
// reuses the text of the frame pushed last. It is the zero Event if there is none.
func (p *Pipeline) Keep() Event { return p.stage.keep() }

// Unfinished returns the frames that were pushed and are not in the ranges of an event
// that Next has returned, in no order. Ranges may overlap. It also works after another
// method has panicked.
func (p *Pipeline) Unfinished() []stream.Range { return p.stage.unfinished() }

// Reset forgets all frames that were pushed, as after a rewind of the stream, and gives
// all memory back. A Pipeline that is no longer used must be reset.
func (p *Pipeline) Reset() { p.stage.reset() }
