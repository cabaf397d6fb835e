package uploader

import (
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// Feed is an ordered source of events that the uploader pulls from: one container, or one of its
// two outputs where they go to different streams. The uploader calls all methods of one feed from
// one goroutine at a time, except Backlog. No method waits for anything but the local disk.
type Feed interface {
	// Next returns the next event that has not been handed out since the last Rewind, and false
	// when there is none now. The event's Message and Ranges are valid until the next call of any
	// method of the feed. now is used to let go of an unfinished event that has waited too long.
	Next(now time.Time) (events.Event, bool)
	// Unread takes back the event that the last Next returned, so that the next Next returns it
	// again. It may be called once after each Next.
	Unread()
	// Due returns when an event that is still unfinished (the end of a long line has not come yet)
	// will be handed out as it is; the zero time when there is none. The uploader calls Next again
	// at that time even if nothing new was written.
	Due() time.Time
	// Lost reports that of the events that the next Ack is about so many, of so many bytes, from the one time to the
	// other, are not in CloudWatch and never will be, and why. The feed accounts for
	// them at that Ack. ranges are those of the events that are lost whole, and none of another event's: a feed
	// that hands out markers finds there which of them were lost. An event without ranges of its own (made from
	// the middle of a very large frame) adds none, nor does one of which only the end is lost. The feed must not keep the slice.
	// It returns how many of the events, of how many bytes, count as lost: a marker is none of the container's.
	Lost(why events.LossReason, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64)
	// Ack says that the events made from these ranges are delivered, or will never be and have been
	// accounted for. On return the fact survives a crash of the process. Ranges may come in any order.
	Ack(ranges []stream.Range) error
	// Rewind makes Next hand out again, in order, everything that has been handed out and not
	// acknowledged.
	Rewind()
	// SetMaxMessage bounds the length of a message in bytes, counted as CloudWatch counts it. Longer events are to be
	// divided. Rewind follows at once, so that the bound holds for all events that are handed out from then on.
	SetMaxMessage(bytes int)
	// Release gives buffers and files back until the next Next. Positions stay as they are.
	Release()
	// Backlog describes the feed for the log: name is what an operator calls it, such as "web (1f2e3d4c5b6a)", bytes
	// is how much is not acknowledged, oldest is the time of the oldest event of that, zero if nobody knows. It may
	// be called from any goroutine, also while another method runs. It must not block: it must not take a lock that
	// is held while Attach is called.
	Backlog() (name string, bytes int64, oldest time.Time)
}
