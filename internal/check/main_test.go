package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/logspool/logspool/internal/installed"
)

// runVariable makes the test's program run the checks and print the results. Its value is an
// alone.
const runVariable = "CHECK_TEST_RUN"

// TestMain makes sure that no test uses the settings and files of this machine.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "AWS_") || strings.HasSuffix(strings.ToLower(name), "_proxy") {
			if os.Getenv(runVariable) == "" {
				os.Unsetenv(name)
			}
		}
	}
	config.DefaultSharedCredentialsFiles = nil
	config.DefaultSharedConfigFiles = nil
	if v := os.Getenv(runVariable); v != "" {
		runAlone(v)
		return
	}
	os.Exit(m.Run())
}

// alone is what runInProcess passes to runAlone.
type alone struct {
	Plugin *installed.Plugin
	Engine *installed.Engine
	Group  string
	Host   string // Host is the directory of the fake host.
}

func runAlone(text string) {
	var a alone
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		panic(err)
	}
	os.Unsetenv(runVariable)
	o := Options{Plugin: a.Plugin, Engine: a.Engine, Group: a.Group, host: fakeHost(a.Host)}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := json.NewEncoder(os.Stdout).Encode(Run(ctx, o)); err != nil {
		panic(err)
	}
}

// runInProcess runs the checks in a process of their own, because net/http reads the proxies
// once in the life of a process.
func runInProcess(t *testing.T, o Options, hostDir string) []Result {
	t.Helper()
	v, err := json.Marshal(alone{o.Plugin, o.Engine, o.Group, hostDir})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	// The race detector sleeps for a second before a process ends.
	cmd.Env = append(os.Environ(), runVariable+"="+string(v), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var results []Result
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return results
}

// refusingURL returns a URL on loopback that refuses connections.
func refusingURL() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// find returns the only result of that name.
func find(t *testing.T, results []Result, name string) Result {
	t.Helper()
	var found []Result
	for _, r := range results {
		if r.Check == name {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d results are named %q:\n%s", len(found), name, list(results))
	}
	return found[0]
}

func list(results []Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%-8s %-24s %s; %s\n", r.State, r.Check, r.Detail, r.Remedy)
	}
	return b.String()
}
