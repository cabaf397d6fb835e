package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestLostCursorRepeatsFewLines: if the cursor is missing, damaged or of a newer version,
// only the last few delivered lines are sent again, and a newer cursor is kept.
func TestLostCursorRepeatsFewLines(t *testing.T) {
	for name, damage := range map[string]func(path string, data []byte) error{
		"missing": func(path string, _ []byte) error { return os.Remove(path) },
		"empty":   func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"damaged": func(path string, data []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0x55}, len(data)), 0o600)
		},
		"damaged record": func(path string, data []byte) error {
			data[cursorSlotsEnd+10] ^= 0xff
			return os.WriteFile(path, data, 0o600)
		},
		"newer": func(path string, data []byte) error {
			return os.WriteFile(path, append([]byte("LSPLCUR7"), data[8:]...), 0o600)
		},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed=%v", name, killed), func(t *testing.T) {
				dir := t.TempDir()
				o := Options{Dir: dir, History: 20 << 20, MaxSize: 256 << 20}
				s := mustOpen(t, o)
				a := &appender{s: s}
				const n = 40_000
				for i := range n / 100 {
					a.append(t, numbered(i*100+1, i*100+100, 100))
					if i%10 == 9 {
						if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if !killed {
					s.Close()
				}
				path := filepath.Join(dir, cursorName)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, data); err != nil {
					t.Fatal(err)
				}
				s2, repair, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				defer s2.Close()
				r := s2.NewReader()
				defer r.Close()
				if again := len(frames(r)); again > progressStep/100 {
					t.Errorf("%d of %d lines are sent again", again, n)
				}
				if name == "newer" {
					kept, err := os.ReadFile(repair.NewerCursor)
					if err != nil || !strings.HasPrefix(string(kept), "LSPLCUR7") {
						t.Errorf("the newer cursor is not kept: %v", err)
					}
				}
			})
		}
	}
}

// TestCursorIgnoresImpossibleRecord: a record with impossible numbers changes nothing, even if
// its checksum is right.
func TestCursorIgnoresImpossibleRecord(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	s.Close()
	p := []byte(cursorMagic)
	for _, body := range [][]byte{
		binary.AppendUvarint(binary.AppendUvarint(nil, 10), 1<<63),
		binary.AppendUvarint(binary.AppendUvarint(nil, 1<<64-1), 1<<64-1),
		bytes.Repeat([]byte{0xff}, 30),
	} {
		for _, kind := range []byte{recordAck, recordEvicted} {
			p = appendRecord(p, kind, func(p []byte) []byte { return append(p, body...) })
		}
	}
	f, err := disk.OpenFile("/spool/cursor", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(p, 0)
	f.Close()
	s, _, err = Open(Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	a.s = s
	a.tracker = Tracker{}
	a.append(t, numbered(11, 20, 100))
	if got := read(r); got != "1-20" {
		t.Errorf("read %s", got)
	}
}
