package statuspage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// The levels of a headline, and the classes of their colours.
const (
	good = "good"
	warn = "warn"
	bad  = "bad"
)

// headline says in words whether the plugin delivers.
type headline struct {
	Level string
	// Title is one or two words, for the title of the window.
	Title string
	Text  string
	// Cause is the error.
	Cause, Remedy string
}

// broken is a state of a service in which nothing can be delivered. In the states denied and
// failing, it may be one log group that fails. Its streams have the error.
var broken = map[string]bool{status.ServiceUnauthenticated: true, status.ServiceUnreachable: true}

// failing is a state of a service that is shown as bad.
var failing = map[string]bool{
	status.ServiceDenied: true, status.ServiceUnauthenticated: true,
	status.ServiceUnreachable: true, status.ServiceFailing: true,
}

// cause is why lines are not delivered. kind is empty if text is the same whenever the cause is.
type cause struct{ text, remedy, kind string }

// like reports whether two causes are one for the operator. The errors of two requests differ
// at least in their IDs.
func (c cause) like(o cause) bool {
	return c.kind == o.kind && c.remedy == o.remedy && (c.text == o.text || c.kind != "" && c.remedy != "")
}

// affected are the containers whose lines one cause stops.
type affected struct {
	cause
	containers int
	since      time.Time
}

func isLate(c *status.Container, now time.Time) bool {
	return c.State != status.ContainerIgnored && !c.Undelivered.Oldest.IsZero() && now.Sub(c.Undelivered.Oldest) > status.DefaultMaxAge
}

// newHeadline judges a report. What stops the delivery of a container counts at once. A
// failure that stops nothing, and lines that are late, are warnings.
func newHeadline(r *status.Report) headline {
	stopped, of := stops(r)
	var oldest time.Duration
	var throttled *status.Service
	for i := range r.Containers {
		if c := &r.Containers[i]; c.State != status.ContainerIgnored && !c.Undelivered.Oldest.IsZero() {
			oldest = max(oldest, r.Time.Sub(c.Undelivered.Oldest))
		}
	}
	for i := range r.Services {
		if s := &r.Services[i]; s.State == status.ServiceThrottled && (throttled == nil || s.Since.Before(throttled.Since)) {
			throttled = s
		}
	}
	switch {
	case len(stopped) > 0:
		return notDelivering(r, stopped, of)
	case throttled != nil && (oldest > status.DefaultMaxAge || len(r.Faults) > 0):
		return headline{warn, "Throttled", fmt.Sprintf("CloudWatch throttles requests%s. The oldest line is %s old.",
			since(throttled.Since, r.Time), age(oldest)), "", sentence(throttled.Remedy)}
	case oldest > status.DefaultMaxAge:
		return headline{warn, "Late", fmt.Sprintf("Delivering, but the oldest line is %s old.", age(oldest)), "",
			"If the age falls, a backlog is being sent. If it grows, lines are written faster than they are sent."}
	case len(r.Faults) > 0:
		f := r.Faults[0]
		text := fmt.Sprintf("Delivering, with %s%s:", plural(len(r.Faults), "fault"), since(f.Since, r.Time))
		return headline{warn, "Fault", text, sentence(f.What), sentence(f.Remedy)}
	case !r.Reattached:
		return headline{warn, "Starting", "Starting. The plugin still opens the spools of its last run.", "", ""}
	case of == 0:
		if ready, reasons := r.Ready(); !ready {
			return headline{warn, "Not ready", "Not ready:", sentence(reasons[0]), ""}
		}
		return headline{good, "Ready", "Ready. No container uses the plugin now.", "", ""}
	case oldest == 0:
		return headline{good, "Delivering", "Delivering. Everything is delivered.", "", ""}
	}
	return headline{good, "Delivering", fmt.Sprintf("Delivering. Nothing is older than %s.", age(oldest)), "", ""}
}

// since returns " since" and a time, or "" if the time is not known.
func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + clock(t, now) + " UTC"
}

func notDelivering(r *status.Report, stopped []affected, of int) headline {
	n := 0
	for _, a := range stopped {
		n += a.containers
	}
	first := stopped[0]
	h := headline{Level: bad, Title: "Not delivering", Text: "Not delivering", Remedy: sentence(first.remedy)}
	if n < of {
		h.Text += fmt.Sprintf(" %d of %s", n, plural(of, "container"))
	}
	h.Text += since(first.since, r.Time) + ":"
	h.Cause = sentence(first.text)
	switch more := len(stopped) - 1; {
	case more == 1:
		h.Cause += fmt.Sprintf(" Another cause stops %s.", plural(n-first.containers, "container"))
	case more > 1:
		h.Cause += fmt.Sprintf(" %d other causes stop %s.", more, plural(n-first.containers, "container"))
	}
	return h
}

// stops returns what stops the delivery of containers, the cause of most containers first,
// and how many containers should be delivered.
func stops(r *status.Report) (all []affected, of int) {
	add := func(c cause, since time.Time) {
		at := slices.IndexFunc(all, func(a affected) bool { return a.cause.like(c) })
		if at < 0 {
			at, all = len(all), append(all, affected{cause: c, since: since})
		}
		all[at].containers++
		if !since.IsZero() && (all[at].since.IsZero() || since.Before(all[at].since)) {
			all[at].since = since
		}
	}
	for i := range r.Containers {
		c := &r.Containers[i]
		if c.State == status.ContainerIgnored {
			continue
		}
		of++
		if found, since, ok := stop(r, c); ok {
			add(found, since)
		}
	}
	slices.SortStableFunc(all, func(a, b affected) int {
		return cmp.Or(cmp.Compare(b.containers, a.containers), a.since.Compare(b.since))
	})
	return all, of
}

// stop returns what stops the delivery of a container, and since when, if anything does.
func stop(r *status.Report, c *status.Container) (cause, time.Time, bool) {
	if c.Held != "" {
		return cause{text: c.Held, remedy: r.HoldRemedy(c)}, c.Undelivered.Oldest, true
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		service := r.ServiceOf(s)
		switch {
		case service != nil && broken[service.State]:
			return cause{text: cmp.Or(service.Error, service.State), remedy: service.Remedy}, service.Since, true
		case s.Error != nil && (service == nil || service.State != status.ServiceThrottled):
			return cause{cmp.Or(s.Error.Err, s.Error.Kind), s.Error.Remedy, s.Error.Kind}, s.Error.Since, true
		}
	}
	if len(c.Streams) == 0 && r.Region == "" && c.Undelivered.Bytes > 0 {
		return cause{text: "no AWS region is known", remedy: "Set AWS_REGION."}, c.Undelivered.Oldest, true
	}
	return cause{}, time.Time{}, false
}
