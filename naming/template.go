package naming

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
	"unicode"

	"github.com/logspool/logspool/internal/oneline"
)

// Template is a parsed template. It never changes, so several goroutines may use it at once.
type Template struct {
	text    string
	tree    *parse.Tree
	dialect *dialect
	used    map[string]bool // used holds the names of the fields that it uses.
	usedAll bool            // usedAll says that it uses {{.}} or {{$}} as a whole.
}

// Parse parses the template of a group or a stream. The error is one line. It says what
// is wrong and, if that helps, what is allowed.
func Parse(text string) (*Template, error) { return parseTemplate(text, groupDialect) }

// ParseTag parses a template for Docker's log option tag. Its fields have other names and
// meanings. For example, .ID has 12 characters.
func ParseTag(text string) (*Template, error) { return parseTemplate(text, tagDialect) }

// mustParse parses this package's own templates.
func mustParse(text string) *Template {
	t, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

// String returns the template's text.
func (t *Template) String() string { return t.text }

// Uses reports whether the template may use a field, so that the caller need look up only
// what is used. A template that uses {{.}} or {{$}} as a whole uses every field.
func (t *Template) Uses(field string) bool {
	return t.used[field] || t.usedAll && slices.Contains(t.dialect.fields, field)
}

// rootName is the template's name in text/template, and in its errors.
const rootName = "name"

func parseTemplate(text string, d *dialect) (_ *Template, err error) {
	t := &Template{text: text, dialect: d, used: map[string]bool{}}
	defer func() {
		if r := recover(); r != nil { // text/template/parse may have bugs
			err = t.errorf("can't be parsed: %v", r)
		}
	}()
	if len(text) > maxText {
		return nil, t.errorf("is %d bytes long: at most %d are allowed", len(text), maxText)
	}
	trees := map[string]*parse.Tree{}
	t.tree, err = parse.New(rootName).Parse(text, "", "", trees, bounded, builtins)
	if err != nil {
		return nil, t.parseError(err)
	}
	// Another tree is a definition, which may have the name rootName.
	if len(trees) != 1 || trees[rootName] != t.tree {
		return nil, t.errorf("{{define}} and {{block}} are not allowed")
	}
	if err := t.inspect(t.tree.Root, true); err != nil {
		return nil, err
	}
	meter(t.tree.Root)
	return t, nil
}

// inspect records which fields the template uses below n, and refuses what cannot work.
// If root is true, the dot is the container. Inside {{with}} and {{range}}, it is an
// element of the container. There it can be the container only if they were given {{.}}
// or {{$}}, which counts as using every field.
func (t *Template) inspect(n parse.Node, root bool) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return inspectAll(t, n.Nodes, root)
	case *parse.ActionNode:
		return t.inspect(n.Pipe, root)
	case *parse.IfNode:
		return t.inspectBranch(&n.BranchNode, root, root)
	case *parse.WithNode:
		return t.inspectBranch(&n.BranchNode, root, false)
	case *parse.RangeNode:
		return t.inspectBranch(&n.BranchNode, root, false)
	case *parse.TemplateNode:
		return t.errorf("{{template}} and {{block}} are not allowed")
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		return inspectAll(t, n.Cmds, root)
	case *parse.CommandNode:
		return inspectAll(t, n.Args, root)
	case *parse.ChainNode:
		return t.inspect(n.Node, root)
	case *parse.DotNode:
		t.usedAll = t.usedAll || root
	case *parse.FieldNode:
		if root {
			return t.use(n.Ident)
		}
	case *parse.VariableNode:
		switch {
		case n.Ident[0] != "$":
		case len(n.Ident) == 1:
			t.usedAll = true
		default:
			return t.use(n.Ident[1:])
		}
	}
	return nil
}

func inspectAll[N parse.Node](t *Template, nodes []N, root bool) error {
	for _, n := range nodes {
		if err := t.inspect(n, root); err != nil {
			return err
		}
	}
	return nil
}

func (t *Template) inspectBranch(n *parse.BranchNode, root, inside bool) error {
	if err := t.inspect(n.Pipe, root); err != nil {
		return err
	}
	if err := t.inspect(n.List, inside); err != nil {
		return err
	}
	return t.inspect(n.ElseList, root)
}

// use records the use of a field, and checks the names after it, as in {{.Labels.a.b}}.
func (t *Template) use(path []string) error {
	field := path[0]
	if !slices.Contains(t.dialect.fields, field) {
		return t.errorf("there is no field .%s: the fields are %s", oneline.Text(field, maxField), t.dialect.list())
	}
	if len(path) > 2 && slices.Contains(t.dialect.maps, field) {
		return t.errorf("%s", t.dialect.keyHint(field, strings.Join(path[1:], ".")))
	}
	if field == "ContainerCreated" && len(path) > 1 && !slices.Contains(createdMethods, path[1]) {
		return t.errorf("there is no .ContainerCreated.%s: there are .%s",
			oneline.Text(path[1], maxField), strings.Join(createdMethods, " ."))
	}
	t.used[field] = true
	return nil
}

// parseError shortens an error of text/template/parse, "template: name:1: unclosed
// action". For an unknown function or an invalid key, it adds what is allowed.
func (t *Template) parseError(err error) error {
	msg := strings.TrimPrefix(err.Error(), "template: "+rootName+":")
	if _, rest, ok := strings.Cut(msg, ": "); ok { // without the line number
		msg = rest
	}
	if strings.HasPrefix(msg, "function ") && strings.HasSuffix(msg, " not defined") {
		msg += ": the functions are " + strings.Join(Functions(), " ")
	}
	if strings.HasPrefix(msg, "bad character ") || strings.HasPrefix(msg, "unexpected bad character ") {
		for _, m := range mapKey.FindAllStringSubmatch(t.text, -1) {
			if slices.Contains(t.dialect.maps, m[1]) && !isIdentifier(m[2]) {
				msg += ": " + t.dialect.keyHint(m[1], m[2])
				break
			}
		}
	}
	return t.errorf("%s", msg)
}

// mapKey finds what looks like a map's key after a dot, {{.Labels.k8s-app}}, in a text that
// cannot be parsed.
var mapKey = regexp.MustCompile(`\.(\w+)\.([^\s(){}|"\x60]+)`)

// isIdentifier reports whether text/template accepts a key after a dot (parse/lex.go,
// isAlphaNumeric).
func isIdentifier(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// keyHint says how to write a key that cannot follow a dot.
func (d *dialect) keyHint(field, key string) string {
	hint := fmt.Sprintf("write a key with characters other than letters, digits and _ as {{index .%s %s}}", field, quote(key))
	if field == "Labels" && slices.Contains(d.fields, "Lbl") {
		hint += fmt.Sprintf(" or {{.Lbl %s}}", quote(key))
	}
	return hint
}

// Error says in one line why a template cannot be parsed or executed.
type Error struct {
	Template string // Template is the text of the template.
	Reason   string
}

func (e *Error) Error() string { return "template " + quote(e.Template) + ": " + e.Reason }

func (t *Template) errorf(format string, args ...any) error {
	return &Error{Template: t.text, Reason: oneline.Text(fmt.Sprintf(format, args...), maxReason)}
}

// executeError shortens an error of text/template,
// `template: name:1:2: executing "name" at <.Lbl "x">: error calling Lbl: …`.
func (t *Template) executeError(err error) error {
	if limit, ok := errors.AsType[*limitError](err); ok {
		return t.errorf("%s", limit.Error())
	}
	msg := err.Error()
	if _, rest, ok := strings.Cut(msg, "executing \""+rootName+"\" at "); ok {
		msg = "at " + rest
	}
	return t.errorf("%s", msg)
}

// These limits bound how much of a user's text an error repeats, in bytes.
const (
	maxQuoted = 80
	maxField  = 64
	maxReason = 600
)

func quote(s string) string { return oneline.Quote(s, maxQuoted) }
