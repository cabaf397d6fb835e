package naming

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/oneline"
)

// builtins are the functions of text/template that make no text: they return an argument,
// a part of it, or a number. The functions that make text are replaced in the method
// functions. "call" is missing, because no value here can be called. The parser reads
// only the names.
var builtins = map[string]any{
	"and": true, "or": true, "not": true, "index": true, "slice": true, "len": true,
	"eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
}

// bounded holds the names of the other functions for the parser. Each execution has its own
// functions.
var bounded = map[string]any((*execution)(nil).functions())

// Functions returns the sorted names of the functions that templates can use.
func Functions() []string {
	return slices.Sorted(maps.Keys(allFunctions()))
}

func allFunctions() map[string]any {
	all := maps.Clone(builtins)
	maps.Copy(all, bounded)
	return all
}

// functions returns Docker's functions (moby, daemon/logger/templates), default and
// replace, and replacements for those of text/template that make text. Each calls charge
// before it makes text.
func (e *execution) functions() template.FuncMap {
	return template.FuncMap{
		"json": e.json, "split": e.split, "join": e.join, "title": e.title, "lower": e.lower,
		"upper": e.upper, "pad": e.pad, "truncate": truncate,
		"default": defaultTo, "replace": e.replace,
		"print": e.print, "printf": e.printf, "println": e.println,
		"html": e.html, "js": e.js, "urlquery": e.urlquery,
	}
}

// growCase is the most bytes that one byte becomes when its case is changed: three if it
// is not UTF-8 (U+FFFD).
const growCase = 3

// json is Docker's function. It escapes no HTML.
func (e *execution) json(v any) (string, error) {
	if err := e.charge(sizeOf(v)); err != nil {
		return "", err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return e.result(strings.TrimSpace(buf.String()))
}

// result charges for a text whose size could only be estimated before it was made,
// because escaping turns one byte into up to six.
func (e *execution) result(s string) (string, error) { return s, e.charge(len(s)) }

func (e *execution) split(s, sep string) ([]string, error) {
	const header = 16 // size of a string's header, in bytes
	parts := utf8.RuneCountInString(s)
	if sep != "" {
		parts = strings.Count(s, sep) + 1
	}
	if err := e.charge(parts * header); err != nil {
		return nil, err
	}
	return strings.Split(s, sep), nil
}

func (e *execution) join(elems []string, sep string) (string, error) {
	if err := e.charge(sizeOf(elems) + len(elems)*len(sep)); err != nil {
		return "", err
	}
	return strings.Join(elems, sep), nil
}

func (e *execution) title(s string) (string, error) {
	//lint:ignore SA1019 Docker uses this function.
	return e.mapped(s, strings.Title)
}
func (e *execution) lower(s string) (string, error) { return e.mapped(s, strings.ToLower) }
func (e *execution) upper(s string) (string, error) { return e.mapped(s, strings.ToUpper) }

func (e *execution) mapped(s string, f func(string) string) (string, error) {
	if err := e.charge(growCase * len(s)); err != nil {
		return "", err
	}
	return f(s), nil
}

// pad puts spaces before and after a string. It leaves an empty string as it is.
func (e *execution) pad(s string, prefix, suffix int) (string, error) {
	if s == "" {
		return "", nil
	}
	if prefix < 0 || suffix < 0 {
		return "", errors.New("a negative number of spaces")
	}
	if prefix > maxResult || suffix > maxResult {
		return "", errResult
	}
	if err := e.charge(len(s) + prefix + suffix); err != nil {
		return "", err
	}
	return strings.Repeat(" ", prefix) + s + strings.Repeat(" ", suffix), nil
}

// truncate returns the first n bytes of s, or fewer so that it does not cut a character.
func truncate(s string, n int) (string, error) {
	if n < 0 {
		return "", errors.New("a negative length")
	}
	return oneline.Cut(s, n), nil
}

// defaultTo returns value, or def if value is empty in the sense of {{if}}. The default is the
// first parameter, for use in a pipeline: {{.Env.STAGE | default "dev"}}.
func defaultTo(def, value any) any {
	if truth, ok := template.IsTrue(value); ok && truth {
		return value
	}
	return def
}

// replace replaces every old in s by new. The string is the last parameter, for use in a
// pipeline: {{.ImageName | replace ":" "-"}}.
func (e *execution) replace(old, new, s string) (string, error) {
	n := strings.Count(s, old) // for an empty old, the number of characters plus one
	if err := e.charge(len(s) + n*max(0, len(new)-len(old))); err != nil {
		return "", err
	}
	return strings.ReplaceAll(s, old, new), nil
}

func (e *execution) print(args ...any) (string, error) {
	return e.printed(args, func() string { return fmt.Sprint(args...) })
}

func (e *execution) println(args ...any) (string, error) {
	return e.printed(args, func() string { return fmt.Sprintln(args...) })
}

func (e *execution) printf(format string, args ...any) (string, error) {
	width, verbs, err := formatBound(format)
	if err != nil {
		return "", err
	}
	most, parts := 0, 1
	for _, arg := range args {
		most, parts = max(most, sizeOf(arg)), max(parts, printedParts(arg))
	}
	// A verb can print any argument (%[1]s), and fmt appends unused arguments as %!(EXTRA …).
	// This is a rough limit for the size of the result. result charges for its real size.
	if len(format) > maxMade || width > maxMade/parts || verbs > 0 && most > maxMade/verbs || sizeOfAll(args) > maxResult {
		return "", errResult
	}
	return e.result(fmt.Sprintf(format, args...))
}

func (e *execution) html(args ...any) (string, error) {
	return e.printed(args, func() string { return template.HTMLEscaper(args...) })
}

func (e *execution) js(args ...any) (string, error) {
	return e.printed(args, func() string { return template.JSEscaper(args...) })
}

func (e *execution) urlquery(args ...any) (string, error) {
	return e.printed(args, func() string { return template.URLQueryEscaper(args...) })
}

// printed checks the size of the arguments before f prints them, and charges for the result.
func (e *execution) printed(args []any, f func() string) (string, error) {
	if sizeOfAll(args) > maxResult {
		return "", errResult
	}
	return e.result(f())
}
