package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

var noon = time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)

// sending returns a container that has sent n bytes to a group in this run of the plugin.
func sending(id, name, group string, n int64) Container {
	return Container{
		ID: id, Name: name,
		Traffic: Traffic{Delivered: Counter{Bytes: n}},
		Streams: []Stream{{Region: "eu-west-1", Group: group, Stream: name, Delivered: Counter{Bytes: n}}},
	}
}

func reportAt(t time.Time, ended int64, c ...Container) *Report {
	return &Report{Time: t, Containers: c, Ended: Traffic{Delivered: Counter{Bytes: ended}}}
}

func openLedger(t *testing.T, fsys durable.FS) (*Ledger, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	if err := fsys.MkdirAll("/state", durable.DirPerm); err != nil {
		t.Fatal(err)
	}
	return OpenLedger(fsys, "/state", slog.New(slog.NewTextHandler(&log, nil))), &log
}

func wantToday(t *testing.T, l *Ledger, want ...Ingested) {
	t.Helper()
	if diff := cmp.Diff(want, l.Today()); diff != "" && (len(want) != 0 || len(l.Today()) != 0) {
		t.Errorf("today's counts (-want +got):\n%s", diff)
	}
}

func TestLedgerCountsDifferences(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100), sending("2", "db", "b", 5)))
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100), sending("2", "db", "b", 7)))
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 130), sending("2", "db", "b", 7)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 130}, Ingested{Container: "db", Group: "b", Bytes: 7})
}

func TestLedgerCountsWhatAnEndedContainerSentLast(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100), sending("2", "db", "b", 5)))
	l.Observe(reportAt(noon, 140, sending("2", "db", "b", 6)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 140}, Ingested{Container: "db", Group: "b", Bytes: 6})
}

// If several containers end between two reports, it is not known whose the rest is. It is counted
// all the same.
func TestLedgerCountsWhatSeveralEndedContainersSentLast(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100), sending("2", "db", "b", 5)))
	l.Observe(reportAt(noon, 115))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 100}, Ingested{Bytes: 10}, Ingested{Container: "db", Group: "b", Bytes: 5})
}

func TestLedgerCountsContainerThatRunsAgain(t *testing.T) {
	for _, again := range []int64{30, 100, 200} { // less than before, as much, and more
		l, _ := openLedger(t, durabletest.NewDisk())
		l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100)))
		l.Observe(reportAt(noon, 100, sending("1", "web", "a", again)))
		if got := l.Usage().Total().Bytes; got != 100+again {
			t.Errorf("the container sent %d bytes and then %d, but %d were counted", 100, again, got)
		}
		if again < 100 {
			wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 100 + again})
		}
	}
}

// While a container moves to Ended, a report may have it in neither place.
func TestLedgerDoesNotCountTwice(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100)))
	l.Observe(reportAt(noon, 0))
	l.Observe(reportAt(noon, 100))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 100})
}

// Whatever runs, ends and runs again between two reports, the sum is exact.
func TestLedgerSumIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := OpenLedger(durabletest.NewDisk(), "/", slog.New(slog.DiscardHandler))
		running := map[int]int64{}
		var ended, sent int64
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			id := rapid.IntRange(1, 4).Draw(rt, "container")
			switch rapid.IntRange(0, 3).Draw(rt, "action") {
			case 0:
				ended += running[id]
				delete(running, id)
			case 1:
				var all []Container
				for id, n := range running {
					all = append(all, sending(fmt.Sprint(id), fmt.Sprint("c", id%3), fmt.Sprint("g", id%2), n))
				}
				l.Observe(reportAt(noon, ended, all...))
				if got := l.Usage().Total().Bytes; got != sent {
					rt.Fatalf("%d bytes were sent, but %d were counted", sent, got)
				}
			default:
				n := rapid.Int64Range(0, 50).Draw(rt, "bytes")
				running[id] += n
				sent += n
			}
		}
	})
}

func TestLedgerBeginsEachDayAtZero(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100)))
	midnight := noon.Add(12 * time.Hour)
	l.Observe(reportAt(midnight, 0, sending("1", "web", "a", 101)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 1, Yesterday: 100})
	l.Observe(reportAt(midnight.Add(day), 0, sending("1", "web", "a", 101)))
	wantToday(t, l)
	l.Observe(reportAt(midnight.Add(2*day), 0, sending("1", "web", "a", 101)))
	if u := l.Usage(); len(u.Ingested) != 0 {
		t.Errorf("after two days without output, %v is still counted", u.Ingested)
	}
}

func TestLedgerSurvivesClockThatIsSetBack(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	midnight := noon.Add(12 * time.Hour)
	l.Observe(reportAt(midnight.Add(-time.Second), 0, sending("1", "web", "a", 100)))
	l.Observe(reportAt(midnight, 0, sending("1", "web", "a", 110)))
	l.Observe(reportAt(midnight.Add(-time.Second), 0, sending("1", "web", "a", 111)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 111})
	l.Observe(reportAt(noon.AddDate(-1, 0, 0), 0, sending("1", "web", "a", 112)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 1})
}

func TestLedgerProjectsMonth(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	start := noon.AddDate(0, 0, -3)
	l.Observe(reportAt(start, 0, sending("1", "web", "a", 0)))
	l.Observe(reportAt(start.Add(minProjected-1), 0, sending("1", "web", "a", 9)))
	if _, ok := l.Usage().Month(l.Usage().Total()); ok {
		t.Error("a month is projected from less than ten minutes")
	}
	l.Observe(reportAt(noon.Add(-day), 0, sending("1", "web", "a", 1000)))
	l.Observe(reportAt(noon.Add(-12*time.Hour-1), 0, sending("1", "web", "a", 3000)))
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 4000)))
	// 3991 bytes were sent since yesterday began, in 36 hours. February 2026 has 28 days.
	u := l.Usage()
	if got, ok := u.Month(u.Total()); got != 3991*28*24/36 || !ok {
		t.Errorf("the month is projected as %d bytes", got)
	}
	if want := noon.Add(-36 * time.Hour); !u.Since.Equal(want) {
		t.Errorf("the counting began at %v, but yesterday at %v", u.Since, want)
	}
}

func TestLedgerSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.NewDisk()
		l, log := openLedger(t, disk)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		l.Observe(reportAt(noon, 0, sending("1", "web", "a", 100)))
		time.Sleep(saveEvery)
		synctest.Wait()
		killed, _ := openLedger(t, disk.Killed())
		wantToday(t, killed, Ingested{Container: "web", Group: "a", Bytes: 100})

		l.Observe(reportAt(noon, 0, sending("1", "web", "a", 103)))
		stop()
		<-done
		next, _ := openLedger(t, disk)
		next.Observe(reportAt(noon, 0, sending("1", "web", "a", 7))) // counts from 0 again
		wantToday(t, next, Ingested{Container: "web", Group: "a", Bytes: 110})
		if u := next.Usage(); !u.Since.Equal(noon) {
			t.Errorf("the counting began at %v, but after the restart at %v", noon, u.Since)
		}
		if log.Len() != 0 {
			t.Errorf("logged: %s", log)
		}
	})
}

func TestLedgerIsSavedOnceAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.NewHooked(durabletest.NewDisk())
		l, _ := openLedger(t, disk)
		writes := 0
		disk.Before(func(op, _ string) error {
			if op == "Rename" {
				writes++
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go l.Run(ctx)
		for i := range 36 { // three minutes, and then two without any change
			l.Observe(reportAt(noon, 0, sending("1", "web", "a", int64(i))))
			time.Sleep(5 * time.Second)
		}
		time.Sleep(2 * saveEvery)
		synctest.Wait()
		if writes != 3 {
			t.Errorf("saved %d times in five minutes, of which two had no changes", writes)
		}
	})
}

// A disk that hangs makes neither the sampling nor the page wait.
func TestLedgerObservesWhileDiskHangs(t *testing.T) {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	l, _ := openLedger(t, disk)
	hanging, goOn := make(chan struct{}), make(chan struct{})
	disk.Before(func(op, _ string) error {
		if op == "Rename" {
			close(hanging)
			<-goOn
		}
		return nil
	})
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 1)))
	saved := make(chan struct{})
	go func() { defer close(saved); l.save() }()
	<-hanging
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 2)))
	wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 2})
	close(goOn)
	<-saved
}

func TestLedgerSetsAsideFilesItCannotUse(t *testing.T) {
	valid := `{"version":1,"day":"2026-02-10T00:00:00Z","since":"2026-02-10T00:00:00Z","ingested":[{"container":"web","group":"a","bytes":9}]}`
	for _, c := range []struct{ name, data, aside string }{
		{"empty", "", ".damaged"},
		{"zeros", strings.Repeat("\x00", 4096), ".damaged"},
		{"cut", valid[:len(valid)-5], ".damaged"},
		{"not an object", `[1,2]`, ".damaged"},
		{"foreign", `{"containers":[]}`, ".damaged"},
		{"wrong type", strings.Replace(valid, "9", `"9"`, 1), ".damaged"},
		{"version 0", strings.Replace(valid, `:1`, `:0`, 1), ".damaged"},
		{"newer", `{"version":2,"ingested":{"web":1}}`, ".newer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := durabletest.NewDisk()
			if err := disk.MkdirAll("/state", 0); err != nil {
				t.Fatal(err)
			}
			if err := durable.WriteFile(disk, "/state/ingested.json", []byte(c.data), 0, true); err != nil {
				t.Fatal(err)
			}
			l, log := openLedger(t, disk)
			if n := strings.Count(log.String(), "\n"); n != 1 {
				t.Errorf("%d lines were logged:\n%s", n, log)
			}
			l.Observe(reportAt(noon, 0, sending("1", "web", "a", 3)))
			wantToday(t, l, Ingested{Container: "web", Group: "a", Bytes: 3})
			l.save()
			if kept, err := disk.ReadFile("/state/ingested.json" + c.aside); err != nil || string(kept) != c.data {
				t.Errorf("kept %q, %v", kept, err)
			}
			next, _ := openLedger(t, disk)
			wantToday(t, next, Ingested{Container: "web", Group: "a", Bytes: 3})
		})
	}
}

func TestLedgerLeavesFileThatItCannotSetAside(t *testing.T) {
	disk := durabletest.NewDisk()
	hooked := durabletest.NewHooked(disk)
	openLedger(t, hooked)
	if err := durable.WriteFile(disk, "/state/ingested.json", []byte(`{"version":2}`), 0, true); err != nil {
		t.Fatal(err)
	}
	hooked.Before(durabletest.Fail("Rename", ".newer", syscall.EACCES))
	l, _ := openLedger(t, hooked)
	l.Observe(reportAt(noon, 0, sending("1", "web", "a", 3)))
	l.save()
	if kept, err := disk.ReadFile("/state/ingested.json"); string(kept) != `{"version":2}` {
		t.Errorf("the file is %q, %v", kept, err)
	}
}

func TestLedgerLogsFailedSavesOnce(t *testing.T) {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	l, log := openLedger(t, disk)
	disk.Before(durabletest.Fail("OpenFile", ".tmp", syscall.ENOSPC))
	for i := range 3 {
		l.Observe(reportAt(noon, 0, sending("1", "web", "a", int64(i))))
		l.save()
	}
	disk.Before(nil)
	l.save() // nothing has changed since, but nothing was saved
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("want a line for the failure and one for its end:\n%s", log)
	}
	next, _ := openLedger(t, disk)
	wantToday(t, next, Ingested{Container: "web", Group: "a", Bytes: 2})
}

func TestLedgerIsBounded(t *testing.T) {
	l, _ := openLedger(t, durabletest.NewDisk())
	for i := range maxIngested + 2*maxIngestedGroups {
		name := fmt.Sprint(i)
		l.Observe(reportAt(noon, int64(10*i), sending(name, name, "group-"+name, 10)))
	}
	u := l.Usage()
	if n := len(u.Ingested); n != maxIngested+maxIngestedGroups+1 {
		t.Errorf("%d rows", n)
	}
	if got, want := u.Total().Bytes, int64(10*(maxIngested+2*maxIngestedGroups)); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	l.save()
	next, _ := openLedger(t, l.file.fsys)
	if next.Usage().Total() != u.Total() {
		t.Error("the sum is another one after a restart")
	}
}

func FuzzLedgerFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"day":"2026-02-10T00:00:00Z","since":"2026-02-10T00:00:00Z","ingested":[{"container":"web","group":"a","bytes":9}]}`))
	f.Add([]byte(`{"version":1,"ingested":[{"bytes":-9},{},{"bytes":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		disk := durabletest.NewDisk()
		if err := durable.WriteFile(disk, "/ingested.json", data, 0, false); err != nil {
			t.Fatal(err)
		}
		l := OpenLedger(disk, "/", slog.New(slog.DiscardHandler))
		l.Observe(reportAt(noon, 0, sending("1", "web", "a", 1)))
		if len(l.Today()) == 0 {
			t.Error("nothing is counted")
		}
		l.save()
		if _, err := disk.ReadFile("/ingested.json"); errors.Is(err, fs.ErrNotExist) {
			t.Error("nothing is saved")
		}
	})
}
