//go:build !race

package spool

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/logspool/logspool/internal/costtest"
	"github.com/logspool/logspool/internal/stream"
)

// TestCostOfAppend compares Append with the checksum and the write that it cannot do without.
func TestCostOfAppend(t *testing.T) {
	for lines, limit := range map[int]float64{1: 2.2, 320: 1.9} {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			s := mustOpen(t, Options{Dir: t.TempDir(), MaxSize: 256 << 20})
			defer s.Close()
			f, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			p := numbered(1, lines, 100)
			block := append(make([]byte, BlockHeaderSize), p...)
			table := crc32.MakeTable(crc32.Castagnoli)
			var tr Tracker
			info := tr.All(p)
			// Both files have as many bytes in the end, so that both need as many new pages.
			n := (1 << 20) / len(block)
			costtest.AtMost(t, limit,
				func() {
					for range n {
						if err := s.Append(block, 0, info); err != nil {
							t.Fatal(err)
						}
					}
					if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
						t.Fatal(err)
					}
				},
				func() {
					for i := range n {
						_ = crc32.Checksum(block, table)
						if _, err := f.WriteAt(block, int64(i*len(block))); err != nil {
							t.Fatal(err)
						}
					}
					if err := f.Truncate(0); err != nil {
						t.Fatal(err)
					}
				})
		})
	}
}

// TestCostOfRead compares a reader with the read and the checksum that it cannot do without.
func TestCostOfRead(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), MaxSize: 256 << 20})
	defer s.Close()
	a := &appender{s: s}
	for block := numbered(1, 320, 100); s.Size() < 2<<20; {
		a.append(t, block)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	path := s.segmentPath(s.segments[0].base)
	size := int(s.segments[0].size)
	buf := make([]byte, chunks[len(chunks)-1])
	costtest.AtMost(t, 4.5,
		func() {
			r := s.NewReader()
			for bytes := 0; ; {
				item, ok := r.Next()
				if bytes += len(item.Frame); !ok || bytes > size {
					break
				}
			}
			r.Close()
		},
		func() {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < size; at += len(buf) {
				n, _ := f.ReadAt(buf, int64(at))
				_ = crc32.Checksum(buf[:n], table)
			}
			f.Close()
		})
}
