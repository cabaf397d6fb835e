//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pair is two containers that print the same, one with json-file and one with the plugin.
// docker logs must answer the same for both.
type pair struct {
	printing
	model, ours *logged
}

func (p *pair) both() []*logged { return []*logged{p.model, p.ours} }

// logged is a container whose log is read.
type logged struct {
	*container
	t      *testing.T
	remote *remote
	dir    string // as /control in the container
	files  int
	follow *follower
	at     []time.Time // times of its entries, as docker logs last printed them
}

// startPair starts two containers that print nothing yet, and a docker logs -f of each.
func startPair(t *testing.T, p printing) *pair {
	t.Helper()
	one := func(plain bool, docker ...string) *logged {
		r, control, args := newRemote(t)
		dir, _, _ := strings.Cut(control[1], ":")
		docker = append(append(docker, p.docker...), control...)
		c := start(t, spec{plain: plain, docker: docker, opts: p.opts, args: args})
		r.connect()
		l := &logged{container: c, t: t, remote: r, dir: dir}
		l.follow = l.startFollow("--tail", "all")
		return l
	}
	return &pair{p, one(true, "--log-driver", "json-file"), one(false)}
}

// print prints chunks, each after the one before has been read back.
func (l *logged) print(chunks []chunk) {
	l.t.Helper()
	for _, c := range chunks {
		l.files++
		name := fmt.Sprint(l.files)
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(c.text), 0o600); err != nil {
			l.t.Fatal(err)
		}
		l.remote.tell("file %s /control/%s", c.to, name)
		if len(chunks) > 1 {
			l.follow.waitFor(l.t, strings.TrimSpace(c.text))
		}
	}
	if len(chunks) > 0 {
		l.follow.waitFor(l.t, endMark)
	}
}

const leadLine = "-- now --"

// lead prints lines until the follower has one. A follower that skips the existing log may
// begin with any of them.
func (l *logged) lead() {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, "lead"), []byte(leadLine+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	for begun := time.Now(); !strings.Contains(l.follow.answer().stdout, leadLine); {
		if time.Since(begun) > patience {
			l.t.Fatalf("docker logs -f of %s prints nothing", l.name)
		}
		l.remote.tell("file stdout /control/lead")
		l.follow.more(100 * time.Millisecond)
	}
}

// afterLead returns the answer without what was printed before the last lead line.
func (a logsAnswer) afterLead() logsAnswer {
	a.stdout = a.stdout[max(0, strings.LastIndex(a.stdout, leadLine)):]
	return a
}

// withoutLead returns the answer without the lead lines.
func (a logsAnswer) withoutLead() logsAnswer {
	a.stdout = strings.NewReplacer(leadLine+"\r\n", "", leadLine+"\n", "").Replace(a.stdout)
	return a
}

// logsAnswer is what docker logs printed.
type logsAnswer struct {
	stdout, stderr string
	err            string
}

// logs runs docker logs.
func (c *container) logs(args ...string) logsAnswer {
	cmd := exec.Command("docker", append(append([]string{"logs"}, args...), c.name)...)
	cmd.Env = cmd.Environ()
	if c.engine.host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+c.engine.host)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	a := logsAnswer{}
	if err := cmd.Run(); err != nil {
		a.err = err.Error()
	}
	a.stdout, a.stderr = stdout.String(), stderr.String()
	return a
}

// entryTime is the time before each entry, and so also within a long line.
var entryTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) `)

// withoutTimes replaces each time by a word.
func (a logsAnswer) withoutTimes() logsAnswer {
	a.stdout = entryTime.ReplaceAllLiteralString(a.stdout, "TIME ")
	a.stderr = entryTime.ReplaceAllLiteralString(a.stderr, "TIME ")
	return a
}

// times returns the times of a container's entries, in order and without duplicates.
func (l *logged) times() (times []time.Time) {
	l.t.Helper()
	a := l.logs("-t")
	for _, found := range entryTime.FindAllString(a.stdout+a.stderr, -1) {
		at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(found))
		if err != nil {
			l.t.Fatal(err)
		}
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal)
}

// differs returns how two answers differ, and nothing if they do not.
func differs(want, got logsAnswer) string {
	for _, part := range []struct{ name, want, got string }{
		{"exit", want.err, got.err}, {"stdout", want.stdout, got.stdout}, {"stderr", want.stderr, got.stderr},
	} {
		if part.want == part.got {
			continue
		}
		i := 0
		for i < min(len(part.want), len(part.got)) && part.want[i] == part.got[i] {
			i++
		}
		from := max(0, i-20)
		return fmt.Sprintf("%s: %d bytes with json-file, %d with the plugin; from byte %d on %.80q and %.80q",
			part.name, len(part.want), len(part.got), i, part.want[from:], part.got[from:])
	}
	return ""
}

// ask runs the same docker logs for both containers, and returns how the answers differ.
func (p *pair) ask(q query) string {
	want, got := p.model.logs(q.args(p.model.at)...), p.ours.logs(q.args(p.ours.at)...)
	if q.times {
		want, got = want.withoutTimes(), got.withoutTimes()
	}
	if q.details && p.attrs != "" {
		whole := want.stdout
		if want.stdout = strings.ReplaceAll(whole, p.attrs, ""); want.stdout == whole {
			return "json-file shows no attributes"
		}
	}
	return differs(want, got)
}

// follower is a running docker logs -f.
type follower struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}

	mu             sync.Mutex
	news           chan struct{} // closed and replaced by each write
	stdout, stderr bytes.Buffer
	err            error
}

func (l *logged) startFollow(args ...string) *follower {
	l.t.Helper()
	return startFollower(l.t, l.container, append([]string{"logs", "-f"}, args...)...)
}

// startFollower starts a docker command that runs until what it follows has ended.
func startFollower(t *testing.T, c *container, args ...string) *follower {
	t.Helper()
	f := &follower{name: c.name, news: make(chan struct{}), ended: make(chan struct{})}
	f.cmd = exec.Command("docker", append(args, c.name)...)
	f.cmd.Env = f.cmd.Environ()
	if c.engine.host != "" {
		f.cmd.Env = append(f.cmd.Env, "DOCKER_HOST="+c.engine.host)
	}
	f.cmd.Stdout = followerOutput{f, &f.stdout}
	f.cmd.Stderr = followerOutput{f, &f.stderr}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.ended)
		f.err = f.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		<-f.ended
	})
	return f
}

type followerOutput struct {
	f *follower
	b *bytes.Buffer
}

func (o followerOutput) Write(p []byte) (int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	close(o.f.news)
	o.f.news = make(chan struct{})
	return o.b.Write(p)
}

// waitFor waits until the follower has printed the text.
func (f *follower) waitFor(t *testing.T, text string) {
	t.Helper()
	for late := time.After(patience); ; {
		f.mu.Lock()
		// A terminal replaces \n by \r\n.
		found := strings.Contains(strings.ReplaceAll(f.stdout.String(), "\r\n", "\n"), text) || strings.Contains(f.stderr.String(), text)
		news := f.news
		f.mu.Unlock()
		if found {
			return
		}
		select {
		case <-news:
		case <-f.ended:
			t.Fatalf("docker logs -f of %s ended without %.60q: %v", f.name, text, f.answer())
		case <-late:
			t.Fatalf("docker logs -f of %s did not print %.60q: %.300v", f.name, text, f.answer())
		}
	}
}

// becomes waits until the follower has printed the wanted answer. It returns how the answer
// differs if the follower never does.
func (f *follower) becomes(want logsAnswer) string {
	for late := time.Now().Add(patience); ; {
		got := f.answer()
		d := differs(want, got)
		// An answer that is too long does not become right.
		if d == "" || time.Now().After(late) || len(got.stdout) > len(want.stdout) || len(got.stderr) > len(want.stderr) {
			return d
		}
		f.more(time.Second)
	}
}

// more waits until the follower has printed something, or for a while.
func (f *follower) more(while time.Duration) {
	f.mu.Lock()
	news := f.news
	f.mu.Unlock()
	select {
	case <-news:
	case <-f.ended:
	case <-time.After(while):
	}
}

// wait waits until the follower has ended by itself.
func (f *follower) wait(t *testing.T) logsAnswer {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		t.Fatalf("docker logs -f of %s does not end", f.name)
	}
	return f.answer()
}

func (f *follower) answer() logsAnswer {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := logsAnswer{stdout: f.stdout.String(), stderr: f.stderr.String()}
	select {
	case <-f.ended:
		if f.err != nil {
			a.err = f.err.Error()
		}
	default:
	}
	return a
}

// kill kills the follower.
func (f *follower) kill() {
	_ = f.cmd.Process.Kill()
	<-f.ended
}

// results are the results of each query for each printing, over all states of the containers.
type results struct {
	mu       sync.Mutex
	problems map[[2]string]string // by query and printing; empty: the answers were the same
}

func (r *results) note(q, p, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]string{q, p}
	if r.problems == nil {
		r.problems = map[[2]string]string{}
	}
	if old := r.problems[key]; old == "" {
		r.problems[key] = problem
	}
}

// askAll runs all queries for each pair.
func askAll(t *testing.T, pairs []*pair, all []query, r *results) {
	t.Helper()
	var group sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, p := range pairs {
		for _, l := range p.both() {
			l.at = l.times()
		}
		for _, q := range all {
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				problem := p.ask(q)
				r.note(q.name, p.name, problem)
				if problem != "" {
					t.Errorf("%s, docker logs %s: %s", p.name, q.name, problem)
				}
			})
		}
	}
	group.Wait()
}

// TestDockerLogsIsJSONFiles: docker logs with the plugin answers every query byte for byte
// as with json-file: while the containers run, after they have stopped, after they were
// started again, and after the plugin was disabled and killed.
func TestDockerLogsIsJSONFiles(t *testing.T) {
	var pairs []*pair
	for _, p := range printings() {
		pairs = append(pairs, startPair(t, p))
	}
	for _, p := range pairs {
		for _, l := range p.both() {
			l.print(p.chunks)
		}
	}
	var r results
	few := slices.DeleteFunc(queries(), func(q query) bool {
		return !slices.Contains([]string{"(none)", "-t", "--tail 10", "--since MIDDLE", "--until MIDDLE --tail 3"}, q.name)
	})
	t.Run("running", func(t *testing.T) { askAll(t, pairs, queries(), &r) })
	t.Run("followed from the beginning", func(t *testing.T) {
		for _, p := range pairs {
			d := p.ours.follow.becomes(p.model.logs())
			r.note("-f", p.name, d)
			if d != "" {
				t.Errorf("%s, docker logs -f of a running container: %s", p.name, d)
			}
		}
	})
	t.Run("disabled and enabled", func(t *testing.T) {
		if err := tested.disable(); err != nil {
			t.Fatal(err)
		}
		if err := tested.enable(); err != nil {
			t.Fatal(err)
		}
		askAll(t, pairs, few, &r)
	})
	t.Run("killed while they run", func(t *testing.T) {
		kill(t, tested)
		waitForPlugin(t, pairs[0].ours)
		askAll(t, pairs, few, &r)
		for _, p := range pairs {
			p.ours.follow.kill() // the kill of the plugin has ended it
			p.ours.follow = p.ours.startFollow("--tail", "all")
		}
	})
	t.Run("follow", func(t *testing.T) {
		for _, p := range pairs {
			for _, l := range p.both() {
				l.remote.end()
				l.finish(t)
			}
			// With json-file, docker logs -f may end before the last piece (seen with
			// 20.10), so the wanted answer is that of docker logs.
			p.model.follow.wait(t)
			d := differs(p.model.logs(), p.ours.follow.wait(t))
			r.note("-f", p.name, d)
			if d != "" {
				t.Errorf("%s, docker logs -f: %s", p.name, d)
			}
		}
	})
	t.Run("stopped", func(t *testing.T) { askAll(t, pairs, queries(), &r) })
	t.Run("killed after they stopped", func(t *testing.T) {
		kill(t, tested)
		waitForPlugin(t, pairs[0].ours)
		askAll(t, pairs, few, &r)
	})
	t.Run("started again", func(t *testing.T) { startAgain(t, pairs, &r) })
	updateTable(t, logsDocument, tableBegin, tableEnd, "\n"+table(pairs, &r)+"\n")
}

// startAgain starts the containers again, prints the chunks again, and compares docker logs
// -f --tail 0 and docker logs.
func startAgain(t *testing.T, pairs []*pair, r *results) {
	t.Helper()
	for _, p := range pairs {
		for _, l := range p.both() {
			local.must(t, "start", l.name)
			l.remote.connect()
			l.follow = l.startFollow("--tail", "0")
			l.lead()
			l.print(p.chunks)
		}
	}
	for _, p := range pairs {
		for _, l := range p.both() {
			l.remote.end()
			l.finish(t)
		}
		want := p.model.follow.wait(t)
		want.stdout = p.model.logs().stdout // as above, -f may end early with json-file
		d := differs(want.afterLead(), p.ours.follow.wait(t).afterLead())
		r.note("-f --tail 0", p.name, d)
		if d != "" {
			t.Errorf("%s, docker logs -f --tail 0: %s", p.name, d)
		}
	}
	// The two containers have different numbers of lead lines.
	for _, p := range pairs {
		d := differs(p.model.logs().withoutLead(), p.ours.logs().withoutLead())
		r.note("(none)", p.name, d)
		if d != "" {
			t.Errorf("%s, docker logs after two runs: %s", p.name, d)
		}
	}
}

// waitForPlugin waits until the killed plugin answers again.
func waitForPlugin(t *testing.T, l *logged) {
	t.Helper()
	for begun := time.Now(); l.logs("--tail", "0").err != ""; {
		if time.Since(begun) > patience {
			t.Fatal("the plugin does not answer again")
		}
	}
}
