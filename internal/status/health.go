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
		at := slices.IndexFunc(late, func(l lateContainers) bool { return l.cause.like(cause) })
		if at < 0 {
			at, late = len(late), append(late, lateContainers{cause: cause, oldest: since})
		}
		late[at].add(c, since)
	}
	reasons = append(reasons, r.losses()...)
	slices.SortStableFunc(late, func(a, b lateContainers) int { return a.oldest.Compare(b.oldest) })
	for _, l := range late {
		reasons = append(reasons, l.text(r.Time))
	}
	return len(reasons) == 0, reasons
}

// losses describes what is lost, once for all containers that lose lines for one reason.
func (r *Report) losses() (all []string) {
	var texts []string
	names := map[string][]string{}
	for i := range r.Faults {
		f := &r.Faults[i]
		if !f.Loss {
			continue
		}
		text := f.lossText()
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if c := f.Attrs["container"]; c != "" {
			names[text] = append(names[text], c)
		}
	}
	for _, text := range texts {
		if len(names[text]) > 0 {
			text = nameList(names[text]) + ": " + text
		}
		all = append(all, text)
	}
	return all
}

// nameList names the first few of many containers.
func nameList(all []string) string {
	text := strings.Join(all[:min(len(all), maxNamed)], ", ")
	if more := len(all) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// lossText describes lines that are lost, without the container.
func (f *Fault) lossText() string {
	text := f.What
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
	return fmt.Sprintf("%s: %d bytes are undelivered, the oldest for %v: %s",
		nameList(l.names), l.bytes, now.Sub(l.oldest).Round(time.Second), l.cause)
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

// cause is why lines are undelivered. kind is empty if err is the same whenever the cause is.
type cause struct{ err, remedy, kind string }

// like reports whether two causes are one for the operator. The errors of two requests differ
// at least in their IDs.
func (c cause) like(o cause) bool {
	return c.kind == o.kind && c.remedy == o.remedy && (c.err == o.err || c.kind != "" && c.remedy != "")
}

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
			return cause{cmp.Or(s.Error.Err, s.Error.Kind), s.Error.Remedy, s.Error.Kind}
		}
	}
	if c.Held != "" {
		return cause{err: c.Held, remedy: r.HoldRemedy(c)}
	}
	for i := range c.Streams {
		if v := r.ServiceOf(&c.Streams[i]); v != nil && v.Error != "" {
			return cause{err: v.Error, remedy: v.Remedy}
		}
	}
	if len(c.Streams) == 0 && r.Region == "" {
		return cause{err: "no AWS region is known", remedy: "set AWS_REGION"}
	}
	return cause{err: "they are sent more slowly than they are written", remedy: "see the state of the service and the faults"}
}

// ServiceOf returns the service that a stream uses. It returns nil if there is none, or if
// several may be it, because external IDs and the paths of credentials are in no report.
func (r *Report) ServiceOf(s *Stream) (found *Service) {
	for i := range r.Services {
		v := &r.Services[i]
		if v.Region != s.Region || v.Endpoint != s.Endpoint || v.Role != s.Role || v.Credentials != s.Credentials {
			continue
		}
		if found != nil {
			return nil
		}
		found = v
	}
	return found
}

// HoldRemedy returns what the operator can do about a container's hold. The error of an
// invalid setting says what is allowed.
func (r *Report) HoldRemedy(c *Container) string {
	if c.HeldRemedy != "" {
		return c.HeldRemedy
	}
	for _, f := range r.Faults {
		setting := f.Attrs["setting"]
		if setting != "" && strings.HasPrefix(c.Held, setting+" ") {
			return cmp.Or(f.Remedy, f.Err)
		}
		if f.Remedy != "" && f.Err == c.Held {
			return f.Remedy
		}
	}
	return "correct what it names"
}

// Ready reports whether the plugin can deliver lines: it reads the FIFOs of all containers, its
// settings are valid, it knows a region, and it has credentials. If not, there is one
// reason for each cause, in one line.
//
// Credentials count as known if CloudWatch knew them. While CloudWatch has not said, they count
// as known if the plugin has some that STS has not refused: STS may be unreachable although
// CloudWatch is not.
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
	if known, remedy := r.credentials(); !known {
		no("no AWS credentials are known to be valid", remedy)
	}
	return len(reasons) == 0, reasons
}

// credentials reports whether the plugin has credentials, and what to do if it has none.
func (r *Report) credentials() (known bool, remedy string) {
	refused := r.CredentialsError != ""
	remedy = r.CredentialsRemedy
	for _, s := range r.Services {
		switch s.State {
		case ServiceOK, ServiceThrottled, ServiceDenied:
			return true, ""
		case ServiceUnauthenticated:
			refused, remedy = true, cmp.Or(s.Remedy, remedy)
		}
	}
	return !refused && (r.Identity != "" || r.CredentialsFrom != ""), cmp.Or(remedy, "run logspool check")
}
