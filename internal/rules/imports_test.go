// Package rules holds what the compiler cannot: which package must not know what, and that
// config.json says what the code and the AWS SDK read. It is tests alone, and stands apart from what
// it checks.
package rules

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/logspool/logspool"
	root   = "../.."

	aws        = "github.com/aws/" // the SDK and smithy
	awsService = "github.com/aws/aws-sdk-go-v2/service/"
	docker     = "github.com/docker/"
	gogo       = "github.com/gogo/protobuf"
)

// A rule is what one package of the house must not know. Names of other packages match the ones
// below them too; those of this module are short.
type rule struct {
	// ours are all packages of this module that it may import. Nil: every one that may import
	// itself.
	ours []string
	// never must not be among its dependencies, however far down.
	never []string
	// direct must not be imported by its own files. For what a library may use and it may not.
	direct []string
	// pure: it starts no goroutine and reads no clock.
	pure bool
	// client: it plays a user, who reads from the service through the SDK.
	client bool
	// tests: it has no files but tests.
	tests bool
}

// impure is what a package that must not know files, the environment or the network does not import.
var impure = []string{"os", "io/fs", "io/ioutil", "net", "net/http", "syscall", "golang.org/x/sys", "math/rand", "crypto/rand", "context", "log"}

// house is the list of all packages, and what docs/decisions and the package comments say of them.
// A package that is not there fails the test, and so does one that is not in the list.
var house = map[string]rule{
	"": {}, // main ties the parts together
	"driver": {
		ours:  []string{"driver/archive", "driver/feed", "driver/fifo", "events", "naming", "spool", "internal/config", "internal/container", "internal/durable", "internal/faultlog", "internal/oneline", "internal/stream", "internal/target"},
		never: []string{aws, module + "/uploader"},
	},
	"driver/archive": {
		ours:  []string{"spool", "internal/container", "internal/durable"},
		never: []string{aws, docker, gogo},
	},
	"driver/feed": {
		ours:  []string{"events", "spool", "internal/stream"},
		never: []string{aws},
	},
	"driver/fifo": {
		ours:  []string{"spool", "internal/durable"},
		never: []string{aws, docker, gogo},
	},
	"spool": {
		ours:   []string{"internal/durable", "internal/stream"},
		never:  []string{aws, docker, gogo, "google.golang.org/protobuf"},
		direct: []string{"net", "net/http"},
	},
	"events": {ours: []string{"internal/stream"}, never: []string{aws}, direct: impure, pure: true},
	"naming": {ours: []string{"internal/container", "internal/oneline"}, never: []string{aws, docker}, direct: impure, pure: true},
	"uploader": {
		ours:   []string{"events", "internal/backoff", "internal/faultlog", "internal/oneline", "internal/stream", "internal/target"},
		never:  []string{module + "/driver", module + "/internal/config"},
		direct: []string{docker, gogo, "os", "io/fs", "path/filepath", "golang.org/x/sys"},
	},
	"internal/awsenv":              {ours: []string{"internal/faultlog", "internal/target"}, never: []string{docker, awsService + "cloudwatchlogs"}},
	"internal/backoff":             {ours: []string{}, never: []string{aws, docker}},
	"internal/config":              {ours: []string{"naming", "internal/container", "internal/oneline", "internal/target"}, never: []string{aws}, direct: impure, pure: true},
	"internal/container":           {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/cwlocal":             {ours: []string{}, never: []string{aws, docker}},
	"internal/dockertest":          {ours: []string{}, never: []string{aws}},
	"internal/dnswatch":            {ours: []string{}, never: []string{aws, docker}, direct: []string{"net", "net/http"}},
	"internal/docstest":            {tests: true},
	"internal/durable":             {ours: []string{}, never: []string{aws, docker}},
	"internal/durable/durabletest": {ours: []string{"internal/durable"}, never: []string{aws, docker}},
	"internal/faultlog":            {ours: []string{}, never: []string{aws, docker}},
	"internal/hosttest":            {ours: []string{}, never: []string{aws, docker}},
	"internal/oneline":             {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/longtest":            {ours: []string{}, never: []string{aws, docker}},
	"internal/privileges":          {ours: []string{}, never: []string{aws, docker}},
	"internal/rules":               {tests: true},
	"internal/stream":              {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/target":              {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"cmd/cwlocal":                  {ours: []string{"internal/cwlocal"}, never: []string{aws, docker}},
	"cmd/demo":                     {ours: []string{"internal/cwlocal", "internal/dockertest", "internal/hosttest"}, client: true},
	"cmd/fault":                    {ours: []string{"internal/cwlocal", "internal/dockertest", "internal/hosttest"}, client: true},
	"e2e":                          {ours: []string{"internal/cwlocal", "internal/dockertest", "internal/hosttest"}, client: true, tests: true},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	Dir, ImportPath           string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
	Imports, Deps             []string
	TestImports, XTestImports []string
	Error                     *struct{ Err string }
}

func (p pkg) short() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// tree lists the packages of this module, with the tag that the e2e tests have.
var tree = sync.OnceValues(func() (map[string]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-tags", "e2e", "-json", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		all[p.short()] = p
	}
	return all, nil
})

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// under reports whether an import path is name or below it.
func under(importPath, name string) bool {
	name = strings.TrimSuffix(name, "/")
	return importPath == name || strings.HasPrefix(importPath, name+"/")
}

func TestHouseIsComplete(t *testing.T) {
	all := packages(t)
	for name, p := range all {
		if _, ok := house[name]; !ok {
			t.Errorf("%s has no rule: say in house what it must not know", p.ImportPath)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
	}
	for name, r := range house {
		p, ok := all[name]
		if !ok || !r.tests && len(p.GoFiles) == 0 {
			t.Errorf("%s is not there: its rule holds nothing", path.Join(module, name))
		}
	}
}

func TestImports(t *testing.T) {
	for name, p := range packages(t) {
		r := house[name]
		imports, deps := p.Imports, p.Deps
		if r.tests {
			imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			deps = slices.Concat(p.Deps, imports)
		}
		for _, i := range imports {
			if short, ok := strings.CutPrefix(i, module+"/"); ok && r.ours != nil && !slices.Contains(r.ours, short) {
				t.Errorf("%s imports %s, and of this module it may import %q alone", p.ImportPath, i, r.ours)
			}
			for _, d := range r.direct {
				if under(i, d) && !(d == "net" && i == "net/url") {
					t.Errorf("%s imports %s, and must not know it", p.ImportPath, i)
				}
			}
		}
		for _, d := range deps {
			for _, n := range r.never {
				if under(d, n) {
					t.Errorf("%s depends on %s, and must not know it", p.ImportPath, d)
				}
			}
		}
	}
}

// clocks are the names in package time that read a clock or wait for one. That a test may replace it
// by testing/synctest does not make the package pure.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestPurePackages(t *testing.T) {
	for name, p := range packages(t) {
		if !house[name].pure {
			continue
		}
		fset := token.NewFileSet()
		for _, f := range parse(t, fset, p.Dir, p.GoFiles) {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: starts a goroutine", fset.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
						t.Errorf("%s: time.%s: the caller passes the time", fset.Position(n.Pos()), n.Sel.Name)
					}
				case *ast.ImportSpec:
					if n.Name != nil && n.Path.Value == `"time"` {
						t.Errorf("%s: time under another name", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// In the plugin, the SDK's package of the service is behind one file, and the SDK as a whole behind two
// packages.
func TestSDKStandsBehindOneFile(t *testing.T) {
	for name, p := range packages(t) {
		if house[name].client {
			continue
		}
		fset := token.NewFileSet()
		for _, f := range parse(t, fset, p.Dir, p.GoFiles) {
			file := path.Join(name, filepath.Base(fset.Position(f.Pos()).Filename))
			for _, spec := range f.Imports {
				i, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if under(i, awsService+"cloudwatchlogs") && file != "uploader/client.go" {
					t.Errorf("%s imports %s: only uploader/client.go does", file, i)
				}
				if under(i, aws) && name != "uploader" && name != "internal/awsenv" {
					t.Errorf("%s imports %s: only uploader and internal/awsenv know the SDK", file, i)
				}
			}
		}
	}
}

func parse(t *testing.T, fset *token.FileSet, dir string, names []string) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}
