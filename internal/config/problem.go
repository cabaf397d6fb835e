package config

import (
	"fmt"
	"strings"
)

// A Problem is an invalid setting. It stops neither the plugin nor a container, because a typo that is
// rolled out to a fleet must not become an outage. What applies instead depends on the setting:
//
//   - Where the default is harmless (names, delays, sizes, formats), the default applies.
//   - Where it is not (where to send, as whom, with which key, to which groups), lines that the
//     setting decides about are spooled and not sent until it is fixed (holds).
//   - What could delete data that the right value would keep does not apply.
type Problem struct {
	// Setting is where the value was given: "DELAY", "ROUTE" or "ROUTE option DELAY".
	Setting string
	// Text says the value and what is allowed, in one line.
	Text string
	// Applies says what applies until the setting is fixed, in one line.
	Applies string
	// Holds says that lines are spooled and not sent until then.
	Holds bool
}

// Error is all of it in one line.
func (p Problem) Error() string {
	return p.Setting + ": " + p.Text + "; until it is fixed: " + p.Applies
}

// holds are the reasons not to send lines, one for each question that an invalid setting leaves
// open; empty: the question is answered. A container is held where a question is about it and its own
// log options do not answer it (Container.Hold).
type holds struct {
	route        string // the region of containers that name none
	awsRegion    string // what the region auto is, and that one's where ROUTE says none
	kmsKey       string // the key of a new group
	containerEnv string // whether a container's environment counts
	all          string // nobody knows what is open, or no log option can answer it
}

// reason is what the log says of a hold.
func reason(setting string) string { return setting + " is invalid" }

// holdReason returns why the container's lines must not be sent: one of its own options that decides
// where they go, as whom or with which key is invalid, as after an upgrade; or a setting is, and no
// option of the container answers the question.
func (c *Container) holdReason(s *Settings, given givenOptions, env map[string]string) string {
	for _, row := range options {
		if row.routing && given[row.name].bad {
			return fmt.Sprintf("log option %q is invalid", given[row.name].name)
		}
	}
	h := s.hold
	region := h.route
	if c.RegionAuto || h.route == "" && s.Region == "" {
		region = h.awsRegion
	}
	if given.good("region") && !c.RegionAuto {
		region = ""
	}
	switch {
	case h.all != "":
		return h.all
	case region != "":
		return region
	case h.kmsKey != "" && c.Create.Group && !given.good("kms-key-id"):
		return h.kmsKey
	case h.containerEnv != "" && c.asks(env):
		return h.containerEnv
	}
	return ""
}

// asks reports whether the container's environment has what CONTAINER_ENV decides about, and no log option
// decides already.
func (c *Container) asks(env map[string]string) bool {
	given := func(name string) bool { return strings.TrimSpace(env[name]) != "" }
	return isIgnore(env) || c.Group.Template == nil && given("LOGSPOUT_GROUP") || c.Stream.Template == nil && given("LOGSPOUT_STREAM")
}

// isIgnore reports whether a container asks not to be shipped, in any case of letters, as in logspout
// (gliderlabs/logspout, router/pump.go, ignoreContainer).
func isIgnore(env map[string]string) bool {
	return strings.EqualFold(strings.TrimSpace(env["LOGSPOUT"]), "ignore")
}
