package fifo

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/longtest"
	"github.com/logspool/logspool/spool"
)

// spoolSink appends to a spool, as the driver's session does.
type spoolSink struct{ s *spool.Spool }

func (k spoolSink) Take(block []byte, info spool.BlockInfo) {
	if err := k.s.Append(block, 1, info); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
func (k spoolSink) Dropped() { k.s.Dropped() }
func (k spoolSink) End()     { k.s.Close(); os.Exit(0) }

func (k spoolSink) Fault(err error)           { k.Panicked(err, 0) }
func (k spoolSink) Panicked(err error, _ int) { fmt.Fprintln(os.Stderr, err); os.Exit(3) }

// intakeProcess is the process that is killed. It takes the contents of the FIFO into
// the spool. With LOGSPOOL_TEST_KILL=step:n it kills itself when it reaches that step
// for the n-th time.
func intakeProcess(dir string) {
	kill, n, _ := strings.Cut(os.Getenv("LOGSPOOL_TEST_KILL"), ":")
	count := 0
	fmt.Sscan(n, &count)
	step = func(name string) {
		if name == kill {
			if count--; count <= 0 {
				unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
	}
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool")})
	if err != nil {
		panic(err)
	}
	in, err := New()
	if err != nil {
		panic(err)
	}
	last := &Last{Torn: s.Torn(), Recovered: s.RecoverTorn}
	if payload, info, _, ok := s.LastBlock(); ok {
		last.Payload, last.Info = payload, info
	}
	if _, err := in.Open(filepath.Join(dir, "fifo"), spoolSink{s}, last); err != nil {
		panic(err)
	}
	fmt.Println("open")
	in.Run(context.Background())
}

// TestKilledIntakeLosesNothing kills the intake's process with SIGKILL at each step,
// and at random moments under load, and starts it again. In the end the spool has
// exactly the bytes that were written.
func TestKilledIntakeLosesNothing(t *testing.T) { testKill(t, 15) }

func TestLong_KilledIntakeLosesNothing(t *testing.T) {
	longtest.Skip(t)
	testKill(t, 150)
}

func testKill(t *testing.T, kills int) {
	dir := t.TempDir()
	_, w := makeFIFO(t, dir)
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 16384); err != nil {
		t.Fatal(err) // small, so that blocks from the middle of a frame occur
	}
	stop := make(chan struct{})
	written := make(chan []byte)
	go func() {
		var all []byte
		for i := 0; ; i++ {
			select {
			case <-stop:
				written <- all
				return
			default:
			}
			size := 100
			if i%50 == 0 {
				size = 16384 // more than the pipe holds, with the rest of the frame
			}
			p := frame(int64(1e18)+int64(i), strings.Repeat("same ", size/5))
			w.Write(p)
			all = append(all, p...)
			if i%64 == 0 {
				time.Sleep(100 * time.Microsecond) // This is the load, about 5 MB/s, and not a wait.
			}
		}
	}()
	steps := []string{"before append:3", "between append and drop:1", "between append and drop:4", "after drop:2", ""}
	var child *exec.Cmd
	var stdout *os.File
	start := func(kill string) {
		child = exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "LOGSPOOL_TEST_INTAKE="+dir, "LOGSPOOL_TEST_KILL="+kill)
		child.Stderr, child.Stdout = os.Stderr, stdout
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range kills {
		kill := steps[i%len(steps)]
		start(kill)
		if kill == "" {
			time.Sleep(time.Duration(20+rand.IntN(60)) * time.Millisecond)
			child.Process.Kill()
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
			t.Fatalf("kill %d (%q): %v", i, kill, err)
		}
	}
	ready, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout = childOut
	start("")
	childOut.Close()
	// The last reader must open the FIFO before the writer closes it. The kernel
	// discards the contents of a pipe that no process has open.
	if _, err := ready.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	want := <-written
	w.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	var got []byte
	for {
		item, ok := r.Next()
		if !ok {
			break
		}
		if item.Gap != nil {
			t.Fatalf("a gap at %+v: %+v", item.Range, *item.Gap)
		}
		got = append(got, byte(len(item.Frame)>>24), byte(len(item.Frame)>>16), byte(len(item.Frame)>>8), byte(len(item.Frame)))
		got = append(got, item.Frame...)
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Fatalf("the spool holds %d bytes, %d were written; they differ at %d", len(got), len(want), at)
	}
	t.Logf("%d kills, %d MB", kills, len(want)>>20)
}
