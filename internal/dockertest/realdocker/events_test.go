package realdocker

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger"

	"github.com/logspool/logspool/events"
)

// TestEventsOfMobysFrames: the frames that moby writes become the lines of the output.
func TestEventsOfMobysFrames(t *testing.T) {
	for name, output := range outputs {
		t.Run(name, func(t *testing.T) {
			rec, dir := newRecorder(t)
			d := newDriver(t, dir)
			c, err := d.Start(logger.Info{}, map[string]io.Reader{
				"stdout": strings.NewReader(output), "stderr": strings.NewReader(output),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			stream, err := rec.Stream(fifoOf(t, rec))
			if err != nil {
				t.Fatal(err)
			}

			got := map[events.Source][]string{}
			a := events.NewPipeline(events.Options{MaxBytes: 2 << 20})
			take := func() {
				for e, ok := a.Next(); ok; e, ok = a.Next() {
					got[e.Source] = append(got[e.Source], string(e.Message))
				}
			}
			for at := 0; at < len(stream); {
				to := at + 4 + int(binary.BigEndian.Uint32(stream[at:]))
				var f events.Frame
				if err := events.Decode(stream[at+4:to], &f); err != nil {
					t.Fatal(err)
				}
				a.Push(f, uint64(at), uint64(to), time.Time{})
				take()
				at = to
			}
			a.Close()
			take()

			want := strings.Split(output, "\n")
			if n := len(want) - 1; want[n] == "" { // after the last newline there is no line
				want = want[:n]
			}
			for _, src := range []events.Source{events.Stdout, events.Stderr} {
				if g, w := strings.Join(got[src], "\n"), strings.Join(want, "\n"); g != w || len(got[src]) != len(want) {
					t.Errorf("%v: %d lines, want %d:\n got %.200q\nwant %.200q", src, len(got[src]), len(want), g, w)
				}
			}
		})
	}
}
