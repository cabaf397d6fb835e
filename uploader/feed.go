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
	// other, are not in CloudWatch and never will be, and why, in one word (Reason.String). The feed accounts for
	// them at that Ack. ranges are those of the events that are lost whole, and none of another event's: a feed
	// that hands out markers finds there which of them were lost. An event without ranges of its own (made from
	// the middle of a very large frame) adds none, nor does one of which only the end is lost. The feed must not keep the slice.
	// It returns how many of the events, of how many bytes, count as lost: a marker is none of the container's.
	Lost(why string, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64)
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

// Target says where the events of a feed go.
type Target struct {
	Region   string // such as "eu-central-1"; never empty
	Endpoint string // base URL of the service; empty: the SDK's own

	// Whose credentials the requests are signed with, as in Access.
	RoleARN             string
	ExternalID          string
	CredentialsEndpoint string

	Group  string // valid log group name
	Stream string // valid log stream name
	// Entity is what the events belong to (CloudWatch's "Explore related"); the zero value: nothing. Events of
	// different entities cannot be in one request.
	Entity Entity
	// EMF says that the events are in CloudWatch's embedded metric format: the service makes metrics of what
	// comes in requests that say so.
	EMF bool

	// What to do when the group or the stream is missing. They are not part of the target's identity:
	// feeds that agree on all of the above share batches whatever they say here. It is enough that one of them
	// allows to create; a group gets what the first of those asks for that asks for anything.
	CreateGroup  bool
	CreateStream bool
	NewGroup     *NewGroup // nil: nothing. It must not be changed any more.
}

// NewGroup is what a group gets when the uploader creates it. A group that is there already is left as it is.
type NewGroup struct {
	RetentionDays int32             // one of the numbers that PutRetentionPolicy takes; 0: events do not expire
	Tags          map[string]string // at most 50
	Class         string            // such as "INFREQUENT_ACCESS", fixed at creation; empty: the service's default
	KMSKeyID      string            // ARN of a key in the same region; empty: the service's own encryption
}

// asks reports whether n is more than nothing.
func (n *NewGroup) asks() bool {
	return n != nil && (n.RetentionDays > 0 || len(n.Tags) > 0 || n.Class != "" || n.KMSKeyID != "")
}
