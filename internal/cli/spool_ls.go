package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/spool"
)

// listed is one container of spool ls, and one JSON object of spool ls --json.
type listed struct {
	ID          string   `json:"id"`
	Name        string   `json:"name,omitempty"`
	State       string   `json:"state"`
	Undelivered *waiting `json:"undelivered"`
	History     int64    `json:"history_bytes"`
	Disk        int64    `json:"disk_bytes"`
	Dir         string   `json:"dir"`
	Error       string   `json:"error,omitempty"`
	Gaps        *int     `json:"gaps"`
	log         containerLog
}

// waiting is what waits for delivery. It is nil in listed if the spool cannot be read.
type waiting struct {
	Lines  int       `json:"lines"` // with pieces of long lines
	Bytes  int64     `json:"bytes"`
	Oldest time.Time `json:"oldest,omitzero"`
}

func newSpoolLs(w *where) *cobra.Command {
	var onlyUndelivered, quiet, asJSON bool
	c := &cobra.Command{
		Use:     "ls [STATE_DIR]",
		Aliases: []string{"list"},
		Short:   "List the containers with a spool",
		Long: "ls lists the containers that run, that have undelivered lines, or whose history is kept.\n" +
			"GAPS is the number of losses that no marker has reported yet. Lines that a container asks not to\n" +
			"deliver (LOGSPOUT=ignore) are history, if the plugin's settings are known.\n\n" +
			"With --undelivered, the exit status is 0 if everything is delivered and 1 if not. A spool\n" +
			"that cannot be read counts as undelivered.",
		Example: "  logspool spool ls\n" +
			"  logspool spool ls --undelivered || echo 'do not remove the plugin yet'\n" +
			"  logspool spool ls --json --state-dir /backup/state",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && (w.stateDir != "" || w.plugin != "") {
				return errors.New("the state directory was named twice: as an argument, and by a flag")
			} else if len(args) > 0 {
				w.stateDir = args[0]
			}
			var all []listed
			dir, p, err := w.find(c.Context())
			if err == nil {
				all, err = list(dir, settingsOf(p), onlyUndelivered)
			}
			if err != nil && !errors.Is(err, errNeverEnabled) { // such a plugin has no lines
				return err
			}
			switch out := c.OutOrStdout(); {
			case asJSON:
				err = writeListJSON(out, all)
			case quiet:
				for _, l := range all {
					fmt.Fprintln(out, l.log.full())
				}
			default:
				err = writeList(out, all, time.Now())
			}
			if err == nil && onlyUndelivered && len(all) > 0 {
				return errBad
			}
			return err
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	c.Flags().BoolVarP(&onlyUndelivered, "undelivered", "u", false, "list only containers with undelivered lines; exit with 1 if there is one")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only names and IDs")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per container")
	return c
}

// settingsOf returns the settings of a plugin, or nil without a plugin.
func settingsOf(p *installed.Plugin) *config.Settings {
	if p == nil {
		return nil
	}
	s, _ := config.Load(p.Environ()) // without invalid settings
	return s
}

// list describes the containers in the state directory. settings may be nil.
func list(stateDir string, settings *config.Settings, onlyUndelivered bool) ([]listed, error) {
	logs, err := listLogs(stateDir)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, l := range logs {
		if l.archived && onlyUndelivered {
			continue
		}
		d, ok := describe(l)
		if d.Undelivered != nil && d.State != "archived" && l.ignored(settings) {
			d.State = "ignored"
			d.History += d.Undelivered.Bytes
			d.Undelivered, d.Gaps = &waiting{}, new(int)
		}
		if ok && (!onlyUndelivered || !d.delivered()) {
			all = append(all, d)
		}
	}
	return all, nil
}

// delivered reports whether nothing waits. It is false if that is not known.
func (d *listed) delivered() bool {
	return d.Undelivered != nil && d.Undelivered.Lines == 0 && *d.Gaps == 0
}

// describe reads the spool of a container. ok is false if the plugin has removed it meanwhile.
func describe(l containerLog) (d listed, ok bool) {
	if !exists(l.dir) && !l.archived { // archived meanwhile, or removed
		l.dir, l.archived, l.running = filepath.Join(filepath.Dir(filepath.Dir(l.dir)), archiveDir, l.id), true, false
	}
	if !exists(l.dir) {
		return d, false
	}
	d = listed{ID: l.id, Name: l.name, State: l.state(), Dir: l.dir, log: l, Disk: archive.Usage(durable.OS, l.dir)}
	if l.archived {
		info, err := spool.Inspect(nil, l.spoolDir())
		if errors.Is(err, fs.ErrNotExist) {
			return d, exists(l.dir)
		} else if err != nil {
			d.Error = spoolError(&l, err).Error()
			return d, true
		}
		d.Undelivered, d.Gaps, d.History = &waiting{}, new(int), info.Bytes
		return d, true
	}
	b, err := spool.Undelivered(nil, l.spoolDir())
	switch {
	case err != nil:
		d.Error = spoolError(&l, err).Error()
	case b == spool.Backlog{} && !exists(l.dir):
		return describe(l)
	default:
		d.Undelivered = &waiting{Lines: b.Frames, Bytes: b.Bytes, Oldest: b.Oldest}
		d.Gaps, d.History = &b.Gaps, b.Delivered
	}
	return d, true
}

func exists(dir string) bool { return checkDir(dir) == nil }

func writeListJSON(w io.Writer, all []listed) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, l := range all {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func writeList(w io.Writer, all []listed, now time.Time) error {
	t := &table{columns: []column{
		{title: "CONTAINER", least: 20}, {title: "STATE"}, {title: "UNDELIVERED"}, {title: "OLDEST"},
		{title: "GAPS"}, {title: "HISTORY"}, {title: "ON DISK", drop: 1},
	}}
	for _, l := range all {
		waits, oldest, gaps := "unknown", "?", "?"
		if u := l.Undelivered; u != nil {
			if waits, oldest = "0", "-"; u.Lines > 0 {
				waits = plural(int64(u.Lines), "line") + ", " + size(u.Bytes)
			}
			if !u.Oldest.IsZero() {
				oldest = age(now.Sub(u.Oldest))
			}
			gaps = fmt.Sprint(*l.Gaps)
		}
		t.add(l.log.full(), l.State, waits, oldest, gaps, size(l.History), size(l.Disk))
	}
	width, _ := terminalSize(w)
	if err := t.write(w, width); err != nil {
		return err
	}
	for _, l := range all {
		if l.Error != "" {
			if _, err := fmt.Fprintln(w, l.Error); err != nil {
				return err
			}
		}
	}
	return nil
}
