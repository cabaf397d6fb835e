package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/logspool/logspool/naming"
)

// parseAllowGroups reads the regexp that the whole name of a log group must match. White space
// around it is not part of it, because no group's name contains any.
func parseAllowGroups(text string) (*regexp.Regexp, error) {
	re, err := parsePattern(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	// The regexp is not wrapped in ^(?: and )$, because an open \Q would quote these too,
	// and the wrapping could exceed the depth that regexp/syntax allows. Instead, allowed
	// compares the longest match with the whole name.
	re.Longest()
	return re, nil
}

// ErrNoGroup says that ALLOW_GROUPS allows neither a container's group nor a default one. The
// container's lines are spooled but not sent.
var ErrNoGroup = errors.New("no log group is allowed")

func (s *Settings) allowed(group string) bool {
	if s.allowGroups == nil {
		return true
	}
	at := s.allowGroups.FindStringIndex(group)
	return at != nil && at[0] == 0 && at[1] == len(group)
}

// pattern returns ALLOW_GROUPS as it was given.
func (s *Settings) pattern() string { return shown(s.allowGroups.String()) }

// LogGroup renders the name of a container's log group. If ALLOW_GROUPS does not match
// the name, LogGroup returns the group of the settings or else the default group, and its
// Fallback says why. If it matches none of them, the error is an ErrNoGroup.
func (s *Settings) LogGroup(c *Container, of *naming.Container) (naming.Name, error) {
	first := naming.Group(c.Group.Template, of)
	if s.allowed(first.Name) {
		return first, nil
	}
	refused := []string{fmt.Sprintf("%s (%s)", shown(first.Name), c.Group.From)}
	for _, t := range []Template{s.Group, {Template: defaultGroup, From: fromDefault}} {
		n := naming.Group(t.Template, of)
		if s.allowed(n.Name) {
			n.Fallback = fmt.Errorf("ALLOW_GROUPS %s does not match %s", s.pattern(), strings.Join(refused, " or "))
			return n, nil
		}
		if text := fmt.Sprintf("%s (%s)", shown(n.Name), t.From); !slices.Contains(refused, text) {
			refused = append(refused, text)
		}
	}
	return naming.Name{}, fmt.Errorf("%w: ALLOW_GROUPS %s does not match %s", ErrNoGroup, s.pattern(), strings.Join(refused, " or "))
}

// CheckGroup returns an error if the log option group names a group that ALLOW_GROUPS
// does not match. It looks nothing up: if the name needs of's Host, InstanceID or Region
// and of lacks it, CheckGroup returns nil, and LogGroup checks the name later.
func (s *Settings) CheckGroup(c *Container, of *naming.Container) error {
	option, given := strings.CutPrefix(c.Group.From, fromOption)
	if s.allowGroups == nil || !given {
		return nil
	}
	uses := c.Group.Uses
	if uses("Host") && of.Host == "" && of.NeedsHost() || uses("InstanceID") && of.InstanceID == "" ||
		uses("Region") && of.Region == "" {
		return nil
	}
	for _, source := range []string{"stdout", "stderr"} {
		one := *of
		one.Source = source
		n := naming.Group(c.Group.Template, &one)
		// With a Fallback, the name is not the option's.
		if n.Fallback == nil && !s.allowed(n.Name) {
			return Errors{fmt.Errorf("log option %q: the log group %s is not allowed: ALLOW_GROUPS %s must match the whole name",
				option, shown(n.Name), s.pattern())}
		}
	}
	return nil
}

// CheckDefaultGroup returns a problem if ALLOW_GROUPS matches no default group. It knows
// only the host's name, so it returns nil if the group's template uses another field.
func (s *Settings) CheckDefaultGroup(loggerHost string) []Problem {
	for _, field := range naming.Fields() {
		if field != "LoggerHost" && s.Group.Uses(field) {
			return nil
		}
	}
	_, err := s.LogGroup(&Container{Names: s.Names}, &naming.Container{LoggerHost: loggerHost})
	if err == nil {
		return nil
	}
	_, text, _ := strings.Cut(err.Error(), "ALLOW_GROUPS ")
	return []Problem{{Setting: "ALLOW_GROUPS", Text: text + ": set LOGSPOUT_GROUP to a group that it matches",
		Applies: "lines of containers without an allowed group of their own are spooled but not sent", Holds: true}}
}
