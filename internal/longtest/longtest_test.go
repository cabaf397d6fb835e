package longtest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// fakeTest records what Skip does to a test.
type fakeTest struct {
	testing.TB
	name, outcome string
}

func (f *fakeTest) Helper()      {}
func (f *fakeTest) Name() string { return f.name }

func (f *fakeTest) end(word, format string, args []any) {
	f.outcome = word + ": " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (f *fakeTest) Skipf(format string, args ...any)  { f.end("skip", format, args) }
func (f *fakeTest) Fatalf(format string, args ...any) { f.end("fail", format, args) }

func TestSkip(t *testing.T) {
	for _, test := range []struct {
		name, variable string
		want           string // the beginning of the outcome
	}{
		{"TestLong_Way", "", "skip: a long test: run it with LOGSPOOL_LONG=1, or all of them with make test-long"},
		{"TestLong_Way", "1", "runs"},
		{"TestLong_Way", "yes", `fail: LOGSPOOL_LONG="yes": only 1 is allowed`},
		{"TestShort", "1", "fail: TestShort calls longtest.Skip, so its name must begin with TestLong_"},
		{"TestShort", "", "fail: TestShort calls longtest.Skip, so its name must begin with TestLong_"},
	} {
		t.Setenv(Variable, test.variable)
		f := &fakeTest{name: test.name, outcome: "runs"}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Skip(f)
		}()
		<-done
		if !strings.HasPrefix(f.outcome, test.want) {
			t.Errorf("%s with %q: %s, want %s", test.name, test.variable, f.outcome, test.want)
		}
	}
}
