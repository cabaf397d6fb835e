package uploader

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// fill builds a batch of the events. It returns how many went in, and why the next one did
// not.
func fill(s size, evs []events.Event, z *compressor) (*batch, int, fit) {
	bl, b := new(builder), new(batch)
	return fillWith(bl, b, s, evs, z)
}

func fillWith(bl *builder, b *batch, s size, evs []events.Event, z *compressor) (*batch, int, fit) {
	bl.begin(target.Target{Group: `g"1`, Stream: "s/ü"}, s, b)
	p := b.addPart(nil)
	for i, ev := range evs {
		if f := bl.add(p, &ev); f == noRoom || f == tooFar {
			bl.finish(z)
			return b, i, f
		}
	}
	bl.finish(z)
	return b, len(evs), taken
}

func event(ns int64, message string) events.Event {
	return events.Event{Time: ns, Message: []byte(message), Ranges: []stream.Range{{From: uint64(max(ns, 0)), To: uint64(max(ns, 0)) + 1}}}
}

// TestBodyIsExact compares whole request bodies.
func TestBodyIsExact(t *testing.T) {
	evs := []events.Event{
		event(1_790_000_000_123_456_789, "plain"),
		event(1_790_000_000_124_000_000, "tab\tquote\"slash\\ nul\x00 esc\x1b[0m\r"),
		event(1_790_000_000_124_000_000, "ü 日本 🙂 bad\xff <&>\u2028"),
		event(1_790_000_000_122_999_999, "earlier, written later"),
		event(-5, "before 1970"),
	}[:4]
	const want = `{"logGroupName":"g\"1","logStreamName":"s/ü","logEvents":[` +
		`{"timestamp":1790000000122,"message":"earlier, written later"},` +
		`{"timestamp":1790000000123,"message":"plain"},` +
		`{"timestamp":1790000000124,"message":"tab\tquote\"slash\\ nul\u0000 esc\u001b[0m\r"},` +
		`{"timestamp":1790000000124,"message":"ü 日本 🙂 bad` + "\ufffd" + ` <&>` + "\u2028" + `"}]}`
	for _, z := range []*compressor{nil, newCompressor()} {
		b, n, _ := fill(fullSize, evs, z)
		got := b.out
		if z != nil {
			r, err := gzip.NewReader(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			if got, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		if n != 4 || string(got) != want || b.plainSize != len(want) {
			t.Errorf("%d events, %d bytes:\n%s\nwant %d bytes:\n%s", n, b.plainSize, got, len(want), want)
		}
	}
	// Events that are in order are sent from the builder's buffer.
	b, _, _ := fill(fullSize, evs[:1], nil)
	if want := `{"logGroupName":"g\"1","logStreamName":"s/ü","logEvents":[{"timestamp":1790000000123,"message":"plain"}]}`; string(b.out) != want {
		t.Errorf("got %s", b.out)
	}
	if b, _, _ = fill(fullSize, []events.Event{event(-5, "x")}, nil); !strings.Contains(string(b.out), `"timestamp":0,`) {
		t.Errorf("CloudWatch accepts no negative time: %s", b.out)
	}
}

func TestBatchStaysWithinLimits(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano()
	same := func(n, length int, fillByte string) []events.Event {
		evs := make([]events.Event, n)
		for i := range evs {
			evs[i] = event(at, strings.Repeat(fillByte, length))
		}
		return evs
	}
	// 8 events of one millisecond fill the batch exactly: 8 * (131046 + 26) = 1048576.
	exact := same(8, 131_046, "x")
	over := append(same(7, 131_046, "x"), event(at, strings.Repeat("x", 131_047)))
	// An invalid byte counts as three.
	repaired := append(same(7, 131_046, "x"), event(at, strings.Repeat("x", 131_043)+"\xff"))
	tooMuch := append(same(7, 131_046, "x"), event(at, strings.Repeat("x", 131_044)+"\xff"))
	day := event(at+24*time.Hour.Nanoseconds(), "x")
	lessThanDay := event(at+24*time.Hour.Nanoseconds()-1e6, "x")
	for _, c := range []struct {
		name string
		evs  []events.Event
		in   int
		f    fit
	}{
		{"bytes", exact, 8, taken},
		{"a byte more", over, 7, noRoom},
		{"counted after repair", repaired, 8, taken},
		{"a byte more after repair", tooMuch, 7, noRoom},
		{"events", same(10_001, 1, "x"), 10_000, noRoom},
		{"a day", []events.Event{event(at, "x"), day}, 1, tooFar},
		{"a day back", []events.Event{day, event(at, "x")}, 1, tooFar},
		{"less than a day", []events.Event{event(at, "x"), lessThanDay}, 2, taken},
		{"largest", same(1, 1_048_550, "x"), 1, taken},
		{"too large", same(1, 1_048_551, "x"), 1, taken},
		{"too large after repair", same(1, 400_000, "\xff"), 1, taken},
		{"far too large", same(2, 5_000_000, "\x00"), 1, noRoom},
		{"body grows", same(3, 400_000, "\x01"), 1, noRoom},
	} {
		b, in, f := fill(fullSize, c.evs, nil)
		if in != c.in || f != c.f {
			t.Errorf("%s: %d events in, %v; want %d, %v", c.name, in, f, c.in, c.f)
		}
		if b.counted > 1_048_576 {
			t.Errorf("%s: %d bytes", c.name, b.counted)
		}
		if !json.Valid(b.out) {
			t.Errorf("%s: not JSON", c.name)
		}
		if large := strings.Contains(c.name, "too large"); large != (b.cutBytes > 0) {
			t.Errorf("%s: %d bytes lost", c.name, b.cutBytes)
		}
	}
	// An empty message is not sent, but the batch acknowledges its ranges.
	b, _, _ := fill(fullSize, []events.Event{event(1, ""), event(2, "x"), event(3, "")}, nil)
	if len(b.records) != 1 || len(b.parts[0].ranges) != 1 || b.parts[0].ranges[0] != (stream.Range{From: 1, To: 4}) {
		t.Errorf("%d events, ranges %v", len(b.records), b.parts[0].ranges)
	}
	// A full batch ends between two milliseconds.
	evs := make([]events.Event, 10_001)
	for i := range evs {
		evs[i] = event(at+int64(i/300)*1e6, "x")
	}
	if _, in, _ := fill(fullSize, evs, nil); in%300 != 0 || in < 9_000 {
		t.Errorf("cut after %d events", in)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("one\ntwo\xff\n\"three\n"), int64(5), true)
	f.Fuzz(func(t *testing.T, text []byte, seed int64, gz bool) {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		var evs []events.Event
		want := map[string]int{}
		for l := range bytes.SplitSeq(text, []byte("\n")) {
			if len(l) > 0 {
				evs = append(evs, event(r.Int64N(5e6), string(l)))
				want[repaired(l)]++
			}
		}
		var z *compressor
		if gz {
			z = newCompressor()
		}
		b, n, _ := fill(fullSize, evs, z)
		if n != len(evs) {
			t.Skip("more than a batch")
		}
		if len(evs) == 0 {
			return
		}
		body := b.out
		if gz {
			zr, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(zr)
		}
		var got struct {
			LogEvents []struct {
				Timestamp int64
				Message   string
			}
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		total := 0
		for i, e := range got.LogEvents {
			want[e.Message]--
			total += len(e.Message) + 26
			if i > 0 && e.Timestamp < got.LogEvents[i-1].Timestamp {
				t.Fatal("out of order")
			}
		}
		for m, n := range want {
			if n != 0 {
				t.Fatalf("%q: %d missing", m, n)
			}
		}
		if int64(total) != b.counted || len(body) != b.plainSize {
			t.Fatalf("counted %d and %d, is %d and %d", b.counted, b.plainSize, total, len(body))
		}
	})
}

func benchEvents(line string, shuffled bool) (evs []events.Event, bytes int64) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 6000 {
		ns := at + int64(i)*1e5
		if shuffled {
			ns = at + r.Int64N(6e8)
		}
		e := event(ns, fmt.Sprintf("%08x %s", r.Uint32(), line))
		e.Ranges = []stream.Range{{From: uint64(i), To: uint64(i) + 1}}
		evs = append(evs, e)
		bytes += int64(len(e.Message))
	}
	return evs, bytes
}

func TestReusedBatchDoesNotAllocate(t *testing.T) {
	evs, _ := benchEvents(escapeKinds[0].line, true)
	bl, b := new(builder), new(batch)
	z := newCompressor()
	fillWith(bl, b, fullSize, evs, nil)
	fillWith(bl, b, fullSize, evs, nil) // the buffers have changed places
	if n := testing.AllocsPerRun(5, func() { fillWith(bl, b, fullSize, evs, nil) }); n > 1 {
		t.Errorf("%v allocations for %d events", n, len(evs))
	}
	fillWith(bl, b, fullSize, evs, z)
	if n := testing.AllocsPerRun(5, func() { fillWith(bl, b, fullSize, evs, z) }); n > 5 {
		t.Errorf("%v allocations for %d events, compressed", n, len(evs))
	}
}

// BenchmarkBatch builds whole batches: MB/s of messages.
func BenchmarkBatch(b *testing.B) {
	for _, k := range escapeKinds {
		for _, mode := range []string{"plain", "gzip", "unsorted"} {
			b.Run(k.name+"/"+mode, func(b *testing.B) {
				evs, n := benchEvents(k.line, mode == "unsorted")
				var z *compressor
				if mode != "plain" {
					z = newCompressor()
				}
				bl, ba := new(builder), new(batch)
				b.SetBytes(n)
				b.ReportAllocs()
				for b.Loop() {
					fillWith(bl, ba, fullSize, evs, z)
				}
				b.ReportMetric(float64(ba.plainSize)/float64(len(ba.out)), "ratio")
			})
		}
	}
}
