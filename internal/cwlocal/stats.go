package cwlocal

import (
	"github.com/logspool/logspool/internal/cwlocal/protocol"
	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

// outcomeOK is the outcome of a request that did what it asked for. The others are the service's
// error codes, "fault:KIND", and "gone" for a client that left before its request was whole.
const outcomeOK = "ok"

// Stats are counts since the start.
type Stats struct {
	stats.RequestStats
	store.EventStats
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	// Events are counted before their request ends. In this order, a request that has ended has its
	// events counted.
	requests := s.recorder.Stats()
	return Stats{requests, s.store.Stats()}
}

// Refusals lists the requests that broke a rule, the first thousand of them. A test of a client
// wants it empty.
func (s *Server) Refusals() []Refusal { return s.recorder.Refusals() }

// end counts the request out, before it is answered: who has the answer finds it in the counts.
func (s *Server) end(c *call, outcome string, failed *protocol.Error) {
	refusal, refused := s.recorder.End(c.req, outcome, failed, s.now())
	s.touch()
	if refused && s.opts.OnRefused != nil {
		s.opts.OnRefused(refusal)
	}
}
