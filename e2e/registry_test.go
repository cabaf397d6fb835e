//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/hosttest"
)

// newRegistry starts Debian's docker-registry on a loopback address, for which dockerd uses
// HTTP, and returns the address.
func newRegistry(t *testing.T) (address string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("LOGSPOOL_E2E") == "required" {
			t.Fatalf("%v: install Debian's package docker-registry", err)
		}
		t.Skipf("no registry: %v", err)
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the registry must be told its port
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := hosttest.StartProgram("docker-registry", exec.Command(program, "serve", config), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			answer.Body.Close()
			return address
		}
		select {
		case <-p.Exited():
			t.Fatalf("docker-registry ended: %v\n%s", p.Err(), p.Log.Tail(10))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
