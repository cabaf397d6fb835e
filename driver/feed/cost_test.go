//go:build !race

package feed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/gogo/protobuf/proto"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/costtest"
)

// TestCostOfFeed compares the way of a line from the spool to an event with the decoder that
// most plugins use.
func TestCostOfFeed(t *testing.T) {
	const lines = 4096
	r := newFeedRig(t)
	var all, block bytes.Buffer
	for i := range lines {
		frame := r.line("stdout", strings.Repeat("x", 100))
		all.Write(frame)
		block.Write(frame)
		if i%256 == 255 {
			r.append(block.Bytes())
			block.Reset()
		}
	}
	now := time.Now()
	var e logdriver.LogEntry
	costtest.AtMost(t, 0.6,
		func() {
			f := New(r.spool, Options{Outputs: BothOutputs, Events: events.Options{}})
			for i := range lines {
				if _, ok := f.Next(now); !ok {
					t.Fatalf("there is no line %d", i)
				}
			}
			f.Close()
		},
		func() {
			for p := all.Bytes(); len(p) > 0; {
				size := 4 + binary.BigEndian.Uint32(p)
				if err := proto.Unmarshal(p[4:size], &e); err != nil {
					t.Fatal(err)
				}
				p = p[size:]
			}
		})
}
