package faultlog

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Set has the failures and losses that last at the moment, for the status. The zero value is
// ready for use.
//
// A Fault or a Loss belongs to the Set of its logger's Handler, if it has one. It is in the
// set from its first failure to its end.
type Set struct {
	mu  sync.Mutex
	all map[member]struct{}
}

// member is a Fault or a Loss.
type member interface{ ongoing() Ongoing }

// Ongoing describes one failure or loss that lasts.
type Ongoing struct {
	Message string    // Message is the message in the log.
	Kind    string    // Kind is the sort of failure. It is empty for a loss.
	Since   time.Time // Since is when it began.
	Times   int       // Times counts the failures, or the lost events.
	Loss    bool      // Loss says that data is lost.
	// Attrs has the attributes of the last failure and of the logger.
	Attrs map[string]string
}

// Ongoing returns what lasts now, the longest first.
func (s *Set) Ongoing() []Ongoing {
	s.mu.Lock()
	members := make([]member, 0, len(s.all))
	for m := range s.all {
		members = append(members, m)
	}
	s.mu.Unlock()
	var all []Ongoing
	for _, m := range members {
		if o := m.ongoing(); !o.Since.IsZero() { // it may have ended since
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b Ongoing) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return all
}

func (s *Set) add(m member) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[member]struct{}{}
	}
	s.all[m] = struct{}{}
}

func (s *Set) remove(m member) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, m)
}

// Handler is a slog.Handler that passes everything on, and says to which Set the failures of
// its loggers belong.
type Handler struct {
	slog.Handler
	set   *Set
	attrs []slog.Attr
}

// NewHandler returns a handler of the set that passes everything on to h.
func NewHandler(h slog.Handler, set *Set) *Handler { return &Handler{Handler: h, set: set} }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.Handler.WithAttrs(attrs), h.set, slices.Concat(h.attrs, attrs)}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.Handler.WithGroup(name), h.set, h.attrs}
}

// setOf returns the set of a logger, which may be nil, and the attributes of the logger.
func setOf(log *slog.Logger) (*Set, []slog.Attr) {
	if h, ok := log.Handler().(*Handler); ok {
		return h.set, h.attrs
	}
	return nil, nil
}

// attrMap returns attributes as text. Of two with one name, the last counts.
func attrMap(fixed []slog.Attr, more []any) map[string]string {
	m := map[string]string{}
	put := func(a slog.Attr) bool {
		m[a.Key] = fmt.Sprint(a.Value.Resolve().Any())
		return true
	}
	for _, a := range fixed {
		put(a)
	}
	r := slog.NewRecord(time.Time{}, 0, "", 0)
	r.Add(more...)
	r.Attrs(put)
	return m
}
