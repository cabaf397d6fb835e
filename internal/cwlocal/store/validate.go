package store

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// These are the constraints of the service's model. As at the service's front end, they are
// checked before all other rules, and one error reports up to ten violations.
const (
	maxName        = 512
	maxKMSKey      = 256
	maxARN         = 1011
	maxTags        = 50
	maxTagKey      = 128
	maxTagValue    = 256
	maxEventsPage  = 10000
	maxListPage    = 50
	maxStreamNames = 100
	maxPattern     = 1024
	maxViolations  = 10
)

var (
	groupNameForm  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]+$`)
	streamNameForm = regexp.MustCompile(`^[^:*]*$`)
	tagKeyForm     = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`)
	tagValueForm   = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	arnForm        = regexp.MustCompile(`^[\w+=/:,.@-]*$`)

	groupClasses = []string{"STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"}
	retentions   = []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827,
		2192, 2557, 2922, 3288, 3653}
)

// violations are the constraints that one request violates.
type violations []string

// add adds a violation. constraint completes the service's sentence "Member must …".
func (v *violations) add(value, member, constraint string, args ...any) {
	if len(*v) < maxViolations {
		*v = append(*v, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: Member must %s",
			value, member, fmt.Sprintf(constraint, args...)))
	}
}

func (v violations) err() *protocol.Error {
	switch len(v) {
	case 0:
		return nil
	case 1:
		return protocol.Invalid("1 validation error detected: %s", v[0])
	}
	return protocol.Invalid("%d validation errors detected: %s", len(v), strings.Join(v, "; "))
}

func quoted(s string) string { return "'" + s + "'" }

// required checks a string that must not be missing.
func (v *violations) required(in *protocol.Input, member string, longest int, form *regexp.Regexp) string {
	s, ok := in.Strings[member]
	if !ok {
		v.add("null", member, "not be null")
		return ""
	}
	return v.checked(s, member, longest, form)
}

// optional checks a string that may be missing. It must not be empty.
func (v *violations) optional(in *protocol.Input, member string, longest int, form *regexp.Regexp) string {
	s, ok := in.Strings[member]
	if !ok {
		return ""
	}
	return v.checked(s, member, longest, form)
}

// checked checks a string's length, in characters, and its form.
func (v *violations) checked(s, member string, longest int, form *regexp.Regexp) string {
	if form != nil && s != "" && !form.MatchString(s) {
		v.add(quoted(s), member, "satisfy regular expression pattern: %s", pattern(form))
	}
	if s == "" {
		v.add("''", member, "have length greater than or equal to 1")
	}
	if utf8.RuneCountInString(s) > longest {
		v.add(quoted(s), member, "have length less than or equal to %d", longest)
	}
	return s
}

// pattern returns a regular expression as the service's messages write it.
func pattern(form *regexp.Regexp) string {
	if form == groupNameForm {
		return `[\.\-_/#A-Za-z0-9]+`
	}
	return strings.Trim(form.String(), "^$")
}

func (v *violations) groupName(in *protocol.Input) string {
	return v.required(in, "logGroupName", maxName, groupNameForm)
}

func (v *violations) streamName(in *protocol.Input) string {
	return v.required(in, "logStreamName", maxName, streamNameForm)
}

// between checks a number that may be missing, and returns def if it is.
func (v *violations) between(in *protocol.Input, member string, least, most, def int64) int64 {
	n, ok := in.Longs[member]
	switch {
	case !ok:
		return def
	case n < least:
		v.add(quoted(strconv.FormatInt(n, 10)), member, "have value greater than or equal to %d", least)
	case n > most:
		v.add(quoted(strconv.FormatInt(n, 10)), member, "have value less than or equal to %d", most)
	}
	return n
}

// oneOf checks a string that may be missing.
func (v *violations) oneOf(in *protocol.Input, member string, allowed []string) string {
	s, ok := in.Strings[member]
	if ok && !slices.Contains(allowed, s) {
		v.add(quoted(s), member, "satisfy enum value set: [%s]", strings.Join(allowed, ", "))
	}
	return s
}

// tags checks the member tags, and returns nil if it is missing.
func (v *violations) tags(in *protocol.Input) map[string]string {
	tags, ok := in.Maps["tags"]
	if !ok {
		return nil
	}
	if len(tags) == 0 {
		v.add("'{}'", "tags", "have length greater than or equal to 1")
	}
	if len(tags) > maxTags {
		v.add("'{...}'", "tags", "have length less than or equal to %d", maxTags)
	}
	for key, value := range tags {
		v.checked(key, "tags."+key+".key", maxTagKey, tagKeyForm)
		if value != "" {
			v.checked(value, "tags."+key+".member", maxTagValue, tagValueForm)
		}
	}
	return tags
}

// systemTag refuses keys that are reserved for AWS.
func systemTag(tags map[string]string) *protocol.Error {
	for key := range tags {
		if len(key) >= 4 && strings.EqualFold(key[:4], "aws:") {
			return protocol.Invalid("System tags cannot be added/updated by requester")
		}
	}
	return nil
}

// newName checks names for CreateLogGroup and CreateLogStream, which have a special message
// for a name that is too long.
func newName(names ...string) *protocol.Error {
	for _, name := range names {
		if utf8.RuneCountInString(name) > maxName {
			return protocol.Invalid("Invalid LogGroup or LogStream, both must have length less than or equal to 512.")
		}
	}
	return nil
}
