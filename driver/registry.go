package driver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/status"
)

// registry knows the sessions. Its methods may be called from any goroutine. They wait for
// nothing, except lockSlot.
type registry struct {
	// calls counts the requests that may open a session; Add is called with mu held.
	calls sync.WaitGroup

	// unread counts the records that cannot be read now, but perhaps later.
	unread atomic.Int32

	// mu guards the fields below. It is held for a few instructions, and never over disk I/O
	// or a wait. The maps' keys are container IDs.
	mu       sync.Mutex
	slots    map[string]*slot
	sessions map[string]*session
	unopened map[string]bool // unopened has the containers whose opening failed at the start.
	closed   bool            // closed says that no new call may begin.
	ended    status.Traffic  // ended sums up the sessions that have ended.
}

// slot serialises the opening and the end of one container's session. It exists while it is
// used or has a session.
type slot struct {
	id string
	// users counts those who use the slot, its session included; registry.mu guards it.
	users int
	// lock has capacity 1 and is full while locked, so that a wait for it can end with a
	// context.
	lock chan struct{}
	// s is nil while there is no session; lock guards it.
	s *session
}

func newRegistry() *registry {
	return &registry{slots: map[string]*slot{}, sessions: map[string]*session{}, unopened: map[string]bool{}}
}

// beginCall counts a request that may open a session. It fails if the plugin is stopping.
// After a success the caller must call endCall, for which Close waits.
func (r *registry) beginCall() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errStopping
	}
	r.calls.Add(1)
	return nil
}

func (r *registry) endCall() { r.calls.Done() }

// refuseCalls makes beginCall fail from now on.
func (r *registry) refuseCalls() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// lockSlot locks the container's slot. It waits while the container's session is being opened
// or archived, but no longer than ctx.
func (r *registry) lockSlot(ctx context.Context, id string) (*slot, error) {
	r.mu.Lock()
	sl := r.slots[id]
	if sl == nil {
		sl = &slot{id: id, lock: make(chan struct{}, 1)}
		r.slots[id] = sl
	}
	sl.users++
	r.mu.Unlock()
	select {
	case sl.lock <- struct{}{}:
		return sl, nil
	case <-ctx.Done():
		r.leaveSlot(sl)
		return nil, ctx.Err()
	}
}

func (r *registry) unlockSlot(sl *slot) {
	<-sl.lock
	r.leaveSlot(sl)
}

func (r *registry) leaveSlot(sl *slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaveSlotLocked(sl)
}

func (r *registry) leaveSlotLocked(sl *slot) {
	if sl.users--; sl.users == 0 {
		delete(r.slots, sl.id)
	}
}

// setSession puts a session into a locked slot.
func (r *registry) setSession(sl *slot, s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sl.s = s
	sl.users++
	r.sessions[sl.id] = s
	delete(r.unopened, sl.id)
}

// removeSession takes a session that has ended out of its locked slot.
func (r *registry) removeSession(sl *slot) {
	traffic := sl.s.trafficNow()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended.Add(traffic)
	sl.s = nil
	delete(r.sessions, sl.id)
	r.leaveSlotLocked(sl)
}

// snapshot returns the sessions, and the sum of those that have ended: each session counts
// once.
func (r *registry) snapshot() (sessions []*session, ended status.Traffic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended.Add(r.ended)
	return slices.Collect(maps.Values(r.sessions)), ended
}

// all returns the sessions.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.sessions))
}

// logName returns what the log calls a container.
func (r *registry) logName(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		return s.name()
	}
	return container.Label("", id)
}

// errUnopened says that a container's spool could not be opened at the start. The plugin
// tries again. docker logs does not open it, because the session would not know the
// container's FIFOs.
var errUnopened = errors.New("the container's spool could not be opened when the plugin started")

func (r *registry) setUnopened(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unopened[id] = true
}

func (r *registry) isUnopened(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unopened[id]
}
