package events

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

// entries are what dockerd writes, and some entries that it could write.
var entries = []logdriver.LogEntry{
	{},
	{Source: "stdout", TimeNano: 1_700_000_000_123_456_789, Line: []byte("hello")},
	{Source: "stderr", TimeNano: 1, Line: []byte("a\r")},
	{Source: "stdout", TimeNano: 2}, // An empty line has no field 3.
	{Source: "stdin", TimeNano: -6795364578871345152, Line: []byte{0xff, 0, '\n'}},
	{Source: strings.Repeat("s", 300), TimeNano: math.MinInt64},
	{Source: "stdout", TimeNano: math.MaxInt64, Line: bytes.Repeat([]byte("x"), 16384), Partial: true},
	{Source: "stdout", TimeNano: 3, Line: bytes.Repeat([]byte("x"), 16384), Partial: true,
		PartialLogMetadata: &logdriver.PartialLogEntryMetadata{Id: strings.Repeat("a1", 32), Ordinal: 1}},
	{Source: "stdout", TimeNano: 3, Partial: true,
		PartialLogMetadata: &logdriver.PartialLogEntryMetadata{Id: strings.Repeat("a1", 32), Ordinal: 2, Last: true}},
	{Source: "stdout", TimeNano: 3, Line: []byte("x"), Partial: true,
		PartialLogMetadata: &logdriver.PartialLogEntryMetadata{Id: strings.Repeat("long", 100), Ordinal: math.MinInt32}},
	{Line: []byte("x"), PartialLogMetadata: &logdriver.PartialLogEntryMetadata{}},
}

// payloads are other encodings: valid ones that only the official codec accepts, and
// damaged ones.
var payloads = []string{
	"",
	"1a0178",             // line
	"1a01781a0179",       // line twice: the last one counts
	"1a0178100a",         // time after the line
	"32020a00",           // field 6, unknown
	"0a0673746465727232", // a tag without its value
	"0a06737464657272" + "1005" + "1a0178" + "3203010203",
	"2002",                         // a bool of 2
	"208001",                       // a bool of 128
	"20808080808080808080807f",     // a bool that overflows
	"10ffffffffffffffffff01",       // time -1
	"10ffffffffffffffffff7f",       // bits beyond the 64th
	"10ffffffffffffffffffff01",     // eleven bytes
	"1aff",                         // a cut length
	"1a05787878",                   // a cut line
	"1affffffffffffffffff01",       // a length of -1
	"1a8180808080808080017878",     // a length of 2^56+1
	"2a00",                         // empty metadata
	"2a0208012a03120178",           // metadata twice: merged
	"2a0418ffffffff0f",             // cut metadata
	"2a0618ffffffff0f",             // ordinal -1 in 32 bits
	"2a0b18ffffffffffffffffff01",   // ordinal -1
	"2a061880808080" + "10",        // ordinal 2^32: truncated
	"2a0420012801",                 // unknown fields in the metadata
	"0b0c", "0c", "00", "07", "0f", // groups, illegal tags
	"9a80000178", // a tag in three bytes
	"1a8100" + "78",
}

func checkSame(t *testing.T, payload []byte) {
	t.Helper()
	var want logdriver.LogEntry
	wantErr := want.Unmarshal(bytes.Clone(payload))
	got := Frame{Line: []byte("left over"), Partial: true, PartialID: []byte("left over"), Last: true, Ordinal: 7}
	err := Decode(payload, &got)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("Decode(%x): %v, the official codec: %v", payload, err, wantErr)
	}
	if err != nil {
		want = logdriver.LogEntry{}
	}
	meta := want.PartialLogMetadata
	if meta == nil {
		meta = &logdriver.PartialLogEntryMetadata{}
	}
	source := map[string]Source{"stdout": Stdout, "stderr": Stderr}[want.Source]
	if got.Source != source || got.Time != want.TimeNano || !bytes.Equal(got.Line, want.Line) || got.Partial != want.Partial ||
		string(got.PartialID) != meta.Id || got.Ordinal != meta.Ordinal || got.Last != meta.Last {
		t.Fatalf("Decode(%x):\n got %+v\nwant %+v", payload, got, want)
	}
	checkWhole(t, payload, got, err)
}

func TestDecodeAgreesWithTheOfficialCodec(t *testing.T) {
	for _, e := range entries {
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, b)
		for i := range b {
			if i > 100 && i < len(b)-100 {
				continue
			}
			checkSame(t, b[:i])
			flipped := bytes.Clone(b)
			for bit := range 8 {
				flipped[i] ^= 1 << bit
				checkSame(t, flipped)
				flipped[i] ^= 1 << bit
			}
		}
	}
	for _, p := range payloads {
		b, err := hex.DecodeString(p)
		if err != nil {
			t.Fatal(p, err)
		}
		checkSame(t, b)
	}
}

// TestUsualPayloadNeedsNoOfficialCodec checks that Decode does not need the official
// codec for what dockerd writes, and neither allocates nor copies.
func TestUsualPayloadNeedsNoOfficialCodec(t *testing.T) {
	for _, e := range entries {
		b, _ := e.Marshal()
		var f Frame
		if n := testing.AllocsPerRun(10, func() {
			if err := Decode(b, &f); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Decode(%.40q…): %v allocations", b, n)
		}
		if len(f.Line) > 0 && &f.Line[0] != &b[bytes.Index(b, f.Line)] {
			t.Errorf("Decode(%.40q…) copied the line", b)
		}
		if cap(f.Line) != len(f.Line) {
			t.Errorf("Decode(%.40q…): an append to the line would write into the payload", b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range entries {
		b, _ := e.Marshal()
		f.Add(b)
	}
	for _, p := range payloads {
		b, _ := hex.DecodeString(p)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) { checkSame(t, payload) })
}

func BenchmarkDecode(b *testing.B) {
	payload, _ := entries[1].Marshal()
	var f Frame
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if Decode(payload, &f) != nil {
			b.Fatal()
		}
	}
}
