// Package rules checks what the compiler cannot: what each package must not know, and that
// config.json has the variables that the code and the AWS SDK read. It consists only of tests.
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

// A rule says what one package must not know. The names of packages of this module lack its path.
// The names in never and direct also match the packages below them.
type rule struct {
	// ours lists the packages of this module that the package may import. Nil allows all of them.
	ours []string
	// never lists what the package must not depend on, directly or indirectly.
	never []string
	// direct lists what the package's own files must not import, although its dependencies may.
	direct []string
	// pure says that the package starts no goroutine and reads no clock.
	pure bool
	// client says that the package reads from CloudWatch through the SDK, like a user.
	client bool
	// tests says that the package consists only of tests.
	tests bool
}

// impure lists the imports of packages that know files, the environment or the network.
var impure = []string{
	"os", "io/fs", "io/ioutil", "net", "net/http", "syscall", "golang.org/x/sys",
	"math/rand", "crypto/rand", "context", "log",
}

// packageRules has one rule for each package. The package comments and docs/decisions explain them.
var packageRules = map[string]rule{
	"": {}, // main connects the parts
	"driver": {
		ours:  []string{"driver/archive", "driver/feed", "driver/fifo", "driver/readlogs", "events", "naming", "spool", "internal/backoff", "internal/config", "internal/container", "internal/durable", "internal/faultlog", "internal/oneline", "internal/status", "internal/stream", "internal/target"},
		never: []string{aws, module + "/uploader"},
	},
	"driver/archive": {
		ours:  []string{"spool", "internal/container", "internal/durable"},
		never: []string{aws, docker, gogo},
	},
	"driver/feed": {
		ours:  []string{"events", "spool", "internal/backoff", "internal/stream"},
		never: []string{aws},
	},
	"driver/fifo": {
		ours:  []string{"spool", "internal/backoff", "internal/durable"},
		never: []string{aws, docker, gogo},
	},
	"driver/readlogs": {
		ours:   []string{"events", "spool"},
		never:  []string{aws},
		direct: []string{"os", "io/fs", "path/filepath"},
	},
	"spool": {
		ours:   []string{"internal/durable", "internal/stream"},
		never:  []string{aws, docker, gogo, "google.golang.org/protobuf"},
		direct: []string{"net", "net/http"},
	},
	"events": {ours: []string{"internal/stream"}, never: []string{aws}, direct: impure, pure: true},
	"naming": {ours: []string{"internal/container", "internal/oneline"}, never: []string{aws, docker}, direct: impure, pure: true},
	"uploader": {
		ours:   []string{"events", "internal/backoff", "internal/faultlog", "internal/oneline", "internal/status", "internal/stream", "internal/target"},
		never:  []string{module + "/driver", module + "/internal/config"},
		direct: []string{docker, gogo, "os", "io/fs", "path/filepath", "golang.org/x/sys"},
	},
	"internal/awsenv":  {ours: []string{"internal/backoff", "internal/faultlog", "internal/oneline", "internal/target"}, never: []string{docker, awsService + "cloudwatchlogs"}},
	"internal/backoff": {ours: []string{}, never: []string{aws, docker}},
	"internal/check": {
		ours:  []string{"driver", "internal/awsenv", "internal/config", "internal/container", "internal/installed", "internal/oneline", "internal/status", "internal/statusserver", "internal/target", "naming"},
		never: []string{module + "/uploader"},
	},
	"internal/cli":                 {never: []string{module + "/uploader"}},
	"internal/config":              {ours: []string{"events", "naming", "internal/container", "internal/oneline", "internal/target"}, never: []string{aws}, direct: impure, pure: true},
	"internal/container":           {ours: []string{"internal/oneline"}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/cwlocal":             {ours: []string{"internal/cwlocal/fault", "internal/cwlocal/protocol", "internal/cwlocal/stats", "internal/cwlocal/store"}, never: []string{aws, docker}},
	"internal/cwlocal/fault":       {ours: []string{"internal/cwlocal/protocol"}, never: []string{aws, docker}, direct: []string{"os"}},
	"internal/cwlocal/protocol":    {ours: []string{}, never: []string{aws, docker}, direct: []string{"os"}, pure: true},
	"internal/cwlocal/stats":       {ours: []string{"internal/cwlocal/protocol"}, never: []string{aws, docker}, direct: []string{"os", "net", "net/http", "encoding/json"}, pure: true},
	"internal/cwlocal/store":       {ours: []string{"internal/cwlocal/protocol"}, never: []string{aws, docker}, direct: []string{"os", "net", "net/http", "encoding/json"}, pure: true},
	"internal/dockertest":          {ours: []string{}, never: []string{aws}},
	"internal/digits":              {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/docpart":             {ours: []string{}, never: []string{aws, docker}},
	"internal/dnswatch":            {ours: []string{}, never: []string{aws, docker}, direct: []string{"net", "net/http"}},
	"internal/docstest":            {tests: true},
	"internal/durable":             {ours: []string{}, never: []string{aws, docker}},
	"internal/durable/durabletest": {ours: []string{"internal/durable"}, never: []string{aws, docker}},
	"internal/faultlog":            {ours: []string{}, never: []string{aws, docker}},
	"internal/hosttest":            {ours: []string{}, never: []string{aws, docker}},
	"internal/installed":           {ours: []string{}, never: []string{aws, docker}},
	"internal/metrics":             {ours: []string{"events", "spool", "internal/status"}, never: []string{aws, module + "/uploader", module + "/driver"}},
	"internal/promtest":            {ours: []string{"internal/hosttest"}, never: []string{aws, docker}},
	"internal/selfmetrics":         {ours: []string{"events", "internal/status", "internal/stream", "internal/target", "uploader"}, never: []string{module + "/driver", module + "/spool"}, direct: []string{"os", "net/http", docker}},
	"internal/status":              {ours: []string{"internal/durable"}, never: []string{aws, docker, "github.com/prometheus/"}},
	"internal/statuspage":          {ours: []string{"internal/digits", "internal/oneline", "internal/status"}, never: []string{aws, "github.com/docker/docker", "github.com/prometheus/"}, direct: []string{"os"}, pure: true},
	"internal/statusserver":        {ours: []string{"internal/faultlog", "internal/oneline", "internal/status"}, never: []string{aws, docker}},
	"internal/plot":                {ours: []string{"internal/digits"}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/oneline":             {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/costtest":            {ours: []string{}, never: []string{aws, docker}},
	"internal/longtest":            {ours: []string{}, never: []string{aws, docker}},
	"internal/pluginregistry":      {ours: []string{}, never: []string{aws, docker}},
	"internal/privileges":          {ours: []string{}, never: []string{aws, docker}},
	"internal/rules":               {tests: true},
	"internal/scaletest":           {ours: []string{"events", "internal/digits", "internal/docpart", "internal/plot", "internal/stream", "internal/target", "uploader"}, tests: true},
	"internal/stream":              {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"internal/target":              {ours: []string{}, never: []string{aws, docker}, direct: impure, pure: true},
	"bench":                        {ours: []string{"internal/cwlocal", "internal/digits", "internal/dockertest", "internal/docpart", "internal/hosttest", "internal/plot"}, never: []string{aws}},
	"bench/yardstick":              {ours: []string{}, client: true},
	"cmd/cwlocal":                  {ours: []string{"internal/cwlocal"}, never: []string{aws, docker}},
	"cmd/demo":                     {ours: []string{"internal/cwlocal", "internal/dockertest", "internal/hosttest"}, client: true},
	"cmd/fault":                    {ours: []string{"internal/cwlocal", "internal/digits", "internal/dockertest", "internal/docpart", "internal/hosttest"}, client: true},
	"e2e":                          {ours: []string{"internal/cwlocal", "internal/dockertest", "internal/docpart", "internal/hosttest", "internal/promtest"}, client: true, tests: true},
}

// pkg is a package as `go list -json` describes it.
type pkg struct {
	Dir, ImportPath           string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
	Imports, Deps             []string
	TestImports, XTestImports []string
	Error                     *struct{ Err string }
}

func (p pkg) short() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// tree lists the packages of this module, including the e2e tests.
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

func TestEveryPackageHasARule(t *testing.T) {
	all := packages(t)
	for name, p := range all {
		if _, ok := packageRules[name]; !ok {
			t.Errorf("%s has no rule: add one to packageRules that says what it must not know", p.ImportPath)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
	}
	for name, r := range packageRules {
		p, ok := all[name]
		if !ok || !r.tests && len(p.GoFiles) == 0 {
			t.Errorf("%s does not exist, but has a rule", path.Join(module, name))
		}
	}
}

func TestImportsFollowTheRules(t *testing.T) {
	for name, p := range packages(t) {
		r := packageRules[name]
		imports, deps := p.Imports, p.Deps
		if r.tests {
			imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			deps = slices.Concat(p.Deps, imports)
		}
		for _, i := range imports {
			if short, ok := strings.CutPrefix(i, module+"/"); ok && r.ours != nil && !slices.Contains(r.ours, short) {
				t.Errorf("%s imports %s; of this module, its rule in packageRules allows only %q", p.ImportPath, i, r.ours)
			}
			for _, d := range r.direct {
				if under(i, d) && !(d == "net" && i == "net/url") {
					t.Errorf("%s imports %s, which its rule in packageRules forbids", p.ImportPath, i)
				}
			}
		}
		for _, d := range deps {
			for _, n := range r.never {
				if under(d, n) {
					t.Errorf("%s depends on %s, which its rule in packageRules forbids", p.ImportPath, d)
				}
			}
		}
	}
}

// clocks are the functions of package time that read a clock or wait. A package that uses one
// is not pure, even if its tests use testing/synctest.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestPurePackagesUseNoGoroutinesAndClocks(t *testing.T) {
	for name, p := range packages(t) {
		if !packageRules[name].pure {
			continue
		}
		fset := token.NewFileSet()
		for _, f := range parse(t, fset, p.Dir, p.GoFiles) {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: a pure package starts a goroutine", fset.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
						t.Errorf("%s: a pure package calls time.%s; its caller should pass the time", fset.Position(n.Pos()), n.Sel.Name)
					}
				case *ast.ImportSpec:
					if n.Name != nil && n.Path.Value == `"time"` {
						t.Errorf("%s: a pure package imports time under another name", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// One file of the plugin and one of the command check import the SDK's package for CloudWatch
// Logs, and three packages import the SDK.
func TestSDKIsImportedInOnePlace(t *testing.T) {
	for name, p := range packages(t) {
		if packageRules[name].client {
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
				if under(i, awsService+"cloudwatchlogs") && file != "uploader/client.go" && file != "internal/check/client.go" {
					t.Errorf("%s imports %s: only uploader/client.go and internal/check/client.go may", file, i)
				}
				if under(i, aws) && name != "uploader" && name != "internal/awsenv" && name != "internal/check" {
					t.Errorf("%s imports %s: only uploader, internal/awsenv and internal/check may", file, i)
				}
			}
		}
	}
}

// The libraries that draw charts are for programs and tests.
func TestPluginDrawsNoCharts(t *testing.T) {
	for name, p := range packages(t) {
		for _, i := range p.Imports {
			if under(i, "gonum.org/v1") && name != "internal/plot" {
				t.Errorf("%s imports %s: only internal/plot may", p.ImportPath, i)
			}
		}
		if program := under(name, "bench") || under(name, "cmd") || name == "internal/plot"; program {
			continue
		}
		for _, d := range p.Deps {
			if d == module+"/internal/plot" {
				t.Errorf("%s depends on %s: only programs and tests may", p.ImportPath, d)
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
