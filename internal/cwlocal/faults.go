package cwlocal

import (
	"net/http"

	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// AddFault sets a fault to work and returns its number. It panics on a fault that makes no sense.
func (s *Server) AddFault(f Fault) (id int64) { return s.faults.Add(f, s.now()) }

// ListFaults shows the faults that were added and not cleared, also those that are used up.
func (s *Server) ListFaults() []ActiveFault { return s.faults.All() }

// ClearFault ends a fault, and all with the number 0. What hangs on it has its connection reset. It
// says how many there were.
func (s *Server) ClearFault(id int64) int { return s.faults.Clear(id) }

// serveFault answers a request as its fault says, or does not.
func (s *Server) serveFault(c *call, f *fault.Active) {
	outcome := "fault:" + string(f.Kind)
	switch f.Kind {
	case fault.ResetAfter, fault.HangAfter, fault.Truncated, fault.DataAccepted:
		s.serveFaultAfter(c, f, outcome)
	case fault.Hang:
		s.hang(c, f)
		fallthrough
	case fault.ResetBefore:
		s.end(c, outcome, nil)
		c.reset()
	default:
		s.end(c, outcome, nil)
		c.write(f.Response(c.req))
	}
}

// serveFaultAfter carries the request out. If it fails by itself, that stays the answer of the kinds
// that have one.
func (s *Server) serveFaultAfter(c *call, f *fault.Active, outcome string) {
	resp, own, failed := s.run(c)
	if failed != nil {
		outcome += " after " + own
	}
	switch f.Kind {
	case fault.HangAfter:
		s.hang(c, f)
		fallthrough
	case fault.ResetAfter:
		s.end(c, outcome, failed)
		c.reset()
	case fault.Truncated:
		s.end(c, outcome, failed)
		resp.Body = resp.Body[:len(resp.Body)/2]
		c.write(resp)
	case fault.DataAccepted:
		if failed == nil {
			resp = c.req.ErrorResponse(&protocol.Error{Status: 400, Code: "DataAlreadyAcceptedException",
				Message: "The given batch of log events has already been accepted.",
				Extra:   map[string]string{"expectedSequenceToken": protocol.SequenceToken(0)}})
		}
		s.end(c, outcome, failed)
		c.write(resp)
	}
}

// hang blocks until the client goes, the fault is cleared, or the Server is closed.
func (s *Server) hang(c *call, f *fault.Active) {
	s.touch() // that it hangs, and what it stored, is there to be waited for
	select {
	case <-c.r.Context().Done():
	case <-f.Cleared():
	case <-s.closing:
	}
}

// reset ends the connection with a TCP reset instead of an answer.
func (c *call) reset() {
	if h, ok := c.w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
