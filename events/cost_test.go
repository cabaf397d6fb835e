//go:build !race

package events

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/gogo/protobuf/proto"

	"github.com/logspool/logspool/internal/costtest"
)

// escapeSimply does what AppendEscaped does, one character at a time.
func escapeSimply(dst, text []byte) (out []byte, counted int) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			counted += utf8.RuneLen(r)
			i += size
			continue
		}
		i++
		counted++
	}
	return dst, counted
}

func TestCostOfEscape(t *testing.T) {
	limits := map[string]float64{"ascii": 0.3, "json": 0.9, "utf8": 0.9}
	for _, k := range escapeKinds {
		t.Run(k.name, func(t *testing.T) {
			text, buf := []byte(k.line), make([]byte, 0, 4096)
			costtest.AtMost(t, limits[k.name],
				func() { buf, _ = AppendEscaped(buf[:0], text) },
				func() { buf, _ = escapeSimply(buf[:0], text) })
		})
	}
}

// usualFrame is a line of 100 bytes in the form in which dockerd writes it.
func usualFrame(t *testing.T) []byte {
	e := logdriver.LogEntry{Source: "stdout", TimeNano: 1_700_000_000_123_456_789, Line: []byte(escapeKinds[0].line)}
	payload, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestCostOfDecode(t *testing.T) {
	payload := usualFrame(t)
	var f Frame
	var e logdriver.LogEntry
	costtest.AtMost(t, 0.5,
		func() { _ = Decode(payload, &f) },
		func() { _ = proto.Unmarshal(payload, &e) })
}

// TestCostOfWholeLines compares the pipeline with the decoder that comes before it.
func TestCostOfWholeLines(t *testing.T) {
	payload := usualFrame(t)
	var f Frame
	if err := Decode(payload, &f); err != nil {
		t.Fatal(err)
	}
	p, now, at := NewPipeline(Options{}), time.Unix(0, f.Time), uint64(0)
	var e logdriver.LogEntry
	costtest.AtMost(t, 1,
		func() {
			p.Push(f, at, at+100, now)
			at += 100
			for _, ok := p.Next(); ok; _, ok = p.Next() {
			}
		},
		func() { _ = proto.Unmarshal(payload, &e) })
}
