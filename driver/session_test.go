package driver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/naming"
)

// TestLinesAreDeliveredInOrder: a container's lines are delivered in order, and no session
// remains after it has stopped.
func TestLinesAreDeliveredInOrder(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 1000)...)
	h.stopContainer(f)
	if got := h.shipper.wait(t, "g/web", 1000); !slices.Equal(got, lines(1, 1000)) {
		t.Errorf("got %.300q", got)
	}
	h.gone()
}

// TestOutputsGoToTwoStreams: the two outputs go to two streams, with their gaps, and the
// session ends.
func TestOutputsGoToTwoStreams(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.startContainer("web", f, map[string]string{"stream": "{{.Source}}"})
	for i := range 300 {
		source := "stdout"
		if i%3 == 0 {
			source = "stderr"
		}
		f.write(source, source)
	}
	f.raw([]byte(strings.Repeat("garbage ", 100)))
	f.write("stderr", "after")
	h.stopContainer(f)
	h.shipper.wait(t, "g/stdout", 201)
	if got := h.shipper.wait(t, "g/stderr", 101); got[100] != "after" {
		t.Errorf("stderr ends with %q", got[100])
	}
	h.gone()
}

// TestRestartDuringLastDeliveryLosesNothing: a container is started again, many times,
// while the last lines of its earlier run are being delivered.
func TestRestartDuringLastDeliveryLosesNothing(t *testing.T) {
	h := newHost(t)
	h.start()
	total := 0
	for i := range 100 {
		f := h.fifo(fmt.Sprint("fifo", i))
		f.n = int64(i * 100)
		h.startContainer("web", f, nil)
		f.write("stdout", lines(total+1, total+10)...)
		total += 10
		h.stopContainer(f)
	}
	if got := h.shipper.wait(t, "g/web", total); !slices.Equal(got, lines(1, total)) {
		t.Errorf("got %d: %.300q", len(got), got)
	}
	h.gone()
}

// TestRestartBeforeDeliveryLosesNothing: a container is started again, with a new FIFO,
// while its lines wait for CloudWatch; also with a restart of the plugin in between.
func TestRestartBeforeDeliveryLosesNothing(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("another plugin=%v", again), func(t *testing.T) {
			h := newHost(t)
			h.shipper.setDown(true)
			h.start()
			for i := range 5 {
				f := h.fifo("fifo" + string(rune('a'+i)))
				f.n = int64(i * 100)
				h.startContainer("web", f, nil)
				f.write("stdout", lines(i*100+1, i*100+50)...)
				if i == 2 && again {
					f.waitUntilEmpty()
					h.stop()
					f.write("stdout", lines(i*100+51, i*100+60)...)
					h.start()
				} else {
					f.write("stdout", lines(i*100+51, i*100+60)...)
				}
				f.write("stdout", lines(i*100+61, i*100+100)...)
				h.stopContainer(f)
			}
			h.shipper.setDown(false)
			if got := h.shipper.wait(t, "g/web", 500); !slices.Equal(got, lines(1, 500)) {
				t.Errorf("got %d: %.300q", len(got), got)
			}
			h.gone()
		})
	}
}

// TestOwnerSurvivesPanics: a panic of the owner is logged, and its work runs again. A
// template that panics is replaced by the default name.
func TestOwnerSurvivesPanics(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	s := h.all()[0]
	calls := 0
	s.own(t.Context(), func(context.Context) {
		if calls++; calls < 3 {
			panic("a bug")
		}
	})
	if n := strings.Count(h.logged(), "the plugin panicked while delivering a container's lines"); n != 2 || calls != 3 {
		t.Errorf("%d calls, logged %d times", calls, n)
	}
	name := s.render("log group", func(t *naming.Template, c *naming.Container) naming.Name {
		if t != nil {
			panic("another bug")
		}
		return naming.Group(t, c)
	}, &naming.Template{}, &naming.Container{LoggerHost: "host"})
	if name.Name != "host" || !strings.Contains(h.logged(), "rendering the name of a log group panicked") {
		t.Errorf("the name is %q", name.Name)
	}
	h.stopContainer(f)
}
