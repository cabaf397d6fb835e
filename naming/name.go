package naming

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A name has 1 to 512 characters. A group's name consists of [.\-_/#A-Za-z0-9] and does
// not begin with "aws/". A stream's name contains neither ':' nor '*'. These are
// CloudWatch's rules (CloudWatch Logs API reference, CreateLogGroup and CreateLogStream).
//
// The reference does not define a character. This package counts UTF-16 code units, as a
// service written in Java does. There are at least as many of them as code points, so a
// name that is short enough here is short enough by either count.
const (
	maxName        = 512
	reservedPrefix = "aws/"
)

func groupAllows(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_/#", r)
}

// IsGroup reports whether CloudWatch accepts a name as that of a log group, apart from the names
// that are reserved for AWS.
func IsGroup(name string) bool {
	forbidden := func(r rune) bool { return !groupAllows(r) }
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, forbidden)
}

// streamAllows also refuses deceptive characters, which CloudWatch accepts.
func streamAllows(r rune) bool { return r != ':' && r != '*' && !deceptive(r) }

// deceptive reports whether a character can make a text look like another one in a console: a
// control character, a line separator, or a mark that changes the direction of writing.
func deceptive(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// Name is a name that CloudWatch accepts. Fallback is set if the template failed, or if
// it rendered as nothing.
type Name struct {
	Name string
	// Changed says in one line how the rendered name was changed to a valid one, and is
	// empty if the name was valid.
	Changed string
	// Fallback says in one line why the default name is used instead of the template's,
	// and is nil otherwise.
	Fallback error
}

// The default templates apply if the user gives none.
var (
	defaultGroup  = mustParse("{{.LoggerHost}}")
	defaultStream = mustParse("{{.Name}}")
)

// DefaultGroup returns the text of the default template for groups.
func DefaultGroup() string { return defaultGroup.text }

// DefaultStream returns the text of the default template for streams.
func DefaultStream() string { return defaultStream.text }

// unnamed is the name if even the default renders as nothing, because the host has no
// name, or the container has neither name nor ID.
const unnamed = "unnamed"

// Group renders the name of a container's log group. A nil template means the default.
// White space around a name is removed, and a name of only white space counts as nothing.
func Group(t *Template, c *Container) Name {
	return render(t, defaultGroup, c, validGroup, unnamed)
}

// Stream renders the name of a container's log stream, as Group does the group's.
func Stream(t *Template, c *Container) Name {
	last := c.ID
	if strings.TrimSpace(last) == "" {
		last = unnamed
	}
	return render(t, defaultStream, c, validStream, last)
}

// Value renders a template whose result is not a name, such as an attribute of an entity.
// White space around it is removed. The result is empty if the template renders as nothing, or
// as the text that text/template prints for a missing value. Like a name, it is valid UTF-8
// with at most 512 characters, none of them deceptive.
func Value(t *Template, c *Container) (string, error) {
	s, err := t.Execute(c)
	if err != nil {
		return "", err
	}
	if s = strings.TrimSpace(s); s == "<no value>" {
		return "", nil
	}
	s, _ = replaceForbidden(s, func(r rune) bool { return !deceptive(r) })
	s, _ = cutName(s)
	return s, nil
}

func render(t, def *Template, c *Container, valid func(string) (name, changed string), last string) Name {
	if t == nil {
		t = def
	}
	rendered, err := t.render(c)
	n := Name{Fallback: err}
	if err != nil && t != def {
		rendered, err = def.render(c)
	}
	if err != nil {
		rendered = last
	}
	n.Name, n.Changed = valid(rendered)
	return n
}

// render executes the template, and returns an error if the result is nothing.
func (t *Template) render(c *Container) (string, error) {
	s, err := t.Execute(c)
	if err != nil {
		return "", err
	}
	if s = strings.TrimSpace(s); s == "" {
		return "", t.errorf("renders as nothing")
	}
	return s, nil
}

func validGroup(s string) (name, changed string) {
	name, replaced := replaceForbidden(s, groupAllows)
	prefixed := strings.HasPrefix(name, reservedPrefix)
	if prefixed {
		name = "_" + name
	}
	name, cut := cutName(name)
	return name, describe(s, name, replaced, "outside [.-_/#A-Za-z0-9]", prefixed, cut)
}

func validStream(s string) (name, changed string) {
	name, replaced := replaceForbidden(s, streamAllows)
	name, cut := cutName(name)
	return name, describe(s, name, replaced, "not allowed in stream names (: * and control characters)", false, cut)
}

// replaceForbidden replaces every character that is not allowed, and every byte that is
// not UTF-8, by _.
func replaceForbidden(s string, allowed func(rune) bool) (_ string, replaced int) {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !allowed(r) {
			b.WriteByte('_')
			replaced++
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String(), replaced
}

// cutName cuts valid UTF-8 to the length of the longest name.
func cutName(s string) (_ string, cut bool) {
	units := 0
	for i, r := range s {
		if units++; r > 0xFFFF {
			units++
		}
		if units > maxName {
			return s[:i], true
		}
	}
	return s, false
}

func describe(from, to string, replaced int, what string, prefixed, cut bool) string {
	var did []string
	if replaced > 0 {
		did = append(did, fmt.Sprintf("%d characters %s became _", replaced, what))
	}
	if prefixed {
		did = append(did, "_ was put before "+reservedPrefix+", which is reserved for AWS")
	}
	if cut {
		did = append(did, fmt.Sprintf("it was cut at %d characters", maxName))
	}
	if did == nil {
		return ""
	}
	return fmt.Sprintf("%s became %s: %s", quote(from), quote(to), strings.Join(did, ", "))
}
