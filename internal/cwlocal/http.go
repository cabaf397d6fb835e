package cwlocal

import (
	"net/http"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// The outcomes of requests, as Stats counts them. The other outcomes are the service's
// error codes, and "fault:KIND".
const (
	outcomeOK   = "ok"
	outcomeGone = "gone" // the client left before its request was complete
)

// A call is one request and the way to respond to it.
type call struct {
	w   http.ResponseWriter
	r   *http.Request
	req *protocol.Request
}

func (c *call) write(resp protocol.Response) { resp.Write(c.w, c.req.ID) }

// ServeHTTP serves the API of CloudWatch Logs and STS, and the control endpoint.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control.ServeHTTP(w, r)
		return
	}
	// Clients whose clock is wrong learn the time from this header, so it must be the
	// time that signatures are checked with.
	w.Header().Set("Date", s.opts.Now().UTC().Format(http.TimeFormat))
	c := &call{w: w, r: r, req: protocol.NewRequest(r)}
	s.recorder.Begin()
	refused, err := c.req.Read(r, s.opts.Now(), s.keys.FindKey)
	if err != nil {
		s.end(c, outcomeGone, nil)
		panic(http.ErrAbortHandler)
	}
	if refused == nil && !s.quotas.Allow(c.req.Auth.Region, c.req.Operation, s.opts.Now()) {
		refused = protocol.ErrThrottled
	}
	if refused != nil {
		s.end(c, refused.Code, refused)
		c.write(c.req.ErrorResponse(refused))
		return
	}
	if f := s.faults.Pick(r.Context(), c.req, s.opts.Now(), s.closing); f != nil {
		s.serveFault(c, f)
		return
	}
	resp, outcome, failed := s.run(c)
	s.end(c, outcome, failed)
	c.write(resp)
}

// run carries out a request that has been checked. failed is nil if it succeeded.
func (s *Server) run(c *call) (resp protocol.Response, outcome string, failed *protocol.Error) {
	var result any
	switch c.req.Operation {
	case protocol.AssumeRole:
		result, failed = s.keys.AssumeRole(c.req)
	case protocol.GetCallerIdentity:
		result = s.keys.CallerIdentity(c.req)
	default:
		result, failed = s.store.Do(c.req)
	}
	if failed != nil {
		return c.req.ErrorResponse(failed), failed.Code, failed
	}
	return c.req.ResultResponse(result), outcomeOK, nil
}

// end counts the request as ended. It comes before the response, so that a client that has
// its response finds the request in the counts.
func (s *Server) end(c *call, outcome string, failed *protocol.Error) {
	refusal, refused := s.recorder.End(c.req, outcome, failed, s.opts.Now())
	s.changed.notify()
	if refused && s.opts.OnRefused != nil {
		s.opts.OnRefused(refusal)
	}
}
