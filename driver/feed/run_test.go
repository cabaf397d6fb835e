package feed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// TestRunsChangeNothing gives random output to two feeds, of which one sends all frames through
// the pipeline, and uses both in the same random way. They must hand out the same events with
// the same ranges, and acknowledge and report the same.
func TestRunsChangeNothing(t *testing.T) {
	decodeHook = func(p []byte) {
		if bytes.Contains(p, []byte("boom")) {
			panic("test")
		}
	}
	defer func() { decodeHook = nil }()
	inRuns, handedOut := 0, 0
	for seed := range uint64(150) {
		c := newComparison(t, seed)
		for range 30 {
			c.step()
		}
		c.finish()
		inRuns, handedOut = inRuns+c.inRuns, handedOut+c.handedOut
	}
	if inRuns < handedOut/4 {
		t.Errorf("only %d of %d events were in runs", inRuns, handedOut)
	}
}

// comparison is two feeds of equal spools. The first one has runs.
type comparison struct {
	t     *testing.T
	r     *rand.Rand
	feeds [2]*Feed
	rigs  [2]*feedRig
	logs  [2][]string // logs has what the feeds reported.

	odd               int // one of odd/8 frames is unusual
	at                int64
	rest              []byte // rest is the output that is not appended yet.
	out               []stream.Range
	unread            bool // unread says that the last event can be taken back.
	inRuns, handedOut int
}

func newComparison(t *testing.T, seed uint64) *comparison {
	c := &comparison{t: t, r: rand.New(rand.NewPCG(seed, 1)), odd: []int{30, 300, 3000}[seed%3], at: 1_790_000_000_000_000_000}
	outputs := []Outputs{BothOutputs, BothOutputs, {Stdout: true}, {Stderr: true}}[c.r.IntN(4)]
	most := []int{0, 0, 500}[c.r.IntN(3)]
	for i := range c.feeds {
		note := func(what string, args ...any) { c.logs[i] = append(c.logs[i], fmt.Sprint(what, args)) }
		c.rigs[i] = newFeedRig(t)
		c.feeds[i] = New(c.rigs[i].spool, Options{
			Outputs: outputs, Ended: &c.rigs[i].ended, Events: events.Options{MaxBytes: most},
			OnDropped: func(why string, n int, bytes int64) { note("dropped", why, n, bytes) },
			OnLost:    func(why string, n int, bytes int64) { note("lost", why, n, bytes) },
			OnPanic:   func(cause any, _ []byte) { note("panic", cause) },
			OnPoison:  func(frame []byte, cause any) { note("poison", string(frame), cause) },
		})
	}
	c.feeds[1].poison.hook = func([]byte) {}
	return c
}

// text returns a line that is mostly short and plain.
func (c *comparison) text() string {
	unit := []string{"plain ", `"quoted" `, "\\", "\xff", "日本 ", "\x00\t", "boom"}[max(0, c.r.IntN(c.odd)-c.odd+7)]
	if unit == "boom" {
		return unit
	}
	return "a" + strings.Repeat(unit, c.r.IntN(20))
}

// frames returns one frame, or a few, of any kind.
func (c *comparison) frames() []byte {
	c.at += c.r.Int64N(3e9)
	source := []string{"stdout", "stderr"}[c.r.IntN(4)/3]
	text := c.text()
	switch c.r.IntN(c.odd) {
	case 0:
		return dockertest.Frame(source, c.at, "", [][]byte{nil, {0x1a, 0}}[c.r.IntN(2)])
	case 1:
		return dockertest.Frame(source, c.at, text, []byte{0x20, 0}) // partial: false
	case 2:
		id := []byte{0x20, 1, 0x2a, 7, 0x12, 1, byte('a' + c.r.IntN(2)), 0x18, 1, 0x08, byte(c.r.IntN(2))}
		return dockertest.Frame(source, c.at, text, id)
	case 3:
		return slices.Concat(c.rigs[0].pieces(source, strings.Repeat(text+"x", 20_000/len(text)))...)
	case 4:
		return []byte("garbage")[:1+c.r.IntN(7)]
	case 5: // the line before the time
		p := append([]byte{0x0a, 6}, "stdout"...)
		p = append(append(p, 0x1a, byte(len(text)&0x7f)), text[:len(text)&0x7f]...)
		p = binary.AppendUvarint(append(p, 0x10), uint64(c.at))
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
	case 6:
		return dockertest.Frame(source, []int64{0, -1, 1, 1 << 56, 1<<63 - 1}[c.r.IntN(5)], text, nil)
	case 7:
		return dockertest.Frame(source, c.at, strings.Repeat(text, 130)[:130], nil)
	case 8:
		return dockertest.Frame("other", c.at, text, nil)
	}
	return dockertest.Frame(source, c.at, text, nil)
}

// both calls do for both feeds and compares the results.
func (c *comparison) both(what string, do func(f *Feed, rig *feedRig) any) {
	c.t.Helper()
	a, b := do(c.feeds[0], c.rigs[0]), do(c.feeds[1], c.rigs[1])
	if !reflect.DeepEqual(a, b) {
		c.t.Fatalf("%s: with runs\n%.300v\nwithout\n%.300v", what, a, b)
	}
	if !slices.Equal(c.logs[0], c.logs[1]) {
		c.t.Fatalf("%s: reported with runs\n%q\nwithout\n%q", what, c.logs[0], c.logs[1])
	}
}

// step does one thing to both feeds.
func (c *comparison) step() {
	c.t.Helper()
	switch c.r.IntN(13) {
	case 0, 1, 2:
		for range c.r.IntN(100) {
			c.rest = append(c.rest, c.frames()...)
		}
		n := c.r.IntN(len(c.rest) + 1) // blocks end anywhere
		c.both("append", func(_ *Feed, rig *feedRig) any {
			if n > 0 {
				rig.append(c.rest[:n])
			}
			return nil
		})
		c.rest = c.rest[n:]
	case 3:
		c.both("unread", func(f *Feed, _ *feedRig) any {
			if c.unread {
				f.Unread()
			}
			return nil
		})
		c.unread = false
	case 4:
		c.both("release", func(f *Feed, _ *feedRig) any { f.Release(); return nil })
		c.unread = false
	case 5:
		c.both("rewind", func(f *Feed, _ *feedRig) any { f.Rewind(); return f.Due() })
		c.unread, c.out = false, nil
	case 6:
		if c.r.IntN(c.odd) < 30 {
			c.r.Shuffle(len(c.out), func(i, j int) { c.out[i], c.out[j] = c.out[j], c.out[i] })
		}
		n := c.r.IntN(len(c.out) + 1)
		c.both("ack", func(f *Feed, rig *feedRig) any { return f.Ack(slices.Clone(c.out[:n])) })
		c.out = c.out[n:]
	case 7:
		c.both("gap", func(_ *Feed, rig *feedRig) any {
			rig.spool.AddGap(spool.Gap{Reason: spool.Full, Frames: 3, Bytes: 30})
			return nil
		})
	case 8:
		most := []int{events.MaxBytes, 1000, 600, 150}[c.r.IntN(4)]
		c.both("limit", func(f *Feed, _ *feedRig) any { f.SetMaxMessage(most); f.Rewind(); return nil })
		c.unread, c.out = false, nil
	case 9:
		if c.r.IntN(20) == 0 {
			at := c.r.Float64()
			c.both("end", func(f *Feed, rig *feedRig) any {
				f.Rewind() // a feed must not have read what is after its new end
				f.EndAt(rig.spool.Acked() + 1 + uint64(at*float64(rig.spool.End()-rig.spool.Acked())))
				return nil
			})
			c.unread, c.out = false, nil
		}
	default:
		c.next(c.r.IntN(150))
	}
	c.both("state", func(f *Feed, rig *feedRig) any {
		_, bytes, oldest := f.Backlog()
		return fmt.Sprint(rig.spool.Acked(), rig.spool.End(), bytes, oldest)
	})
}

// next takes events.
func (c *comparison) next(n int) {
	c.t.Helper()
	for range n {
		more := false
		c.both("next", func(f *Feed, _ *feedRig) any {
			e, ok := f.Next(someTime)
			if more = ok; !ok {
				return f.Due()
			}
			if f == c.feeds[0] {
				c.out = append(c.out, e.Ranges...)
				c.handedOut++
				if f.out.inRun {
					c.inRuns++
				}
			}
			return fmt.Sprintf("%d %v %q %v", e.Time, e.Source, e.Message, e.Ranges)
		})
		if c.unread = more; !more {
			return
		}
	}
}

// finish ends the container and takes and acknowledges everything.
func (c *comparison) finish() {
	c.t.Helper()
	for i := range c.rigs {
		c.rigs[i].ended.Store(true)
	}
	c.next(1 << 20)
	c.both("ack", func(f *Feed, rig *feedRig) any {
		if err := f.Ack(slices.Clone(c.out)); err != nil {
			return err
		}
		f.Close()
		return rig.spool.Acked()
	})
	for i := range c.rigs {
		c.rigs[i].spool.Close()
	}
}
