package docpart

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceChangesOnlyThePart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.md")
	if err := os.WriteFile(file, []byte("end\nbegin\nold\nend\nafter\nend\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it changes nothing
		if err := Replace(file, "begin\n", "end\n", "new\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != "end\nbegin\nnew\nend\nafter\nend\n" {
			t.Errorf("got %q", got)
		}
	}
	for _, marks := range [][2]string{{"none", "end"}, {"after", "begin"}} {
		if Replace(file, marks[0], marks[1], "x") == nil {
			t.Errorf("no error without a place for %q", marks)
		}
	}
}
