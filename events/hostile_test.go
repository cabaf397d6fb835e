package events

import (
	"fmt"
	"iter"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestHostileOutputIsBounded pushes the output of hostile containers. It checks the
// number of events, that each frame is acknowledged once, that no event is too long,
// and that the Pipeline holds no more memory than two events need.
func TestHostileOutputIsBounded(t *testing.T) {
	never := regexp.MustCompile("^never")
	full := strings.Repeat("x", pieceBytes)
	repeat := func(n int, frame func(i int) Frame) iter.Seq[Frame] {
		return func(yield func(Frame) bool) {
			for i := 0; i < n && yield(frame(i)); i++ {
			}
		}
	}
	id := func(i int) string { return fmt.Sprintf("%064x", i) }
	for _, test := range []struct {
		name          string
		o             Options
		frames        iter.Seq[Frame]
		events, empty int
	}{
		{"a partial ID for each byte", Options{}, repeat(20_000, func(i int) Frame { return piece(Stdout, 1, "x", id(i), 1) }), 20_000, 0},
		{"a line in pieces of one byte", Options{}, repeat(100_000, func(i int) Frame { return piece(Stdout, 1, "x", "i", int32(i)) }), 1, 0},
		{"a line without end", Options{}, repeat(200, func(i int) Frame { return piece(Stdout, 1, full, "i", int32(i)) }), 4, 0},
		{"two lines without end, in turns", Options{}, repeat(20_000, func(i int) Frame {
			return piece(Source(1+i%2), 1, "x", id(i%2), int32(i))
		}), 2 * (10_000/1024 + 1), 0},
		{"absurd ordinals", Options{}, repeat(1000, func(i int) Frame {
			return piece(Stdout, 1, "x", "i", []int32{0, -1, math.MaxInt32, math.MinInt32, 7}[i%5])
		}), 1, 0},
		{"ends without beginnings", Options{}, repeat(1000, func(i int) Frame { return last(Stdout, 1, "x", id(i), math.MaxInt32) }), 1000, 0},
		{"empty lines", Options{}, repeat(1_000_000, func(int) Frame { return whole(Stdout, 1, "") }), 0, 1_000_000},
		{"empty lines of events", Options{Pattern: never}, repeat(1_100_000, func(int) Frame { return whole(Stdout, 1, "") }), 2, 0},
		{"empty pieces", Options{}, repeat(100_000, func(int) Frame { return piece(Stdout, 1, "", "i", 1) }), 0, 1},
		{"outputs in turns", Options{Pattern: never}, repeat(100_000, func(i int) Frame { return whole(Source(1+i%2), 1, "x") }), 2 * (50_000/1024 + 1), 0},
		{"invalid UTF-8", Options{}, repeat(64, func(int) Frame { return piece(Stdout, 1, strings.Repeat("\xff", pieceBytes), "i", 1) }), 4, 0},
		{"invalid UTF-8 in JSON", Options{JSON: &JSON{}}, repeat(64, func(int) Frame { return piece(Stdout, 1, strings.Repeat("\xff", pieceBytes), "i", 1) }), 4, 0},
		{"the beginning of a character", Options{}, repeat(1000, func(int) Frame { return piece(Stdout, 1, "\xf0", "i", 1) }), 1, 0},
		{"control sequences without end", Options{StripANSI: true}, repeat(64, func(int) Frame {
			return piece(Stdout, 1, "\x1b]"+full[:pieceBytes-2], "i", 1)
		}), 2, 0},
		{"beginnings of control sequences", Options{StripANSI: true}, repeat(64, func(int) Frame {
			return piece(Stdout, 1, strings.Repeat("\x1b[", pieceBytes/2), "i", 1)
		}), 2, 0},
		{"braces", Options{JSON: &JSON{}}, repeat(60, func(int) Frame { return piece(Stdout, 1, strings.Repeat(`{"":`, pieceBytes/4), "i", 1) }), 2, 0},
		{"absurd times", Options{Pattern: never}, repeat(10_000, func(i int) Frame {
			return whole(Stdout, []int64{math.MinInt64, 0, math.MaxInt64}[i%3], "x")
		}), 3334, 0},
		{"unknown sources", Options{}, repeat(1000, func(i int) Frame { return whole(Source(i), 1, "x") }), 1000, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.Budget = NewBudget(BudgetBytes)
			p := NewPipeline(test.o)
			var pos, acked uint64
			events, empty := 0, 0
			take := func() {
				for e, ok := p.Next(); ok; e, ok = p.Next() {
					if len(e.Message) == 0 {
						empty++
					} else {
						events++
					}
					if n := cost(e.Message); n > MaxBytes {
						t.Fatalf("an event of %d bytes", n)
					}
					for _, r := range e.Ranges {
						acked += r.To - r.From
					}
					if used := test.o.Budget.Used(); used > 4<<20 {
						t.Fatalf("%d bytes are held", used)
					}
				}
			}
			for f := range test.frames {
				p.Push(f, pos, pos+1, time.Time{})
				pos++
				take()
			}
			p.Close()
			take()
			if events != test.events || empty != test.empty || acked != pos {
				t.Errorf("%d events and %d empty ones, %d of %d frames acknowledged; want %d and %d", events, empty, acked, pos, test.events, test.empty)
			}
		})
	}
}
