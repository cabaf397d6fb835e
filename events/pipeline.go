package events

import (
	"regexp"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// MaxBytes is the longest message that CloudWatch Logs takes: a batch is at most 1,048,576 bytes,
// of which each event takes 26 beside its message (PutLogEvents).
const MaxBytes = 1_048_550

const (
	// DefaultWait is Options.Wait where that is zero.
	DefaultWait = 5 * time.Second

	// minBytes is the shortest limit of a message: there is room for the marks, or for a JSON object
	// about a part, and a character.
	minBytes = 128
)

// Options are the settings of a Pipeline or an Assembler. The zero value is the default.
type Options struct {
	// Wait is how long an unfinished line waits for its next piece, and an unfinished event of
	// several lines for its next line; 5 s if zero. An event for which there is always one more line
	// goes out 12 times as long after its first.
	Wait time.Duration
	// MaxBytes is the length of the longest message, counted as the service does, after each byte
	// of invalid UTF-8 has become U+FFFD; the constant MaxBytes if zero. Less than 128 counts
	// as 128.
	MaxBytes int
	// Pattern matches the first line of an event, without its newline; the lines after it belong to
	// the event. Without it each line is an event.
	Pattern *regexp.Regexp
	// StripANSI removes the terminal's control sequences (ECMA-48: colours, cursor movements,
	// titles, hyperlinks), also from what Pattern, Include and Exclude see.
	StripANSI bool
	// Include and Exclude are matched with the whole event as a terminal shows it, without its last newline and
	// without the carriage returns at the ends of its lines: only events that match Include, and none that match Exclude, have a message. Of an event that is too
	// long for one message the first MaxBytes bytes decide, and of one that goes out in parts before, the first part. A regexp of more than 64 instructions, Pattern
	// too, looks at the beginning of a long event only: at its first 64 MiB divided by their number.
	Include, Exclude *regexp.Regexp
	// JSON makes each message a JSON object that says this beside the text.
	JSON *JSON
	// Budget bounds the memory for unfinished text; if nil, one of BudgetBytes that all such Pipelines of the process share.
	Budget *Budget
}

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

// Pipeline makes events from the frames of one container: frames become lines, as Assembler says, and
// lines become what Options ask for, as the package comment says. Without options it is an
// Assembler and costs nothing more.
//
// It keeps at most one unfinished line and one unfinished event a source, within Options.Budget. With Pattern, an event ends
//   - before a line of its source that matches;
//   - before a frame, of any source, with a time that is Wait after its last line's, or 12 times Wait
//     after its first one's: that was written when the event had gone out, or should have;
//   - when Flush finds that it has waited too long, and at Close.
//
// Lines that come after their event has ended, or before the first that matches, make an event of
// their own. An event has the time of its first line.
//
// The caller pushes a frame, and then takes events until there are none, as it does with an
// Assembler; here it does so after Flush and Close, too, before it pushes the next frame.
//
// A Pipeline is not safe for use by several goroutines at once. No method blocks.
type Pipeline struct {
	lines *assembler
	multi *multiline // nil: each line is an event
}

// NewPipeline returns a Pipeline without any frame.
func NewPipeline(o Options) *Pipeline {
	if o.Pattern == nil {
		return &Pipeline{lines: newAssembler(o)}
	}
	m := newMultiline(o)
	return &Pipeline{lines: m.lines, multi: m}
}

// Push takes the frame that stands at [from, to) of the stream, at the time now. Frames are pushed
// in the order of the stream. The frame's text must stay as it is until Next returns false, which
// it must have done since the last Push, Flush or Close.
func (p *Pipeline) Push(f Frame, from, to uint64, now time.Time) {
	if p.multi != nil {
		p.multi.push(f, from, to, now)
		return
	}
	p.lines.push(f, from, to, now)
}

// Next returns the next event, and false when there is none before the next frame, Flush or Close.
// The event is valid until the next call of any method.
func (p *Pipeline) Next() (Event, bool) {
	if p.multi != nil {
		return p.multi.next()
	}
	return p.lines.next()
}

// Flush lets go of the unfinished lines and events that have waited long enough (Options.Wait). Next
// returns them. The caller flushes when there is no frame to push, lest a line that is already there
// come too late.
func (p *Pipeline) Flush(now time.Time) {
	p.lines.flush(now)
	if p.multi != nil {
		p.multi.flush, p.multi.now = true, now
	}
}

// Due returns when Flush will next have something to do; the zero time if nothing is unfinished.
func (p *Pipeline) Due() time.Time {
	if p.multi != nil {
		return p.multi.due()
	}
	return p.lines.due()
}

// Close ends all unfinished lines and events, because the log has ended. Next returns them. If
// frames come after all, the Pipeline goes on as before.
func (p *Pipeline) Close() {
	p.lines.close()
	if p.multi != nil {
		p.multi.close = true
	}
}

// Release gives up the event that Next returned last, and with it its buffer. What is unfinished stays. What the
// Pipeline still needs of the frame pushed last is copied: its text need not stay as it is any more.
func (p *Pipeline) Release() {
	if p.multi != nil {
		p.multi.release()
		return
	}
	p.lines.release()
}

// Keep does what Release does, but keeps the event that Next returned last, and returns it: it is valid until the next
// call of any other method, even if the text of the frame pushed last does not stay as it is. Without such an event, it
// returns the zero Event.
func (p *Pipeline) Keep() Event {
	if p.multi != nil {
		return p.multi.keep()
	}
	return p.lines.keep()
}

// Unfinished returns the frames that were pushed and are not in the ranges of an event that Next has returned, in no
// order; ranges may overlap. It also does so after another method has panicked.
func (p *Pipeline) Unfinished() []stream.Range {
	all := p.lines.unfinished(nil)
	if p.multi != nil {
		all = p.multi.unfinished(all)
	}
	return all
}

// Reset forgets every frame that was pushed, as after a rewind of the stream. All memory is given back: a Pipeline that
// is not used any more must be reset.
func (p *Pipeline) Reset() {
	if p.multi != nil {
		p.multi.reset()
		return
	}
	p.lines.reset()
}
