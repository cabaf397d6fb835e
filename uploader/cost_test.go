//go:build !race

package uploader

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/gogo/protobuf/proto"

	"github.com/logspool/logspool/internal/costtest"
	"github.com/logspool/logspool/internal/dockertest"
)

// appendSimply appends an event to a body, one character at a time, as a program that knows no
// limits would.
func appendSimply(body []byte, ns int64, message []byte) []byte {
	body = append(body, `{"timestamp":`...)
	body = strconv.AppendInt(body, ns/1e6, 10)
	body = append(body, `,"message":"`...)
	for _, c := range message {
		if c == '"' || c == '\\' {
			body = append(body, '\\')
		}
		body = append(body, c)
	}
	return append(body, `"},`...)
}

// TestCostOfBatch compares a body with one that is made without limits, order or positions.
func TestCostOfBatch(t *testing.T) {
	for kind, limit := range map[int]float64{0: 0.9, 1: 1.6} {
		t.Run(escapeKinds[kind].name, func(t *testing.T) {
			evs, n := benchEvents(escapeKinds[kind].line, false)
			bl, ba, body := new(builder), new(batch), make([]byte, 0, 2*n)
			costtest.AtMost(t, limit,
				func() { fillWith(bl, ba, fullSize, evs, nil) },
				func() {
					body = body[:0]
					for i := range evs {
						body = appendSimply(body, evs[i].Time, evs[i].Message)
					}
				})
		})
	}
}

// TestCostOfPath compares the way of a line from the spool to the body of a request with that of
// a program that decodes the frames in memory and appends the lines to a body.
func TestCostOfPath(t *testing.T) {
	for kind, limit := range map[int]float64{0: 0.95, 2: 0.6} {
		k := pathKinds[kind]
		t.Run(k.name, func(t *testing.T) {
			const lines = 5000
			s := pathSender(t, pathSpool(t, lines, k.line), true)
			var body []byte
			frame := dockertest.Frame("stdout", 1_790_000_000_000_000_000, k.line(rand.New(rand.NewPCG(1, 2)), 0), nil)
			frames := bytes.Repeat(frame, lines)
			var e logdriver.LogEntry
			costtest.AtMost(t, limit,
				func() {
					for n := 0; n < lines; {
						b := finishedBatch(s)
						if len(b.records) == 0 {
							t.Fatalf("there are only %d lines", n)
						}
						n += len(b.records)
						s.u.pool.free(b)
					}
					s.deliveries[0].rewind()
				},
				func() {
					body = body[:0]
					for p := frames; len(p) > 0; {
						size := 4 + binary.BigEndian.Uint32(p)
						if err := proto.Unmarshal(p[4:size], &e); err != nil {
							t.Fatal(err)
						}
						body = appendSimply(body, e.TimeNano, e.Line)
						p = p[size:]
					}
				})
		})
	}
}
