package naming

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The service's rules for names (CloudWatch Logs API reference, CreateLogGroup and
// CreateLogStream): 1 to 512 characters; a group's of [.\-_/#A-Za-z0-9], not beginning with
// "aws/"; a stream's without ':' and '*'.
//
// The reference does not say what a character is. Names are cut by UTF-16 code units, which is
// how a service written in Java counts and never fewer than there are code points: what is
// within the limit here is so by either count.
const (
	maxName        = 512
	reservedPrefix = "aws/"
)

func groupAllows(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_/#", r)
}

// streamAllows refuses deceptive characters as well, which the service takes.
func streamAllows(r rune) bool { return r != ':' && r != '*' && !deceptive(r) }

// deceptive reports whether a character can make a text look like another one in a console: control
// characters, line separators and marks that turn the direction of writing.
func deceptive(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// Name is a name that the service accepts, and how it came to be.
type Name struct {
	Name string
	// Changed says what was done to make the rendered name a valid one, in one line; empty where
	// it was valid as it was.
	Changed string
	// Fallback is why the default name stands in for the template's, in one line: it could not be
	// executed, or it rendered nothing. Nil where the name is the template's own.
	Fallback error
}

// The names of a container that nobody names.
var (
	defaultGroup  = mustParse("{{.LoggerHost}}")
	defaultStream = mustParse("{{.Name}}")
)

// DefaultGroup and DefaultStream are the texts of the default templates.
func DefaultGroup() string  { return defaultGroup.text }
func DefaultStream() string { return defaultStream.text }

// unnamed is the name where even the defaults render nothing: a host without a name, or a
// container without name and ID.
const unnamed = "unnamed"

// Group renders the name of a container's log group. A nil template is the default one. White
// space around a name is dropped, and a name that is nothing else counts as nothing.
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

// Value renders a template whose result is data, such as an entity's attribute, and not a name. White
// space around it is dropped. It is empty where the template renders nothing, or what text/template
// prints for nothing; it is valid UTF-8 without deceptive characters, of at most 512 characters, as a
// name is.
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

// render executes the template, and calls it an error if nothing comes of it.
func (t *Template) render(c *Container) (string, error) {
	s, err := t.Execute(c)
	if err != nil {
		return "", err
	}
	if s = strings.TrimSpace(s); s == "" {
		return "", t.errorf("renders nothing")
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
	return name, describe(s, name, replaced, "that a stream's name cannot have (: * and control characters)", false, cut)
}

// replaceForbidden puts _ in place of every character that is not allowed and of every byte that
// is not UTF-8.
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

// cutName cuts valid UTF-8 to the longest name.
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
		did = append(did, "_ was put before "+reservedPrefix+", which AWS keeps for itself")
	}
	if cut {
		did = append(did, fmt.Sprintf("it was cut at %d characters", maxName))
	}
	if did == nil {
		return ""
	}
	return fmt.Sprintf("%s became %s: %s", quote(from), quote(to), strings.Join(did, ", "))
}
