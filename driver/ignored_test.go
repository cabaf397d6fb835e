package driver

import (
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/dockertest"
)

// TestHistorySizeBoundsAnIgnoredLog: history-size bounds the log of a container that is not
// delivered, and spool-max-size does not.
func TestHistorySizeBoundsAnIgnoredLog(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	const n = 50_000
	for id, size := range map[string]string{"all": "20m", "few": "64k"} {
		config := map[string]string{"spool-max-size": "64k", "spool-full": "drop-newest", "history-size": size}
		c := begin(t, d, dockertest.Info{ContainerID: id, ContainerEnv: []string{"LOGSPOUT=ignore"}, Config: config})
		for range n {
			must(t, c.Write("stdout", "a short line\n"))
		}
		must(t, c.Stop(t.Context()))
		h.gone()
		got, used := len(readLogs(t, d, id, all).rest()), h.budget.Used()
		if id == "all" && got != n || id == "few" && (got == 0 || got > n/10) {
			t.Errorf("%s: %d entries of %d", id, got, n)
		}
		t.Logf("%s: %d entries, %d bytes in all", id, got, used)
	}
}

// TestIgnoredContainerHasDockerLogs: nothing of an ignored container is delivered. docker
// logs has all of it, also after a restart of the plugin.
func TestIgnoredContainerHasDockerLogs(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerEnv: []string{"LOGSPOUT=ignore"}}
	c := begin(t, d, info)
	r := readLogs(t, d, "web", dockertest.ReadConfig{Tail: -1, Follow: true})
	line := strings.Repeat("x", 1000) + "\n"
	for range 3000 {
		must(t, c.Write("stdout", line))
	}
	for range 3000 {
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h.start()
	d = h.docker()
	if err := d.StopLogging(t.Context(), c.File); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	h.gone()
	if got := len(readLogs(t, d, "web", all).rest()); got != 3000 {
		t.Errorf("%d entries, want 3000", got)
	}
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	if len(h.shipper.delivered) != 0 {
		t.Errorf("shipped: %.200v", h.shipper.delivered)
	}
}
