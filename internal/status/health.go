package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultMaxAge is how long a line may be undelivered in a healthy plugin.
const DefaultMaxAge = 5 * time.Minute

// maxNamed is how many containers a reason names.
const maxNamed = 5

// Health reports whether no line is lost, and none has been undelivered for longer than maxAge.
// Otherwise there is one reason for each cause: the containers, the age of the oldest line, the
// error and its remedy. Losses come first. The lines of ignored containers do not count,
// because they are never sent. Those of held containers count.
//
// A reason is one line, but has names and errors as they are.
func (r *Report) Health(maxAge time.Duration) (ok bool, reasons []string) {
	var late []lateContainers
	for i := range r.Containers {
		c := &r.Containers[i]
		since := c.undeliveredSince()
		if c.State == ContainerIgnored || since.IsZero() || r.Time.Sub(since) <= maxAge {
			continue
		}
		cause := r.cause(c)
		at := slices.IndexFunc(late, func(l lateContainers) bool { return l.cause == cause })
		if at < 0 {
			at, late = len(late), append(late, lateContainers{cause: cause, oldest: since})
		}
		late[at].add(c, since)
	}
	for i := range r.Faults {
		if f := &r.Faults[i]; f.Loss {
			reasons = append(reasons, f.lossText())
		}
	}
	slices.SortStableFunc(late, func(a, b lateContainers) int { return a.oldest.Compare(b.oldest) })
	for _, l := range late {
		reasons = append(reasons, l.text(r.Time))
	}
	return len(reasons) == 0, reasons
}

// lossText describes lines that are lost.
func (f *Fault) lossText() string {
	text := f.What
	if c := f.Attrs["container"]; c != "" {
		text = c + ": " + text
	}
	if reason := f.Attrs["reason"]; reason != "" {
		text += " (" + reason + ")"
	}
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return text
}

// lateContainers have lines that are undelivered for too long, for one cause.
type lateContainers struct {
	cause  cause
	names  []string
	bytes  int64
	oldest time.Time
}

func (l *lateContainers) add(c *Container, since time.Time) {
	l.names = append(l.names, cmp.Or(c.Name, c.ID))
	l.bytes += c.Undelivered.Bytes
	if since.Before(l.oldest) {
		l.oldest = since
	}
}

func (l *lateContainers) text(now time.Time) string {
	names := strings.Join(l.names[:min(len(l.names), maxNamed)], ", ")
	if more := len(l.names) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s: %d bytes are undelivered, the oldest for %v: %s",
		names, l.bytes, now.Sub(l.oldest).Round(time.Second), l.cause)
}

// undeliveredSince returns the time of the oldest undelivered line. If that is not known, it
// is when the delivery began to fail. It is zero if nothing is undelivered.
func (c *Container) undeliveredSince() time.Time {
	since := c.Undelivered.Oldest
	if !since.IsZero() || c.Undelivered.Bytes == 0 {
		return since
	}
	for _, s := range c.Streams {
		if s.Error != nil && (since.IsZero() || s.Error.Since.Before(since)) {
			since = s.Error.Since
		}
	}
	return since
}

// cause is why lines are undelivered.
type cause struct{ err, remedy string }

func (c cause) String() string {
	if c.remedy == "" {
		return c.err
	}
	return c.err + "; " + c.remedy
}

// cause returns why a container's lines are undelivered: the most specific reason that is
// known.
func (r *Report) cause(c *Container) cause {
	for _, s := range c.Streams {
		if s.Error != nil {
			return cause{cmp.Or(s.Error.Err, s.Error.Kind), s.Error.Remedy}
		}
	}
	if c.Held != "" {
		return cause{c.Held, r.HeldRemedy(c.Held)}
	}
	for _, s := range c.Streams {
		for _, v := range r.Services {
			if v.Error != "" && v.Region == s.Region && v.Endpoint == s.Endpoint && v.Role == s.Role {
				return cause{v.Error, v.Remedy}
			}
		}
	}
	if len(c.Streams) == 0 && r.Region == "" {
		return cause{"no AWS region is known", "set AWS_REGION"}
	}
	return cause{"they are sent more slowly than they are written", "see the state of the service and the faults"}
}

// HeldRemedy returns the remedy of the fault that Container.Held comes from. The error of an
// invalid setting says what is allowed.
func (r *Report) HeldRemedy(held string) string {
	for _, f := range r.Faults {
		setting := f.Attrs["setting"]
		if setting != "" && strings.HasPrefix(held, setting+" ") {
			return cmp.Or(f.Remedy, f.Err)
		}
		if f.Remedy != "" && f.Err == held {
			return f.Remedy
		}
	}
	return "correct what it names"
}

// Ready reports whether the plugin can deliver lines: it reads the FIFOs of all containers, its
// settings are valid, it knows a region, and it has credentials. If not, there is one
// reason for each cause, in one line.
//
// Credentials count as known if the identity is known, or if CloudWatch knew them. A policy
// may forbid the plugin to ask for its identity.
func (r *Report) Ready() (ok bool, reasons []string) {
	no := func(cause, remedy string) { reasons = append(reasons, cause+"; "+remedy) }
	if !r.Stopping.IsZero() {
		no("the plugin is stopping", "enable it again")
	}
	if !r.Reattached {
		no("the plugin is still opening the spools of its last run", "wait, or check the disk")
	}
	if n := r.Intake.Discarding; n > 0 {
		no(fmt.Sprintf("the output in %d FIFOs is discarded, because their containers' spools cannot be opened", n), "see the faults and the plugin's log")
	}
	for _, f := range r.Faults {
		if setting := f.Attrs["setting"]; setting != "" {
			no(setting+" is invalid: "+f.Err, "correct it with docker plugin set")
		}
	}
	if r.Region == "" {
		no("no AWS region is known", "set AWS_REGION")
	}
	known := r.Identity != ""
	for _, s := range r.Services {
		switch s.State {
		case ServiceOK, ServiceThrottled, ServiceDenied:
			known = true
		}
	}
	if !known {
		no("no AWS credentials are known to be valid", r.credentialsRemedy())
	}
	return len(reasons) == 0, reasons
}

// credentialsRemedy returns what the operator can do about missing credentials.
func (r *Report) credentialsRemedy() string {
	for _, s := range r.Services {
		if s.State == ServiceUnauthenticated && s.Remedy != "" {
			return s.Remedy
		}
	}
	return "run logspool check"
}
