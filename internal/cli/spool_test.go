package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
)

// A long name is not cut, and a name that is not printable is one line.
func TestContainerNameIsWhole(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("n", 200): strings.Repeat("n", 200) + " (0123456789ab)",
		"a\n\x1b[31m":            `a \x1b[31m (0123456789ab)`,
		"":                       "0123456789ab",
	} {
		dir := filepath.Join(t.TempDir(), "0123456789abcdef")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		record := archive.Record{Info: container.Info{Name: "/" + name}}
		if err := record.Write(durable.OS, dir, false); err != nil {
			t.Fatal(err)
		}
		if got := containerName(dir); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
