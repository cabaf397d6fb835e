package naming

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// These limits bound the cost of a template. A name has at most 512 characters, so they
// are wide enough for any real name. In the worst case, executing a template takes some
// hundredths of a second and a few MiB.
const (
	// maxText is the longest template, in bytes. It also bounds the parser and its recursion.
	maxText = 8 << 10
	// maxResult is the most that one function may return or a template may render, in bytes.
	maxResult = 64 << 10
	// maxMade is the most that all functions together may return while one template is
	// executed, in bytes.
	maxMade = 1 << 20
	// maxSteps is the most parts of a template that may be evaluated within {{range}}.
	// Elsewhere, each part is evaluated once, so maxText bounds them.
	maxSteps = 20_000
)

// A limitError says which of the limits a template exceeds.
type limitError struct{ what string }

func (e *limitError) Error() string { return e.what }

var (
	errSteps  = &limitError{"takes too long: it evaluates more than " + strconv.Itoa(maxSteps) + " parts within {{range}}"}
	errResult = &limitError{"makes too much text: a function may return " + strconv.Itoa(maxResult) + " bytes"}
	errMade   = &limitError{"makes too much text: its functions may return " + strconv.Itoa(maxMade) + " bytes together"}
	errOutput = &limitError{"renders too much text: at most " + strconv.Itoa(maxResult) + " bytes are allowed"}
)

// Execute renders the template for a container. The result may not be a valid name. The
// error is one line.
func (t *Template) Execute(c *Container) (_ string, err error) {
	defer func() {
		if r := recover(); r != nil { // text/template does not catch all panics
			err = t.errorf("can't be executed: %v", r)
		}
	}()
	e := &execution{largest: largest(c)}
	// The functions count the cost of one execution, so each execution has its own. The
	// tree can be shared, because executing only reads it.
	tmpl, err := template.New(rootName).Option("missingkey=zero").
		Funcs(e.functions()).
		Funcs(template.FuncMap{stepFunc: e.step, rangeFunc: e.ranged}).
		AddParseTree(rootName, t.tree)
	if err != nil {
		return "", t.executeError(err)
	}
	if err := tmpl.Execute(&e.out, t.dialect.data(c)); err != nil {
		return "", t.executeError(err)
	}
	return e.out.String(), nil
}

// execution counts the cost of executing a template once.
type execution struct {
	out     output
	steps   int
	made    int
	largest int // largest is the size of the largest value in the container's data, in bytes.
}

// output collects what the template renders.
type output struct{ strings.Builder }

func (o *output) Write(p []byte) (int, error) {
	if o.Len()+len(p) > maxResult {
		return 0, errOutput
	}
	return o.Builder.Write(p)
}

// WriteString hides the Builder's method, which has no limit.
func (o *output) WriteString(s string) (int, error) { return o.Write([]byte(s)) }

// largest returns the size of the largest value in a container's data. One comparison, or
// one sort of a map, may have to read all of it.
func largest(c *Container) int {
	n := len(c.Env)
	for _, s := range []string{
		c.ID, c.Name, c.ImageID, c.ImageName, c.DaemonName, c.command(), c.Host, c.LoggerHost, c.LogPath,
	} {
		n = max(n, len(s))
	}
	for _, s := range c.Env {
		n = max(n, len(s))
	}
	for _, m := range []map[string]string{c.Labels, c.Config, c.Attrs} {
		n = max(n, len(m))
		for k, s := range m {
			n = max(n, len(k), len(s))
		}
	}
	return n
}

// meter puts these functions into a parsed template. A user's template cannot call them,
// because they do not exist when it is parsed.
const (
	stepFunc  = "_step"
	rangeFunc = "_range"
)

// meter makes every {{range}} below n count its cost, and returns the number of parts of
// n. The loop's body begins with a step that costs the number of parts in the body. The
// value that the loop ranges over costs its length, because a map is sorted even if the
// loop ends at once.
func meter(n parse.Node) (parts int) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return 0
		}
		for _, child := range n.Nodes {
			parts += meter(child)
		}
		return parts
	case *parse.ActionNode:
		return meter(n.Pipe)
	case *parse.IfNode:
		return meterBranch(&n.BranchNode)
	case *parse.WithNode:
		return meterBranch(&n.BranchNode)
	case *parse.RangeNode:
		parts = meter(n.Pipe) + meter(n.ElseList)
		body := meter(n.List)
		n.List.Nodes = append([]parse.Node{call(n.Pos, n.Line, stepFunc, 1+body)}, n.List.Nodes...)
		n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
			NodeType: parse.NodeCommand,
			Pos:      n.Pos,
			Args:     []parse.Node{parse.NewIdentifier(rangeFunc).SetPos(n.Pos)},
		})
		return 1 + parts
	case *parse.PipeNode:
		if n == nil {
			return 0
		}
		for _, cmd := range n.Cmds {
			parts += meter(cmd)
		}
		return parts
	case *parse.CommandNode:
		for _, arg := range n.Args {
			parts += meter(arg)
		}
		return parts
	case *parse.ChainNode:
		return len(n.Field) + meter(n.Node)
	case *parse.FieldNode:
		return len(n.Ident)
	default:
		return 1
	}
}

func meterBranch(n *parse.BranchNode) int {
	return 1 + meter(n.Pipe) + meter(n.List) + meter(n.ElseList)
}

// call returns the node of {{name n}}.
func call(pos parse.Pos, line int, name string, n int) parse.Node {
	number := strconv.Itoa(n)
	return &parse.ActionNode{
		NodeType: parse.NodeAction, Pos: pos, Line: line,
		Pipe: &parse.PipeNode{
			NodeType: parse.NodePipe, Pos: pos, Line: line,
			Cmds: []*parse.CommandNode{{
				NodeType: parse.NodeCommand, Pos: pos,
				Args: []parse.Node{
					parse.NewIdentifier(name).SetPos(pos),
					&parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(n), Text: number},
				},
			}},
		},
	}
}

// step counts one iteration of a loop. A part may have to read a large value, for example in a
// comparison, so it costs more if the container has large values.
func (e *execution) step(parts int) (string, error) {
	e.steps += parts * (1 + e.largest/maxResult)
	if e.steps > maxSteps {
		return "", errSteps
	}
	return "", nil
}

// ranged counts the length of v, which a loop ranges over, and returns v.
func (e *execution) ranged(v any) (any, error) {
	n := 0
	switch v := v.(type) {
	case map[string]string:
		n = len(v)
	case []string:
		n = len(v)
	}
	_, err := e.step(n)
	return v, err
}

// charge counts n bytes that a function is about to make.
func (e *execution) charge(n int) error {
	if n > maxResult {
		return errResult
	}
	if e.made += n; e.made > maxMade {
		return errMade
	}
	return nil
}

// sizeOf returns the size of a value when it is printed without escapes, in bytes.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []string:
		n := 0
		for _, s := range v {
			n += len(s) + 1
		}
		return n
	case map[string]string:
		n := 0
		for k, s := range v {
			n += len(k) + len(s) + 2
		}
		return n
	case *groupFields:
		return sizeOf(v.Env) + sizeOf(v.Labels) + sizeOf([]string{
			v.Host, v.Name, v.ID, v.LoggerHost, v.InstanceID, v.Region,
			v.ShortID, v.ImageName, v.ImageID, v.DaemonName, v.Command, v.Source})
	case *tagFields:
		maps := sizeOf(v.ContainerLabels) + sizeOf(v.Config) + sizeOf(v.extra)
		return maps + sizeOf(v.ContainerArgs) + sizeOf(v.ContainerEnv) + 2*sizeOf([]string{
			v.ContainerID, v.ContainerName, v.ContainerImageID, v.ContainerImageName, v.ContainerEntrypoint,
			v.DaemonName, v.Command, v.Hostname, v.LogPath})
	default:
		return 32 // a number, a boolean, a time, nil
	}
}

func sizeOfAll(args []any) int {
	n := 0
	for _, arg := range args {
		n += 1 + sizeOf(arg)
	}
	return n
}

// printedParts returns the number of parts of a value that package fmt pads separately
// (fmt/print.go, printValue).
func printedParts(arg any) int {
	v := reflect.ValueOf(arg)
	if v.Kind() == reflect.Pointer { // the data as a whole; fmt prints a nested pointer as a number
		v = v.Elem()
	}
	return partsOf(v)
}

func partsOf(v reflect.Value) int {
	switch v.Kind() {
	case reflect.Slice:
		return v.Len()
	case reflect.Map:
		return 2 * v.Len()
	case reflect.Struct:
		n := 0
		for _, field := range v.Fields() {
			n += partsOf(field)
		}
		return n
	default:
		return 1
	}
}

// formatBound returns upper limits for the sum of a format's widths and precisions, and
// for its number of verbs. It reads what follows every %, not only those that begin a
// verb, and accepts more characters in a width than package fmt (fmt/print.go, doPrintf),
// so it misses no width.
func formatBound(format string) (width, verbs int, err error) {
	for at, c := range []byte(format) {
		if c != '%' {
			continue
		}
		verbs++
		spec := format[at+1:]
		spec = spec[:len(spec)-len(strings.TrimLeft(spec, "#0123456789+- .[]*"))]
		if strings.Contains(spec, "*") {
			return 0, 0, errors.New("a width or precision of * is not allowed")
		}
		for number := range strings.FieldsFuncSeq(spec, func(r rune) bool { return r < '0' || '9' < r }) {
			n, err := strconv.Atoi(number)
			if err != nil || n > maxResult {
				return 0, 0, errResult
			}
			width += n
		}
	}
	return width, verbs, nil
}
