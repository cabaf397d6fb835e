package config

import (
	"fmt"
	"strings"
)

// A Problem is an invalid setting. It stops neither the plugin nor a container, because a typo
// that is rolled out to a fleet must not become an outage. What applies instead depends on the
// setting:
//
//   - If the default is harmless (names, delays, sizes, formats), the default applies.
//   - If it is not (where to send, as whom, with which key, to which groups), the lines that
//     the setting decides about are spooled but not sent until it is fixed (holds).
//   - If a value could delete data that the intended value would keep, it does not apply.
type Problem struct {
	// Setting is where the value was given: "DELAY", "ROUTE", "ROUTE option DELAY" or "LOG_OPTS
	// option delay".
	Setting string
	// Text gives the value and what is allowed, in one line.
	Text string
	// Applies says what applies until the setting is fixed, in one line.
	Applies string
	// Holds says that lines are spooled but not sent until the setting is fixed.
	Holds bool
}

// holds are the reasons not to send lines. Each field is about one thing that an invalid
// setting leaves undecided, and is empty if that is decided. A container is held if
// something about it is undecided and its own log options do not decide it
// (Container.Hold).
type holds struct {
	region          string // region is about the region of containers without the log option region.
	awsRegion       string // awsRegion is about the region of auto, which is ROUTE's default.
	kmsKey          string // kmsKey is about the key of a new group.
	containerEnv    string // containerEnv is about whether a container's environment counts.
	containerLabels string // containerLabels is about whether a container's labels count.
	all             string // all is about every container, whatever its log options are.

	// options is about routing options that have no setting with the same meaning, by name.
	options map[string]string
}

// reason returns the text of a hold. from is where the invalid value was given.
func reason(from string) string { return from + " is invalid" }

// holdReason returns why the container's lines must not be sent, or "". There are two
// cases. One of its own options that decides where they go, as whom or with which key is
// invalid, as can happen after an upgrade. Or a setting is invalid, and no option of the
// container takes its place. undecided is about its environment and labels.
func (c *Container) holdReason(s *Settings, given givenOptions, undecided string) string {
	h := s.hold
	for i := range options {
		row := &options[i]
		if o := given[row.name]; row.routing && o.bad {
			return fmt.Sprintf("log option %q is invalid", o.name)
		}
	}
	if h.all != "" {
		return h.all
	}
	region := h.region
	if c.RegionAuto {
		region = h.awsRegion
	} else if given.good("region") {
		region = ""
	}
	if region != "" {
		return region
	}
	for i := range options {
		name := options[i].name
		// An external ID decides only about a role.
		if h.options[name] != "" && !given.good(name) && (name != "external-id" || c.RoleARN != "") {
			return h.options[name]
		}
	}
	if h.kmsKey != "" && c.Create.Group && !given.good("kms-key-id") {
		return h.kmsKey
	}
	return undecided
}

// undecided returns why it is undecided whether the container's environment and labels count,
// or "" if that makes no difference. labelsCount says that labels would set an option that no
// log option sets.
func (c *Container) undecided(s *Settings, env map[string]string, labelsCount bool) string {
	switch {
	case s.hold.containerEnv != "" && c.asks(env):
		return s.hold.containerEnv
	case labelsCount:
		return s.hold.containerLabels
	}
	return ""
}

// asks reports whether the container's environment has a variable that CONTAINER_ENV
// decides about and that no log option or label overrides.
func (c *Container) asks(env map[string]string) bool {
	given := func(name string) bool { return strings.TrimSpace(env[name]) != "" }
	return isIgnore(env) || c.Group.Template == nil && given("LOGSPOUT_GROUP") || c.Stream.Template == nil && given("LOGSPOUT_STREAM")
}

// isIgnore reports whether a container asks that its lines are not sent. Upper and lower
// case are the same, as in logspout (gliderlabs/logspout, router/pump.go,
// ignoreContainer).
func isIgnore(env map[string]string) bool {
	return strings.EqualFold(strings.TrimSpace(env["LOGSPOUT"]), "ignore")
}
