package cwlocal

import (
	"net/http"

	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// serveFault serves a request as its fault demands.
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

// serveFaultAfter carries the request out and then fails. DataAccepted and Truncated send
// the error of a request that fails by itself.
func (s *Server) serveFaultAfter(c *call, f *fault.Active, outcome string) {
	resp, own, failed := s.run(c)
	if failed != nil {
		outcome += " after " + own
	}
	if f.Kind == fault.HangAfter {
		s.hang(c, f)
	}
	s.end(c, outcome, failed)
	switch {
	case f.Kind == fault.HangAfter || f.Kind == fault.ResetAfter:
		c.reset()
		return
	case f.Kind == fault.Truncated:
		resp.Body = resp.Body[:len(resp.Body)/2]
	case failed == nil: // DataAccepted
		resp = c.req.ErrorResponse(&protocol.Error{Status: 400, Code: "DataAlreadyAcceptedException",
			Message: "The given batch of log events has already been accepted.",
			Extra:   map[string]string{"expectedSequenceToken": protocol.SequenceToken(0)}})
	}
	c.write(resp)
}

// hang blocks until the client goes away, the fault is cleared, or the Server is closed.
func (s *Server) hang(c *call, f *fault.Active) {
	s.changed.notify() // so that a test can wait for the request to hang
	select {
	case <-c.r.Context().Done():
	case <-f.Cleared():
	case <-s.closing:
	}
}

// reset sends a TCP reset instead of a response.
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
