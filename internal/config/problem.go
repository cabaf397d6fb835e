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
	// Setting is where the value was given: "DELAY", "ROUTE" or "ROUTE option DELAY".
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
	route        string // route is about the region of containers without the log option region.
	awsRegion    string // awsRegion is about the region of auto, which is ROUTE's default.
	kmsKey       string // kmsKey is about the key of a new group.
	containerEnv string // containerEnv is about whether a container's environment counts.
	all          string // all is about every container, whatever its log options are.
}

// reason returns the text of a hold.
func reason(setting string) string { return setting + " is invalid" }

// holdReason returns why the container's lines must not be sent, or "". There are two
// cases. One of its own options that decides where they go, as whom or with which key is
// invalid, as can happen after an upgrade. Or a setting is invalid, and no option of the
// container takes its place.
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

// asks reports whether the container's environment has a variable that CONTAINER_ENV
// decides about and that no log option overrides.
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
