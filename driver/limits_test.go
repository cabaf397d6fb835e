package driver

import (
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/status"
)

// TestReadersBeyondLimitAreRefused: docker logs beyond the limit gets an error and no
// descriptor. One that ends frees its descriptors.
func TestReadersBeyondLimitAreRefused(t *testing.T) {
	h := newHost(t)
	h.openFiles = 120
	h.start()
	h.startWithTenLines()
	var reading []*session
	for range h.limits.readers {
		s, err := h.beginReading(t.Context(), "web")
		must(t, err)
		reading = append(reading, s)
	}
	_, err := h.beginReading(t.Context(), "web")
	if err == nil || !strings.Contains(err.Error(), "docker logs commands are being answered") || !strings.Contains(err.Error(), "120 open files") {
		t.Errorf("docker logs: %v", err)
	}
	h.endReading(reading[0])
	if reading[0], err = h.beginReading(t.Context(), "web"); err != nil {
		t.Error(err)
	}
	for _, s := range reading {
		h.endReading(s)
	}
}

// TestDescriptorSharesFit: the shares add up to at most what is available, and no
// share is empty.
func TestDescriptorSharesFit(t *testing.T) {
	for _, open := range []int{80, 120, 256, 1024, 4096, 1 << 20} {
		l := shareDescriptors(open)
		sum := ownFiles + status.Descriptors(open) + l.fifos + l.spools*spoolFiles + l.readers*readerFiles
		if sum > open || l.fifos < 1 || l.spools < 2 || l.readers < 1 {
			t.Errorf("%d: %+v, %d in all", open, l, sum)
		}
	}
	if l := shareDescriptors(0); l.fifos < 1 || l.spools < 1 || l.readers < 1 {
		t.Errorf("nothing: %+v", l)
	}
	var r syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r))
	if got := OpenFileLimit(); uint64(got) != min(r.Cur, 1<<31-1) {
		t.Errorf("RLIMIT_NOFILE is %d, read as %d", r.Cur, got)
	}
}
