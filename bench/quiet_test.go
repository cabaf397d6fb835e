package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test's binary be started as a part of a measurement (see runPart).
func TestMain(m *testing.M) {
	if ok, err := runPart(); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestRowsWithoutEngineAreMeasured runs these measurements with little load. Their figures say
// nothing then.
func TestRowsWithoutEngineAreMeasured(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "logspool")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, rows := range map[string]int{"drain": 10, "quiet": 3, "requests": 1, "neighbours": 6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := run(t.Context(), []string{"-binary", binary, "-run", "^" + name + "$", "-scale", "0.005", "-turns", "1", "rows"}, &out)
			if err != nil && !errors.Is(err, errLimit) {
				t.Fatalf("%v\n%s", err, &out)
			}
			_, table, _ := strings.Cut(out.String(), "| what | target")
			table, _, _ = strings.Cut(table, "\n\n")
			if strings.Contains(table, "not measured") || strings.Count(table, "\n| ") != rows {
				t.Errorf("want %d rows, got\n%s", rows, &out)
			}
			if strings.Contains(table, fmt.Sprint(quietContainers)) {
				t.Errorf("there were fewer containers than the rows say:\n%s", table)
			}
			if name == "quiet" && strings.Contains(table, "≤") {
				t.Errorf("fewer containers are judged by the targets of all:\n%s", table)
			}
		})
	}
}

func TestTrivialClientSendsEachLineOnce(t *testing.T) {
	const lines = 20_000
	r := bufio.NewReaderSize(strings.NewReader(strings.Repeat(line, lines)), 64<<10)
	b := newTrivialBatch()
	for sent := 0; ; sent += b.lines {
		if err := b.fill(r); err != nil {
			t.Fatal(err)
		}
		if b.lines == 0 {
			if sent != lines {
				t.Errorf("sent %d lines, want %d", sent, lines)
			}
			return
		}
		var body struct {
			LogEvents []struct {
				Timestamp int64
				Message   string
			}
		}
		if err := json.Unmarshal(b.body, &body); err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range body.LogEvents {
			if size += len(e.Message) + 26; e.Message+"\n" != line || e.Timestamp == 0 {
				t.Fatalf("got %+v", e)
			}
		}
		if len(body.LogEvents) != b.lines || size > 1<<20 || sent+b.lines < lines && size < 1<<20-2*lineSize {
			t.Errorf("a batch of %d lines has %d events and %d bytes", b.lines, len(body.LogEvents), size)
		}
	}
}

func TestEscapedTextIsReadAsItWas(t *testing.T) {
	for _, text := range []string{"", `"quoted" \n`, "\x00\x1f\t\r\u007f", "Grüße 🙂"} {
		var got string
		if err := json.Unmarshal(append(appendEscaped([]byte{'"'}, []byte(text)), '"'), &got); err != nil || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

func TestContainersWriteInTurn(t *testing.T) {
	const containers, lines = 3, 10
	ctx, cancel := context.WithCancel(t.Context())
	var wrote []int
	got, _, err := pace{rate: 1000}.run(ctx, containers, func(i int) error {
		if wrote = append(wrote, i); len(wrote) == lines {
			cancel()
		}
		return nil
	})
	if want := []int{0, 1, 2, 0, 1, 2, 0, 1, 2, 0}; got != lines || err != nil || !slices.Equal(wrote, want) {
		t.Errorf("got %d lines of %v, %v; want %v", got, wrote, err, want)
	}
}
