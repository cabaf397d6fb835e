package driver

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/faultlog"
)

// TestHangingDiskIsAFailure: a file system that does not answer for ten seconds is a failure
// with a hint until it answers. The sampling ends with its context even then.
func TestHangingDiskIsAFailure(t *testing.T) {
	defer func() { statfs = unix.Statfs }()
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		var set faultlog.Set
		s := newSpace("/state", slog.New(faultlog.NewHandler(slog.NewTextHandler(&b, nil), &set)))
		answer := make(chan struct{})
		statfs = func(_ string, stat *unix.Statfs_t) error {
			<-answer
			*stat = unix.Statfs_t{Bavail: 1 << 30, Frsize: 4096}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.run(ctx)
		}()
		time.Sleep(9 * time.Second)
		if o := set.Ongoing(); len(o) > 0 {
			t.Errorf("after 9 s: %+v", o)
		}
		time.Sleep(6 * time.Second)
		if o := set.Ongoing(); len(o) != 1 || o[0].Attrs["hint"] == "" || o[0].Attrs["dir"] != "/state" {
			t.Errorf("after 15 s: %+v", o)
		}
		answer <- struct{}{}
		synctest.Wait()
		if o := set.Ongoing(); len(o) > 0 || s.report().Free != 4<<40 {
			t.Errorf("after the answer: %+v, %+v", o, s.report())
		}
		time.Sleep(2 * spaceInterval) // it hangs again
		cancel()
		<-ended
		close(answer)
	})
}
