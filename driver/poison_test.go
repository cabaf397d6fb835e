package driver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/logspool/logspool/internal/durable"
)

// TestPoisonIsKept: frames on which the plugin panicked are kept unchanged, up to a limit.
func TestPoisonIsKept(t *testing.T) {
	dir := poisonDir(t.TempDir())
	for i := range 2 * maxPoison {
		if err := writePoison(durable.OS, dir, fmt.Sprint("c", i%2), fmt.Appendf(nil, "frame %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != maxPoison {
		t.Errorf("%d files, %v", len(entries), err)
	}
	for name, want := range map[string]string{"c0-1.frame": "frame 0", "c1-1.frame": "frame 1", "c0-2.frame": "frame 2"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}
