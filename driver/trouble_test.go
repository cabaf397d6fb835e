package driver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrouble(t *testing.T) {
	full, broken := errors.New("full"), errors.New("broken")
	type step struct {
		after time.Duration
		err   error
		logs  string // empty: nothing
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"nothing", []step{{0, nil, ""}, {time.Hour, nil, ""}}},
		{"one that goes on is told of once", []step{
			{0, full, "ERROR it fails container=web err=full"}, {time.Hour, full, ""}, {time.Hour, full, ""},
			{time.Second, nil, "INFO it fails: no more container=web times=3"}, {0, nil, ""},
		}},
		{"one that comes and goes, once a minute", []step{
			{0, full, "ERROR it fails container=web err=full"}, {time.Second, nil, "INFO it fails: no more container=web times=1"},
			{time.Second, full, ""}, {time.Second, nil, ""}, {time.Second, full, ""}, {time.Second, nil, ""},
			{55 * time.Second, full, "ERROR it fails container=web err=full times=3"},
			{time.Second, full, ""}, {time.Second, nil, "INFO it fails: no more container=web times=4"}, {time.Second, full, ""},
		}},
		{"one that came within the minute and goes on is told of after it", []step{
			{0, full, "ERROR it fails container=web err=full"}, {time.Second, nil, "INFO it fails: no more container=web times=1"},
			{time.Second, full, ""}, {57 * time.Second, full, ""}, {time.Second, full, "ERROR it fails container=web err=full times=3"},
		}},
		{"two in turn, once a minute", []step{
			{0, full, "ERROR it fails container=web err=full"}, {time.Second, broken, ""}, {time.Second, full, ""},
			{57 * time.Second, broken, ""}, {time.Second, broken, "ERROR it fails container=web err=broken times=5"},
			{time.Second, full, ""}, {time.Second, nil, "INFO it fails: no more container=web times=6"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				}}))
				var bad trouble
				for i, s := range test.steps {
					time.Sleep(s.after)
					out.Reset()
					bad.note(log, "it fails", s.err, "container", "web")
					got := strings.NewReplacer("level=", "", "msg=", "", `"`, "", "\n", "").Replace(out.String())
					if got != s.logs {
						t.Errorf("step %d: logged %q, want %q", i, got, s.logs)
					}
				}
			})
		})
	}
}
