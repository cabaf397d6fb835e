//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// swarmMark is a file in the run's directory. It says that the engine's swarm belongs
	// to the tests, and whether joining the swarm has made its bridge, which leaving does
	// not remove.
	swarmMark   = "swarm"
	swarmBridge = "docker_gwbridge"
	madeBridge  = "made " + swarmBridge
)

// TestSwarmService: the labels of a Swarm service's tasks name the group and the streams.
func TestSwarmService(t *testing.T) {
	if state := local.must(t, "info", "--format", "{{.Swarm.LocalNodeState}}"); state != "inactive" {
		t.Skipf("this engine's swarm is %s and does not belong to the tests", state)
	}
	mark := madeBridge
	if local.must(t, "network", "ls", "-q", "--filter", "name=^"+swarmBridge+"$") != "" {
		mark = ""
	}
	if err := os.WriteFile(filepath.Join(runDir, swarmMark), []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leaveSwarm(local, runDir); err != nil {
			t.Error(err)
		}
	})
	local.must(t, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1", "--data-path-addr", "127.0.0.1")

	service := newName(t)
	id := local.must(t, "service", "create", "-q", "--detach", "--name", service, "--no-resolve-image", "--network", "host",
		"--label", label, "--container-label", label, "--replicas", "2", "--restart-condition", "none",
		"--log-driver", tested.name,
		"--log-opt", `group=swarm/{{.Lbl "com.docker.swarm.service.name"}}`,
		"--log-opt", `stream={{.Lbl "com.docker.swarm.task.name"}}`,
		image, "-name", service, "-lines", "50")
	group := "swarm/" + service
	var streams []stream
	wait(t, stand, "both tasks' streams", func() bool {
		streams = nil
		for _, s := range stand.Streams() {
			if s.Group == group {
				streams = append(streams, to(group, s.Stream))
			}
		}
		return len(streams) == 2
	})
	for _, s := range streams {
		// The name of a task is SERVICE.SLOT.ID.
		if !strings.HasPrefix(s.stream, service+".1.") && !strings.HasPrefix(s.stream, service+".2.") {
			t.Errorf("%v is not named after a task of %s", s, service)
		}
		s.has(t, printed(service, "stdout", 50))
	}
	local.must(t, "service", "rm", id)
}

// leaveSwarm ends the swarm of a run, if the run has made one.
func leaveSwarm(e *engine, dir string) error {
	path := filepath.Join(dir, swarmMark)
	mark, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	state, err := e.run("info", "--format", "{{.Swarm.LocalNodeState}}")
	if err != nil {
		return err
	}
	if strings.TrimSpace(state) != "inactive" {
		if _, err := e.run("swarm", "leave", "--force"); err != nil {
			return err
		}
	}
	bridge, err := e.run("network", "ls", "-q", "--filter", "name=^"+swarmBridge+"$")
	if err != nil {
		return err
	}
	if string(mark) == madeBridge && bridge != "" {
		if _, err := e.run("network", "rm", swarmBridge); err != nil {
			return fmt.Errorf("couldn't remove the swarm's bridge: %w", err)
		}
	}
	return os.Remove(path)
}
