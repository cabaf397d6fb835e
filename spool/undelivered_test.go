package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/stream"
)

// contents returns all files below dir, with their modes and times of change.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprint(info.Mode(), info.ModTime(), b)
	}
	return all
}

// TestUndeliveredChangesNothing: Undelivered returns the backlog of the next Open and changes
// no file, whatever state the files are in.
func TestUndeliveredChangesNothing(t *testing.T) {
	line := func(i int) []byte {
		return testFrame("stdout", int64(i)*int64(time.Second), fmt.Appendf(nil, "line %d", i))
	}
	size := int64(len(line(1)))
	for _, c := range []struct {
		name   string
		acked  int // the number of acknowledged frames, of 10
		damage func(t *testing.T, dir string)
		want   Backlog // without Bytes
	}{
		{"nothing is delivered", 0, nil, Backlog{Frames: 10, Oldest: time.Unix(1, 0)}},
		{"some is", 4, nil, Backlog{Frames: 6, Oldest: time.Unix(5, 0), Delivered: 4 * size}},
		{"all is", 10, nil, Backlog{Delivered: 10*size + 1}}, // "line 10" has a byte more
		{"a torn end", 4, func(t *testing.T, dir string) { appendTo(t, dir, "*.seg", "torn") }, Backlog{Frames: 6, Oldest: time.Unix(5, 0), Delivered: 4 * size}},
		{"a torn cursor", 4, func(t *testing.T, dir string) { appendTo(t, dir, "cursor", "torn") }, Backlog{Frames: 6, Oldest: time.Unix(5, 0), Delivered: 4 * size}},
		{"a temporary file", 4, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "cursor.tmp"), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Backlog{Frames: 6, Oldest: time.Unix(5, 0), Delivered: 4 * size}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, Options{Dir: dir, MaxSize: 1 << 20, History: 1 << 20})
			a := &appender{s: s}
			var acked uint64
			for i := 1; i <= 10; i++ {
				a.append(t, line(i))
				if i == c.acked {
					acked = s.End()
				}
			}
			if err := s.Ack([]stream.Range{{From: 0, To: acked}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if c.damage != nil {
				c.damage(t, dir)
			}
			before := contents(t, dir)
			got, err := Undelivered(nil, dir)
			if err != nil {
				t.Fatal(err)
			}
			if (got.Bytes > 0) != (c.want.Frames > 0) || got.Empty() != (c.want.Frames == 0) {
				t.Errorf("%d bytes, empty: %v", got.Bytes, got.Empty())
			}
			got.Bytes = 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
				t.Errorf("files have changed: %s", diff)
			}
		})
	}
}

func appendTo(t *testing.T, dir, pattern, text string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	f, err := os.OpenFile(names[len(names)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestUndeliveredCountsLosses: a loss that no marker has reported yet counts as backlog.
func TestUndeliveredCountsLosses(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, MaxSize: 1 << 20})
	a := &appender{s: s}
	a.append(t, testFrame("stdout", 1, []byte("line")))
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.addUnkeptLocked(Gap{Reason: Full, Frames: 3, Bytes: 30}, 0)
	s.mu.Unlock()
	if got, err := Undelivered(nil, dir); err != nil || got.Gaps != 1 || got.Empty() {
		t.Errorf("while it runs: %+v, %v", got, err)
	}
	s.Close()
	if got, err := Undelivered(nil, dir); err != nil || got.Gaps != 1 || got.Empty() {
		t.Errorf("after its end: %+v, %v", got, err)
	}
}

func TestUndeliveredOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if got, err := Undelivered(nil, dir); err != nil || !got.Empty() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}
