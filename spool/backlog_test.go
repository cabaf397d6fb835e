package spool

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// seconds returns a frame of each of the seconds from to to, all of one length.
func seconds(from, to int) (p []byte) {
	for i := from; i <= to; i++ {
		p = append(p, testFrame("stdout", int64(time.Second)*int64(1e9+i), []byte("a line"))...)
	}
	return p
}

func second(i int) time.Time { return time.Unix(int64(1e9+i), 0) }

// TestBacklogIsWhatIsNotDelivered: after each append and acknowledgement, and after a
// restart, the backlog has the number and the oldest time of the frames that are not
// acknowledged.
func TestBacklogIsWhatIsNotDelivered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := durabletest.NewDisk()
		o := Options{Dir: "/s", FS: disk, MaxSize: 64 << 20, History: rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "history")}
		s := mustOpen(t, o)
		a := &appender{s: s}
		size := uint64(len(seconds(1, 1)))
		written, delivered, counted := 0, 0, true
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"append", "append", "append", "ack", "ack all", "restart", "count", "seal"}).Draw(t, "step") {
			case "append":
				n := rapid.IntRange(1, 5).Draw(t, "frames")
				a.append(t, seconds(written+1, written+n))
				written += n
			case "ack":
				delivered += rapid.IntRange(0, written-delivered).Draw(t, "frames")
			case "ack all":
				delivered = written
			case "restart":
				s.Close()
				s = mustOpen(t, o)
				a, counted = &appender{s: s}, false
			case "count":
				s.CountBacklog(context.Background())
				counted = true
			case "seal":
				s.mu.Lock()
				s.sealLocked()
				s.mu.Unlock()
			}
			if to := uint64(delivered) * size; to > s.Acked() {
				if err := s.Ack([]stream.Range{{From: 0, To: to}}); err != nil {
					t.Fatal(err)
				}
			}
			counted = counted || delivered == written
			got := s.Backlog()
			if !counted && got.Frames < 0 {
				continue
			}
			if got.Frames != written-delivered || got.Bytes != int64(written-delivered)*int64(size) {
				t.Fatalf("%d of %d are delivered: %+v", delivered, written, got)
			}
			oldest := second(delivered + 1)
			if got.Frames == 0 && !got.Oldest.IsZero() || got.Frames > 0 && (got.Oldest.After(oldest) || oldest.Sub(got.Oldest) > 5*time.Second) {
				t.Fatalf("%d of %d are delivered: the oldest is of %v, want %v", delivered, written, got.Oldest, oldest)
			}
		}
		s.Close()
	})
}

// TestLongBacklogIsNearlyExact: the number and the time stay within a few percent however
// long the backlog is, and both end when everything is delivered.
func TestLongBacklogIsNearlyExact(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 30})
	defer s.Close()
	a := &appender{s: s}
	const blocks, perBlock = 5000, 7
	for i := range blocks {
		a.append(t, seconds(i*perBlock+1, (i+1)*perBlock))
	}
	if got := s.Backlog(); got.Frames != blocks*perBlock || !got.Oldest.Equal(second(1)) {
		t.Errorf("before the delivery: %+v", got)
	}
	size := uint64(len(seconds(1, 1)))
	for delivered := 0; delivered < blocks*perBlock; delivered += 1111 {
		if err := s.Ack([]stream.Range{{From: 0, To: uint64(delivered) * size}}); err != nil {
			t.Fatal(err)
		}
		got := s.Backlog()
		if want := blocks*perBlock - delivered; got.Frames < want-10 || got.Frames > want+10 {
			t.Errorf("%d frames, want %d", got.Frames, want)
		}
		if early := second(delivered + 1).Sub(got.Oldest); early < 0 || early > blocks*perBlock*time.Second/60 {
			t.Errorf("after %d frames, the time is %v too early", delivered, early)
		}
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Backlog(); got != (Backlog{}) {
		t.Errorf("after the delivery: %+v", got)
	}
}

// TestBacklogIsWithoutWhatWasEvicted: what a full spool evicts is not waiting any more. The
// loss is waiting for its marker instead.
func TestBacklogIsWithoutWhatWasEvicted(t *testing.T) {
	lost := 0
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 20, OnLoss: func(g Gap) { lost += int(g.Frames) }})
	defer s.Close()
	a := &appender{s: s}
	const blocks, perBlock = 400, 300
	for i := range blocks {
		a.append(t, seconds(i*perBlock+1, (i+1)*perBlock))
	}
	got := s.Backlog()
	if lost == 0 || got.Frames != blocks*perBlock-lost {
		t.Errorf("%d frames are waiting, %d of %d are lost", got.Frames, lost, blocks*perBlock)
	}
	if got.Bytes > 1<<20 || !got.Oldest.Equal(second(lost+1)) || got.Gaps != 1 {
		t.Errorf("%+v, after %d frames were lost", got, lost)
	}
	r := s.NewReader()
	defer r.Close()
	for _, item := range frames(r) {
		if err := s.Ack([]stream.Range{item.Range}); err != nil {
			t.Fatal(err)
		}
		if got := s.Backlog(); item.Gap != nil && got.Gaps != 0 {
			t.Errorf("after the marker: %+v", got)
		}
	}
	if got := s.Backlog(); got != (Backlog{}) {
		t.Errorf("after the delivery: %+v", got)
	}
}

// TestBacklogCountsGaps: a loss counts from its beginning until its marker is acknowledged,
// wherever it is recorded meanwhile, and also after a restart.
func TestBacklogCountsGaps(t *testing.T) {
	o := Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 20}
	s := mustOpen(t, o)
	want := func(what string, gaps, frames int) {
		t.Helper()
		if got := s.Backlog(); got.Gaps != gaps || got.Frames != frames {
			t.Errorf("%s: %+v, want %d gaps and %d frames", what, got, gaps, frames)
		}
	}
	a := &appender{s: s}
	a.append(t, seconds(1, 2))
	s.AddGap(Gap{Reason: FirstForeign, Frames: 3, Bytes: 30})
	want("a gap in the stream", 1, 2)
	s.HoldGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 10})
	want("a held gap", 2, 2)
	s.mu.Lock()
	s.addUnkeptLocked(Gap{Reason: Full, Frames: 3, Bytes: 30}, 0)
	s.publishLocked()
	s.mu.Unlock()
	want("what could not be kept", 3, 2)
	s.Close()
	s = mustOpen(t, o)
	defer func() { s.Close() }()
	s.CountBacklog(t.Context())
	want("after a restart", 3, 2)
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	want("the gap's marker is delivered", 2, 0)
	s.ReleaseGap()
	s.Pending()
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	want("all markers are delivered", 0, 0)
}

// TestBacklogIsKnownWhileTheDiskHangs: Backlog and DiskUsage answer while Append waits for
// the disk and holds the spool's lock, and while CountBacklog waits for the disk.
func TestBacklogIsKnownWhileTheDiskHangs(t *testing.T) {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20}
	s := mustOpen(t, o)
	a := &appender{s: s}
	a.append(t, seconds(1, 10))
	s.Close()
	s = mustOpen(t, o)
	defer func() { s.Close() }()

	hang := func(op string) (hung, release chan struct{}) {
		hung, release = make(chan struct{}), make(chan struct{})
		var once sync.Once
		disk.Before(func(o, name string) error {
			if o == op && strings.HasSuffix(name, segmentSuffix) {
				once.Do(func() { close(hung) })
				<-release
			}
			return nil
		})
		return hung, release
	}
	var wg sync.WaitGroup
	hung, release := hang(durabletest.OpenToRead)
	wg.Go(func() { s.CountBacklog(context.Background()) })
	<-hung
	if got := s.Backlog(); got.Frames != -1 || got.Bytes == 0 {
		t.Errorf("while the backlog is being counted: %+v", got)
	}
	a = &appender{s: s}
	close(release)
	wg.Wait()
	if got := s.Backlog(); got.Frames != 10 || !got.Oldest.Equal(second(1)) {
		t.Errorf("after the backlog was counted: %+v", got)
	}

	hung, release = hang("WriteAt")
	wg.Go(func() { a.append(t, seconds(11, 12)) })
	<-hung
	if got := s.Backlog(); got.Frames != 10 || s.DiskUsage() == 0 {
		t.Errorf("while Append waits for the disk: %+v", got)
	}
	close(release)
	wg.Wait()
	if got := s.Backlog(); got.Frames != 12 {
		t.Errorf("after Append: %+v", got)
	}
}

// TestAppendDoesNotWaitForTheCount: lines are appended and acknowledged while CountBacklog
// waits for the disk, and the count is right afterwards.
func TestAppendDoesNotWaitForTheCount(t *testing.T) {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, History: 1 << 20}
	s := mustOpen(t, o)
	a := &appender{s: s}
	for i := range 10 {
		a.append(t, seconds(10*i+1, 10*i+10))
	}
	s.Close()
	s = mustOpen(t, o)
	defer func() { s.Close() }()
	hung, release := make(chan struct{}), make(chan struct{})
	disk.Before(func(op, _ string) error {
		if op == durabletest.OpenToRead {
			close(hung)
			<-release
		}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { s.CountBacklog(context.Background()) })
	<-hung
	a = &appender{s: s}
	a.append(t, seconds(101, 105))
	if err := s.Ack([]stream.Range{{From: 0, To: uint64(len(seconds(1, 30)))}}); err != nil {
		t.Fatal(err)
	}
	disk.Before(nil)
	close(release)
	wg.Wait()
	if got := s.Backlog(); got.Frames != 75 || got.Oldest.After(second(31)) || got.Oldest.Before(second(21)) {
		t.Errorf("%+v", got)
	}
}

// TestDamagedBacklogIsCounted: damage neither stops the count nor makes it endless, and the
// part of a segment before the damage counts.
func TestDamagedBacklogIsCounted(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MaxSize: 1 << 20}
	s := mustOpen(t, o)
	a := &appender{s: s}
	for i := range 3 {
		a.append(t, seconds(10*i+1, 10*i+5))
		a.append(t, seconds(10*i+6, 10*i+10))
		s.mu.Lock()
		s.sealLocked()
		s.mu.Unlock()
	}
	name := s.segmentPath(s.segments[1].base)
	s.Close()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	second := segmentHeaderSize + BlockHeaderSize + len(seconds(11, 15))
	copy(b[second:], "damage!!")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	defer s.Close()
	s.CountBacklog(t.Context())
	if got := s.Backlog(); got.Frames != 25 {
		t.Errorf("%+v", got)
	}
}

// TestDiskUsageIsWhatTheBudgetCounts: the published sizes are those that the budget adds up.
func TestDiskUsageIsWhatTheBudgetCounts(t *testing.T) {
	b := NewBudget(1 << 30)
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), Budget: b})
	a := &appender{s: s}
	a.append(t, seconds(1, 10))
	s.CountExtra(8192)
	archived := b.AddArchived(12345, time.Now(), func() error { return nil })
	if got := s.DiskUsage() + b.Archived(); got != b.Used() || b.Archived() != 12345 {
		t.Errorf("%d + %d bytes, the budget counts %d", s.DiskUsage(), b.Archived(), b.Used())
	}
	archived.Release()
	s.Close()
	if s.DiskUsage() != 0 || b.Archived() != 0 || b.Used() != 0 {
		t.Errorf("after the end: %d, %d, %d bytes", s.DiskUsage(), b.Archived(), b.Used())
	}
}
