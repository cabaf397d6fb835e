package hosttest

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startShell starts a shell script as a Program.
func startShell(t *testing.T, script string) *Program {
	t.Helper()
	p, err := StartProgram("the script", exec.Command("sh", "-c", script), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// waitLoop prints "ready" and then waits for signals. The shell's child does not keep its pipe.
const waitLoop = `echo ready; while :; do sleep 0.01 >/dev/null 2>&1; done`

func TestStopReportsHowAProgramEnds(t *testing.T) {
	for _, test := range []struct{ script, logged, want string }{
		{`trap 'echo bye; exit 0' TERM; ` + waitLoop, "ready\nbye\n", ""},
		{`trap 'echo bye; exit 3' TERM; ` + waitLoop, "ready\nbye\n", "the script stopped with an error: exit status 3"},
		{`trap '' TERM; ` + waitLoop, "ready\n", "the script didn't stop within 100ms"},
	} {
		p := startShell(t, test.script)
		if err := p.WaitLogged("ready\n", time.Minute); err != nil {
			t.Fatal(err)
		}
		within := time.Minute
		if strings.Contains(test.want, "within") {
			within = 100 * time.Millisecond // it would ignore SIGTERM however long it is
		}
		if err := p.Stop(within); (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.script, err, test.want)
		}
		if got := p.Log.String(); got != test.logged {
			t.Errorf("%s: logged %q", test.script, got)
		}
	}
}

func TestProgramThatEndsByItself(t *testing.T) {
	p := startShell(t, `echo "one" >&2; echo "two"; exit 4`)
	err := p.WaitLogged("three", time.Minute)
	if want := `the script ended (exit status 4) before it logged "three"; the end of its log:` + "\none\ntwo"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := p.WaitLogged("two", time.Minute); err != nil {
		t.Error(err)
	}
	if err := p.Stop(time.Minute); err == nil || !strings.Contains(err.Error(), "ended before it was stopped: exit status 4") {
		t.Error(err)
	}
	if got := p.Log.Tail(1); got != "two" {
		t.Errorf("the last line is %q", got)
	}
	if _, err := StartProgram("nothing", exec.Command("/nonexistent"), nil); err == nil {
		t.Error("no error for a program that does not exist")
	}
}

func TestLogIsBounded(t *testing.T) {
	var l Log
	line := strings.Repeat("x", 1023) + "\n"
	for range 5 * maxLog >> 10 {
		l.Write([]byte(line))
	}
	if n := len(l.String()); n < maxLog || n > 2*maxLog {
		t.Errorf("%d bytes are kept", n)
	}
}
