package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// A long name is not cut, and a name that is not printable is one line.
func TestContainerNameIsWhole(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("n", 200): strings.Repeat("n", 200) + " (0123456789ab)",
		"a\n\x1b[31m":            `a \x1b[31m (0123456789ab)`,
		"":                       "0123456789ab",
		"<script>":               "<script> (0123456789ab)",
	} {
		if got := fullName(name, "0123456789abcdef"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// line is a frame as dockerd writes it.
func line(source string, nano int64, text string) []byte {
	p := append([]byte{0x0a, 6}, source...)
	p = binary.AppendUvarint(append(p, 0x10), uint64(nano))
	p = binary.AppendUvarint(append(p, 0x1a), uint64(len(text)))
	p = append(p, text...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

const lineTime = 1_764_472_320_000_000_006 // 2025-11-30T03:12:00.000000006Z

// makeLog makes the directory of a container with three lines, of which some are delivered.
func makeLog(t *testing.T, stateDir, sub, id, name string, delivered int, fifos ...archive.FIFORecord) string {
	t.Helper()
	dir := filepath.Join(stateDir, sub, id)
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(dir, archive.SpoolName), History: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var tracker spool.Tracker
	for i, f := range [][]byte{line("stdout", lineTime, "one"), line("stderr", lineTime+1, "two\xff"), line("stdout", lineTime+2, "three")} {
		info := tracker.All(f)
		tracker.Advance(info)
		if err := s.Append(append(make([]byte, spool.BlockHeaderSize), f...), 1, info); err != nil {
			t.Fatal(err)
		}
		if i+1 == delivered {
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := archive.Record{Info: container.Info{ID: id, Name: "/" + name}, FIFOs: fifos}
	if err := r.Write(durable.OS, dir, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	webID = "aaaa0000000000000000"
	oldID = "aabb0000000000000000"
	dbID  = "bbbb0000000000000000"
)

// makeState makes a state directory with a container that runs, one that has stopped, and an
// archived one of the same name as the first.
func makeState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	makeLog(t, dir, archive.LiveDir, webID, "web", 1, archive.FIFORecord{File: "/f"})
	makeLog(t, dir, archive.LiveDir, dbID, "<db>\x1b", 3)
	makeLog(t, dir, archiveDir, oldID, "web", 3)
	mkdir(t, filepath.Join(dir, archiveDir, ".gone-1"))
	return dir
}

// tree returns the type, time of change and content of everything below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, _ := os.ReadFile(path)
		all[path] = fmt.Sprint(info.Mode(), info.ModTime(), string(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// All commands but drop change nothing.
func TestSpoolCommands(t *testing.T) {
	dir := makeState(t)
	before := tree(t, dir)
	at := time.Unix(0, lineTime).UTC().Format("2006-01-02T15:04:05.00000000")
	for _, test := range []struct {
		args             []string
		exit             int
		stdout, inStderr string // "~" begins what stdout contains
	}{
		{[]string{"ls", "-q"}, 0, `<db>\x1b (bbbb00000000)` + "\nweb (aaaa00000000)\nweb (aabb00000000)\n", ""},
		{[]string{"ls", "-q", "-u"}, 1, "web (aaaa00000000)\n", ""},
		{[]string{"ls"}, 0, "~web (aaaa00000000)        running    2 lines, ", ""},
		{[]string{"ls"}, 0, "~web (aabb00000000)        archived   0              -", ""},
		{[]string{"ls", "--json", "-u"}, 1, `~"state":"running","undelivered":{"lines":2,"bytes":`, ""},
		{[]string{"cat", "web"}, 0, "one\nthree\n", "two\ufffd\n"},
		{[]string{"cat", oldID}, 0, "one\nthree\n", "two\ufffd\n"},
		{[]string{"cat", "web", "-u", "-t"}, 0, at + "8Z three\n", at + "7Z two\ufffd\n"},
		{[]string{"cat", `<db>\x1b`, "-u"}, 0, "", ""},
		{[]string{"export", "web"}, 0, "~Z stdout three\n", ""},
		{[]string{"export", "web", "--json"}, 0, "~\"log\":\"three\"}\n", ""},
		{[]string{"export", oldID}, 0, "", ""},
		{[]string{"verify"}, 0, "~verified 3 containers, 3 segments, 9 blocks, ", ""},
		{[]string{"verify", "aaaa"}, 0, "~: nothing is damaged\n", ""},
		{[]string{"cat", "aa"}, 0, "one\nthree\n", "two\ufffd\n"}, // the one that is not archived
		{[]string{"cat", "nosuch"}, 2, "", `there is no such container: "nosuch": logspool spool ls lists`},
	} {
		exit, out, errs := run(t, append([]string{"spool", "--state-dir", dir}, test.args...)...)
		ok := out == test.stdout
		if want, part := strings.CutPrefix(test.stdout, "~"); part {
			ok = strings.Contains(out, want)
		}
		if exit != test.exit || !ok || !strings.Contains(errs, test.inStderr) || test.inStderr == "" && errs != "" {
			t.Errorf("%q: %d, %q, %q", test.args, exit, out, errs)
		}
	}
	if _, out, _ := run(t, "__complete", "spool", "cat", "--state-dir", dir, ""); out != "<db>\\x1b\nweb\n:4\n" {
		t.Errorf("completed %q", out)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("files have changed: %s", diff)
	}
	var l listed
	_, out, _ := run(t, "spool", "ls", "-u", "--json", dir)
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Undelivered.Oldest.UnixNano() != lineTime+1 || l.History < 20 || l.Disk < 4096 {
		t.Errorf("%+v, %v", l, err)
	}
}

// A record or spool that cannot be read, or is of a newer version, is one line.
func TestSpoolCommandsOnBadDirectories(t *testing.T) {
	segment := filepath.Join(archive.SpoolName, "0000000000000000.seg")
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir, web string)
		exits  string // of ls -u, cat, export and verify
		want   string // in the output of verify
	}{
		{"nothing", func(*testing.T, string, string) {}, "1000", "nothing is damaged"},
		{"damaged record", func(t *testing.T, _, web string) { write(t, filepath.Join(web, archive.RecordName), "{") }, "1001", "attachments.json, offset 0: couldn't read"},
		{"no record", func(t *testing.T, _, web string) { remove(t, filepath.Join(web, archive.RecordName)) }, "1001", "there is no record"},
		{"damaged block", func(t *testing.T, _, web string) { flipByte(t, filepath.Join(web, segment), 40+64+10) }, "1001", "offset 40: bad block at position 0: checksum"},
		{"newer segment", func(t *testing.T, _, web string) { flipByte(t, filepath.Join(web, segment), 7) }, "1220", "note: web (aaaa00000000): "},
		{"newer cursor", func(t *testing.T, _, web string) {
			write(t, filepath.Join(web, archive.SpoolName, "cursor"), "LSPLCUR9 etc")
		}, "1220", "a newer version of the plugin wrote this cursor"},
		{"foreign files", func(t *testing.T, _, web string) {
			write(t, filepath.Join(web, archive.SpoolName, "notes.txt"), "x")
			write(t, filepath.Join(web, archive.SpoolName, "zzzz.seg"), "x")
		}, "1000", "nothing is damaged"},
		{"a file instead of the spool", func(t *testing.T, _, web string) {
			remove(t, filepath.Join(web, archive.SpoolName))
			write(t, filepath.Join(web, archive.SpoolName), "")
		}, "1221", "not a directory"},
		{"no spool", func(t *testing.T, _, web string) { remove(t, filepath.Join(web, archive.SpoolName)) }, "0221", "there is no spool"},
		{"a file instead of the container", func(t *testing.T, _, web string) { remove(t, web); write(t, web, "") }, "0220", ""},
		{"no container", func(t *testing.T, dir, _ string) { remove(t, filepath.Join(dir, archive.LiveDir)) }, "0222", ""},
		{"foreign directory", func(t *testing.T, dir, _ string) {
			remove(t, filepath.Join(dir, archive.LiveDir))
			write(t, filepath.Join(dir, "passwd"), "x")
		}, "2222", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			web := makeLog(t, dir, archive.LiveDir, webID, "web", 1)
			test.change(t, dir, web)
			before := tree(t, dir)
			exits, verified := "", ""
			for _, args := range [][]string{{"ls", "-u"}, {"cat", webID}, {"export", webID}, {"verify", webID}} {
				exit, out, errs := run(t, append([]string{"spool", "--state-dir", dir}, args...)...)
				exits, verified = exits+fmt.Sprint(exit), out
				if exit == 2 && (strings.Count(errs, "\n") != 1 || out != "") || exit != 2 && args[0] != "cat" && errs != "" {
					t.Errorf("%q: %d, %q, %q", args, exit, out, errs)
				}
			}
			if exits != test.exits || !strings.Contains(verified, test.want) {
				t.Errorf("exit status %s, want %s; %q, want %q", exits, test.exits, verified, test.want)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("files have changed: %s", diff)
			}
		})
	}
}

// A plugin that has just started has made only some of its files.
func TestStateDirectoryOfAPluginThatStarts(t *testing.T) {
	for _, name := range []string{status.RunningMark, status.SocketName} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), "")
		if exit, out, errs := run(t, "spool", "ls", "-u", "--state-dir", dir); exit != 0 {
			t.Errorf("%s: %d, %q, %q", name, exit, out, errs)
		}
	}
}

// The lines of an ignored container never become delivered, so nothing must wait for them. A
// setting can forbid containers to ask for that.
func TestIgnoredContainerHasNoUndeliveredLines(t *testing.T) {
	for env, want := range map[string]int{"": 0, `"CONTAINER_ENV=off"`: 1} {
		state := fakeDocker(t, t.TempDir(), fakePlugin{name: "p", env: env})
		dir := makeLog(t, state, archive.LiveDir, webID, "web", 1)
		r := archive.Record{Info: container.Info{ID: webID, Name: "/web", Env: []string{"LOGSPOUT=ignore"}}}
		if err := r.Write(durable.OS, dir, false); err != nil {
			t.Fatal(err)
		}
		if exit, out, errs := run(t, "spool", "ls", "-u"); exit != want || errs != "" {
			t.Errorf("with %s: %d, %q, %q", env, exit, out, errs)
		}
		if exit, out, _ := run(t, "spool", "ls"); exit != 0 || strings.Contains(out, "ignored") != (want == 0) {
			t.Errorf("with %s: %d, %q", env, exit, out)
		}
		if exit, out, _ := run(t, "spool", "ls", "-u", "--state-dir", state); exit != 1 {
			t.Errorf("without the settings: %d, %q", exit, out)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func flipByte(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 3
	write(t, path, string(data))
}

// Whatever bytes are damaged, each command ends with an exit status and one line per error,
// and changes nothing.
func TestSpoolCommandsOnDamagedBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	dir := makeState(t)
	var files []string
	for path := range tree(t, dir) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			files = append(files, path)
		}
	}
	slices.Sort(files)
	for range 30 {
		path := files[random.IntN(len(files))]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(whole)
		switch random.IntN(3) {
		case 0:
			data[random.IntN(len(data))] ^= byte(1 + random.IntN(255))
		case 1:
			data = data[:random.IntN(len(data))]
		default:
			for range 20 {
				data[random.IntN(len(data))] = byte(random.IntN(256))
			}
		}
		write(t, path, string(data))
		before := tree(t, dir)
		for _, args := range [][]string{{"ls"}, {"ls", "-u", "--json"}, {"cat", webID}, {"cat", "-u", webID}, {"export", webID}, {"cat", oldID}, {"verify"}} {
			exit, _, errs := run(t, append([]string{"spool", "--state-dir", dir}, args...)...)
			if exit == 2 && strings.Count(errs, "\n") != 1 {
				t.Errorf("%s: %q: %d, %q", path, args, exit, errs)
			}
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Fatalf("files have changed: %s", diff)
		}
		write(t, path, string(whole))
	}
}
