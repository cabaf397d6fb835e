package driver

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
)

// TestEventsFollowOptions: events look as the container's options ask.
func TestEventsFollowOptions(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	info := &container.Info{
		ID: "0123456789abcdef", Name: "/web", ImageName: "shop:1",
		Labels: map[string]string{"team": "shop", "other": "x"},
		Env:    []string{"STAGE=prod", "SECRET=x"},
		Config: map[string]string{
			"format": "json", "tag": "{{.Name}}/{{.ID}}", "stream": "s", "labels": "team", "env-regex": "^STAGE",
			"strip-ansi": "true", "exclude-pattern": "^DEBUG", "multiline-pattern": "^\\S",
		},
	}
	if err := h.startLogging(f.path, info); err != nil {
		t.Fatal(err)
	}
	f.write("stdout", "\x1b[31mpanic: no\x1b[0m", "  at main", "DEBUG not this", "  nor this")
	f.write("stderr", "bye")
	h.stopContainer(f)
	var got []map[string]any
	for _, message := range h.shipper.wait(t, "g/s", 2) {
		var object map[string]any
		if err := json.Unmarshal([]byte(message), &object); err != nil {
			t.Fatalf("%q: %v", message, err)
		}
		got = append(got, object)
	}
	event := func(source, log string) map[string]any {
		return map[string]any{
			"log": log, "source": source, "host": "host", "instance_id": "i-1", "container_id": "0123456789ab", "container_name": "web", "image_name": "shop:1",
			"tag": "web/0123456789ab", "attrs": map[string]any{"team": "shop", "STAGE": "prod"},
		}
	}
	want := []map[string]any{event("stdout", "panic: no\n  at main"), event("stderr", "bye")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMultilineEventWaitsForTheFlushInterval: a multi-line event waits for the flush
// interval if that is longer than the default.
func TestMultilineEventWaitsForTheFlushInterval(t *testing.T) {
	for _, c := range []struct {
		opts map[string]string
		want time.Duration
	}{
		{nil, 0},
		{map[string]string{"delay": "30"}, 0},
		{map[string]string{"delay": "30", "multiline-pattern": "x"}, 30 * time.Second},
		{map[string]string{"awslogs-force-flush-interval-seconds": "1", "multiline-pattern": "x"}, 0},
	} {
		settings, problems := config.Load(nil)
		if problems != nil {
			t.Fatal(problems)
		}
		conf, err := settings.Container(c.opts, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := eventWait(conf); got != c.want {
			t.Errorf("%v: %v, want %v", c.opts, got, c.want)
		}
	}
}
