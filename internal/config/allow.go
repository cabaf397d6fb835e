package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/logspool/logspool/naming"
)

// parseAllowGroups reads the regexp that the whole name of a log group must match. White space around
// it is not a part of it: no group's name has any.
func parseAllowGroups(text string) (*regexp.Regexp, error) {
	re, err := parsePattern(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	// The regexp is not put between ^(?: and )$: an open \Q would quote these, too, and the group may exceed the depth
	// that regexp/syntax allows. The longest match is the whole name if there is such a match at all.
	re.Longest()
	return re, nil
}

// ErrNoGroup says that ALLOW_GROUPS allows neither the group of a container nor a default one: its lines
// are spooled, and not sent.
var ErrNoGroup = errors.New("no log group is allowed")

func (s *Settings) allowed(group string) bool {
	if s.allowGroups == nil {
		return true
	}
	at := s.allowGroups.FindStringIndex(group)
	return at != nil && at[0] == 0 && at[1] == len(group)
}

// pattern is ALLOW_GROUPS as it was given.
func (s *Settings) pattern() string { return shown(s.allowGroups.String()) }

// LogGroup renders the name of a container's log group. Where ALLOW_GROUPS does not match it, that is its
// Fallback, and the name is the group of the settings or, failing that, the default group. The error is
// an ErrNoGroup.
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

// CheckGroup refuses the log option group where ALLOW_GROUPS does not match its name, as far as the name
// can be known without looking anything up: of may lack Host, InstanceID and Region. What cannot be
// checked yet is checked by LogGroup.
func (s *Settings) CheckGroup(c *Container, of *naming.Container) error {
	option, given := strings.CutPrefix(c.Group.From, fromOption)
	if s.allowGroups == nil || !given {
		return nil
	}
	uses := c.Group.Uses
	if uses("Host") && of.Host == "" && of.NeedsHost() || uses("InstanceID") && of.InstanceID == "" || uses("Region") && of.Region == "" {
		return nil
	}
	for _, source := range []string{"stdout", "stderr"} {
		one := *of
		one.Source = source
		n := naming.Group(c.Group.Template, &one)
		if n.Fallback == nil && !s.allowed(n.Name) { // else the name is not the option's
			return Errors{fmt.Errorf("log option %q: the log group %s is not allowed: ALLOW_GROUPS %s must match the whole name",
				option, shown(n.Name), s.pattern())}
		}
	}
	return nil
}

// CheckDefaultGroup says that ALLOW_GROUPS matches no default group, as far as the host's name tells:
// what of the group's template is a container's cannot be known.
func (s *Settings) CheckDefaultGroup(loggerHost string) []Problem {
	for _, field := range naming.Fields() {
		if field != "LoggerHost" && s.Group.Uses(field) {
			return nil
		}
	}
	_, err := s.LogGroup(&Container{Group: s.Group}, &naming.Container{LoggerHost: loggerHost})
	if err == nil {
		return nil
	}
	_, text, _ := strings.Cut(err.Error(), "ALLOW_GROUPS ")
	return []Problem{{Setting: "ALLOW_GROUPS", Text: text + ": set LOGSPOUT_GROUP to a group that it matches",
		Applies: "lines of containers without an allowed group of their own are spooled, and not sent", Holds: true}}
}
