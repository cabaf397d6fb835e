//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestDamagedRecordHoldsUpNothing: if a container's record is damaged while the plugin is
// disabled, the plugin does not know the container's FIFO. The container still runs, and
// docker stop returns. What was spooled is delivered, and so is the container's next run.
func TestDamagedRecordHoldsUpNothing(t *testing.T) {
	c, r := running(t, "-size", "200")
	r.tell("print 300")
	to(hostName(t), c.name).waitFor(t, 300)
	if err := tested.disable(); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(tested.dir(t), ".state", "containers", c.id, "attachments.json")
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tested.enable(); err != nil {
		t.Fatal(err)
	}
	r.tell("flood 0") // more than the FIFO and dockerd's buffer hold
	stopped := make(chan error, 1)
	go func() {
		_, err := local.run("stop", "--time", "1", c.name)
		stopped <- err
	}()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("docker stop hangs")
	}
	local.must(t, "start", c.name)
	r.connect()
	r.tell("print 10")
	r.end()
	c.finish(t)
	to(hostName(t), c.name).waitFor(t, 310)
}

// TestManyRestartsAtOnce: many containers that are restarted at the same time all stop,
// start and deliver.
func TestManyRestartsAtOnce(t *testing.T) {
	const n = 20
	var all []*container
	for range n {
		all = append(all, start(t, spec{args: []string{"-lines", "10"}}))
	}
	for _, c := range all {
		c.finish(t)
	}
	begun := time.Now()
	for range 3 {
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				if _, err := local.run("restart", c.name); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, c := range all {
			c.finish(t)
		}
	}
	t.Logf("%d restarts took %v", 3*n, time.Since(begun))
	for _, c := range all {
		to(hostName(t), c.name).waitFor(t, 40)
	}
}
