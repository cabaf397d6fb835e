package fifo

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/logspool/logspool/spool"
)

// keepingSink appends to a spool.
type keepingSink struct {
	spoolSink
	ended chan struct{}
}

func (k keepingSink) End() { close(k.ended) }

// TestTornBlockIsTakenAgain checks that the intake takes a block whose append was cut
// short by a kill out of the FIFO again, and that it is not reported as lost. If its
// bytes are not in the FIFO, it was damaged later, and is reported.
func TestTornBlockIsTakenAgain(t *testing.T) {
	line := func(n int) []byte { return frame(int64(1e18)+int64(n), "a line") }
	before, torn, after := line(1), bytes.Repeat(line(2), 3), line(3)
	long := bytes.Repeat(line(2), 400)
	for name, tc := range map[string]struct {
		first bool // The torn block is the first one.
		pipe  int  // size of the next process's private pipe, or 0 for the usual one
		head  []byte
		want  []byte
		lost  uint64 // frames
	}{
		"in the FIFO":                  {false, 0, append(bytes.Clone(torn), after...), bytes.Join([][]byte{before, torn, after}, nil), 0},
		"in the FIFO, the first block": {true, 0, append(bytes.Clone(torn), after...), append(bytes.Clone(torn), after...), 0},
		"in the FIFO, a small pipe":    {false, 4096, append(bytes.Clone(long), after...), bytes.Join([][]byte{before, long, after}, nil), 0},
		"not in it, a small pipe":      {false, 4096, bytes.Repeat(after, 1000), append(bytes.Clone(before), bytes.Repeat(after, 1000)...), 400},
		"not in the FIFO":              {false, 0, after, append(bytes.Clone(before), after...), 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var lost spool.Gap
			o := spool.Options{Dir: filepath.Join(dir, "spool"), OnLoss: func(g spool.Gap) { lost.Frames += g.Frames }}
			s, _, err := spool.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			var tracker spool.Tracker
			torn := torn
			if tc.pipe > 0 {
				torn = long
				defer func(size int) { privateSize = size }(privateSize)
				privateSize = tc.pipe
			}
			for _, p := range [][]byte{before, torn} {
				if tc.first && bytes.Equal(p, before) {
					continue
				}
				if err := s.Append(append(make([]byte, spool.BlockHeaderSize), p...), 1, tracker.All(p)); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			segment := filepath.Join(o.Dir, "0000000000000000.seg")
			info, err := os.Stat(segment)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(segment, info.Size()-5); err != nil {
				t.Fatal(err)
			}

			if s, _, err = spool.Open(o); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			last := &Last{Torn: s.Torn(), Recovered: s.RecoverTorn}
			if payload, info, _, ok := s.LastBlock(); ok {
				last.Payload, last.Info = payload, info
			}
			path, w := makeFIFO(t, dir)
			w.Write(tc.head)
			in, err := New()
			if err != nil {
				t.Fatal(err)
			}
			sink := keepingSink{spoolSink{s}, make(chan struct{})}
			if _, err := in.Open(path, sink, last); err != nil {
				t.Fatal(err)
			}
			w.Close()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- in.Run(ctx) }()
			<-sink.ended
			cancel()
			<-done
			in.Close()

			r := s.NewReader()
			defer r.Close()
			var got []byte
			gaps := uint64(0)
			for {
				item, ok := r.Next()
				if !ok {
					break
				}
				if item.Gap != nil {
					gaps += item.Gap.Frames
					continue
				}
				n := len(item.Frame)
				got = append(got, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
				got = append(got, item.Frame...)
			}
			if !bytes.Equal(got, tc.want) || gaps != tc.lost || lost.Frames != tc.lost {
				t.Errorf("%d bytes, want %d; %d frames are recorded as lost, %d reported, want %d", len(got), len(tc.want), gaps, lost.Frames, tc.lost)
			}
		})
	}
}
