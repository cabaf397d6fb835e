package events

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

// framed returns the frame of a payload, with what follows it in the stream.
func framed(payload []byte, after string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...), after...)
}

// checkWhole checks that DecodeWhole accepts the frame of a payload only if it is a complete
// line, and returns what Decode has returned.
func checkWhole(t *testing.T, payload []byte, want Frame, wantErr error) {
	t.Helper()
	for _, after := range []string{"", "\x00\x00\x00\x28\x0a\x06stdout"} {
		var w Whole
		if !DecodeWhole(framed(payload, after), &w) {
			continue
		}
		if wantErr != nil || want.Partial || want.PartialID != nil || want.Ordinal != 0 || want.Last ||
			w.Source != want.Source || w.Time != want.Time || !bytes.Equal(w.Line, want.Line) || w.Size != 4+len(payload) {
			t.Fatalf("DecodeWhole of %x:\n got %+v\nwant %+v, %v", payload, w, want, wantErr)
		}
	}
}

// TestWholeLinesOfDockerdAreAccepted checks that DecodeWhole accepts each complete line that
// dockerd writes, also at the end of the stream, does not copy it, and does not accept a part
// of it.
func TestWholeLinesOfDockerdAreAccepted(t *testing.T) {
	for _, source := range []string{"stdout", "stderr"} {
		for _, at := range []int64{1 << 56, 1_790_000_000_123_456_789, 1<<63 - 1} {
			for _, length := range []int{1, 2, 100, 127, 128, 1000, 16_383, 16_384, 1 << 19} {
				e := logdriver.LogEntry{Source: source, TimeNano: at, Line: bytes.Repeat([]byte("x"), length)}
				payload, err := e.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				stream := framed(payload, "")
				var w Whole
				if n := testing.AllocsPerRun(1, func() { DecodeWhole(stream, &w) }); n != 0 || !DecodeWhole(stream, &w) {
					t.Fatalf("%s, %d, %d bytes: %v allocations, %+v", source, at, length, n, w)
				}
				if &w.Line[0] != &stream[len(stream)-length] || cap(w.Line) != length {
					t.Fatalf("%s, %d, %d bytes: the line was copied, or an append to it would write into the stream", source, at, length)
				}
				checkSame(t, payload)
				for n := range min(len(stream), 200) {
					if DecodeWhole(stream[:n], &w) {
						t.Fatalf("%d of %d bytes were accepted", n, len(stream))
					}
				}
			}
		}
	}
}

// TestUnusualFramesAreNotWholeLines checks frames that need something.
func TestUnusualFramesAreNotWholeLines(t *testing.T) {
	for _, e := range entries {
		payload, _ := e.Marshal()
		var w Whole
		if usual := e.Source == "stdout" && e.TimeNano == 1_700_000_000_123_456_789; DecodeWhole(framed(payload, strings.Repeat("x", 50)), &w) != usual {
			t.Errorf("%.100v: accepted: %v", e, !usual)
		}
	}
}

func BenchmarkDecodeWhole(b *testing.B) {
	payload, _ := entries[1].Marshal()
	stream := framed(payload, "")
	var w Whole
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if !DecodeWhole(stream, &w) {
			b.Fatal()
		}
	}
}
