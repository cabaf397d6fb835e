package driver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestReadLogsReportsErrors: a request that cannot be answered gets an error before any entry.
func TestReadLogsReportsErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		env    string
		info   dockertest.Info
		status int
		want   string
	}{
		{"no container", "", dockertest.Info{}, 500, "not a container's ID"},
		{"a path", "", dockertest.Info{ContainerID: "../../etc"}, 500, "not a container's ID"},
		{"no history", "", dockertest.Info{ContainerID: "x", Config: map[string]string{"history-size": "0"}}, 500, "history-size is 0 for this container"},
		{"none at all", "HISTORY_SIZE=0", dockertest.Info{ContainerID: "x"}, 500, "HISTORY_SIZE is 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t, tc.env)
			h.start()
			d := h.docker()
			_, err := d.ReadLogs(t.Context(), tc.info, all)
			refused, ok := errors.AsType[*dockertest.Error](err)
			if !ok || refused.Status != tc.status || !strings.Contains(refused.Msg, tc.want) {
				t.Errorf("got %v, want status %d and %q", err, tc.status, tc.want)
			}
			capability, err := d.Capabilities(t.Context())
			if err != nil || capability.ReadLogs != (tc.env == "") {
				t.Errorf("capabilities %+v, %v", capability, err)
			}
		})
	}
	h := newHost(t)
	h.start()
	d := h.docker()
	if got := readLogs(t, d, "unknown", all).rest(); len(got) != 0 {
		t.Errorf("of an unknown container: %v", got)
	}
	for body, want := range map[string]int{
		``: 400, `{`: 400, `{"Config":{"Tail":1e99}}`: 400, `{"Config":{"Since":"yesterday"}}`: 400, `{"Info":{"ContainerID":"x"}}`: 200,
		`{"Info":{"ContainerID":"x"},"Config":null}`: 200, `{"Info":null}`: 500,
	} {
		status, answer, err := d.Post(t.Context(), "LogDriver.ReadLogs", []byte(body))
		if err != nil || status != want || (status == 200) != (len(answer) == 0) {
			t.Errorf("%s: status %d, %q, %v; want %d", body, status, answer, err, want)
		}
	}
}

// TestDamagedLogIsReadAsFarAsPossible: what is left of a damaged log is readable, without a
// hang or a crash.
func TestDamagedLogIsReadAsFarAsPossible(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	var want []string
	for i := range 30_000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 100))
		want = append(want, line)
		must(t, c.Write("stdout", line))
	}
	must(t, c.Stop(t.Context()))
	h.shipper.wait(t, "g/web", len(want))
	h.gone()
	segments, _ := filepath.Glob(filepath.Join(h.dir, "state", "stopped", "web", "spool", "*.seg"))
	if len(segments) < 2 {
		t.Fatalf("segments: %q", segments)
	}
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damaged"), 100_000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got := texts(readLogs(t, d, "web", all).rest())
	if len(got) == len(want) || len(got) < len(want)/2 || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("%d of %d lines are left, the last is %.20q", len(got), len(want), got[len(got)-1])
	}
	h.gone()
	for _, path := range segments {
		if err := os.WriteFile(path, []byte("nothing of the kind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, config := range []dockertest.ReadConfig{all, {Tail: 10}, {Tail: -1, Follow: true}} {
		if got := readLogs(t, d, "web", config).rest(); len(got) != 0 {
			t.Errorf("of nothing: %.100v", got)
		}
	}
}

// TestBrokenAnswerDoesNotLookComplete: an answer does not look complete if the log cannot
// be read to its end.
func TestBrokenAnswerDoesNotLookComplete(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	for range 10_000 {
		must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
	}
	r := readLogs(t, d, "web", all)
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	disk.Before(durabletest.Fail(durabletest.OpenToRead, "", syscall.EMFILE))
	var err error
	for err == nil {
		_, err = r.next()
	}
	if err == io.EOF {
		t.Error("an answer that broke off ends well")
	}
	for _, config := range []dockertest.ReadConfig{all, {Tail: -1, Follow: true}, {Tail: -1, Since: time.Unix(1, 0)}} {
		_, err = d.ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, config)
		if refused, ok := errors.AsType[*dockertest.Error](err); !ok || refused.Status != 500 || !strings.Contains(refused.Msg, "too many open files") {
			t.Errorf("of a history that cannot be opened, %+v: %v", config, err)
		}
	}
	disk.Before(nil)
	must(t, c.Stop(t.Context()))
}

// TestBytesThatAreNoEntryCostNoOther: bytes that only look like an entry cost no other
// entry, even if one begins within them.
func TestBytesThatAreNoEntryCostNoOther(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web"})
	must(t, c.Write("stdout", "one\n"))
	must(t, c.WriteRaw([]byte{0, 0, 0, 100, 0x0a, 0x7f, 1, 1}))
	must(t, c.Write("stdout", "two\nthree\nfour\nfive\nsix\n"))
	writeLast(t, d, c, "seven\n")
	if got := strings.Join(texts(readLogs(t, d, "web", all).rest()), ""); got != "one\ntwo\nthree\nfour\nfive\nsix\nseven\n" {
		t.Errorf("read %q", got)
	}
	must(t, c.Stop(t.Context()))
}
