package events

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/gogo/protobuf/proto"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestEntryIsReadLikeJSONFile checks that an entry has the fields of its frame, and the
// text that json-file would have written and read back.
func TestEntryIsReadLikeJSONFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := logdriver.LogEntry{
			Source:   rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "source"),
			TimeNano: rapid.Int64().Draw(t, "time"),
			Line:     rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "line"),
		}
		if rapid.Bool().Draw(t, "divided") {
			e.Partial = true
			e.PartialLogMetadata = &logdriver.PartialLogEntryMetadata{
				Id: rapid.String().Draw(t, "id"), Ordinal: rapid.Int32().Draw(t, "ordinal"), Last: rapid.Bool().Draw(t, "last"),
			}
		}
		payload, err := proto.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		if err := Decode(payload, &f); err != nil {
			t.Fatal(err)
		}
		got := AppendEntry([]byte("before"), &f)[len("before"):]
		if n := binary.BigEndian.Uint32(got); int(n) != len(got)-4 {
			t.Fatalf("length %d of %d bytes", n, len(got)-4)
		}
		text := string(e.Line)
		if !e.Partial || e.PartialLogMetadata.Last {
			text += "\n"
		}
		asJSON, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(asJSON, &text); err != nil {
			t.Fatal(err)
		}
		e.Line = []byte(text)
		var read logdriver.LogEntry
		if err := proto.Unmarshal(got[4:], &read); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.String(), read.String()); d != "" || string(read.Line) != text {
			t.Errorf("%s\n%q, want %q", d, read.Line, text)
		}
	})
}
