package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/status"
)

// containerLog is the directory of a container in a state directory.
type containerLog struct {
	id   string
	name string // name is empty without a readable record.
	dir  string
	// archived says that the container has stopped and everything is delivered.
	archived bool
	// running says that the container ran when the plugin last wrote its record.
	running bool
	info    container.Info // info is empty without a readable record.
}

// ignored reports whether the plugin with these settings never sends the container's lines. It
// is false if the settings are not known.
func (l *containerLog) ignored(settings *config.Settings) bool {
	if settings == nil {
		return false
	}
	c, _ := settings.Container(l.info.Config, l.info.Env, l.info.Labels) // without invalid options
	return c.Ignore
}

func (l *containerLog) spoolDir() string { return filepath.Join(l.dir, archive.SpoolName) }

// full returns the name and the short ID.
func (l *containerLog) full() string { return fullName(l.name, l.id) }

func (l *containerLog) state() string {
	switch {
	case l.archived:
		return "archived"
	case l.running:
		return "running"
	}
	return "stopped"
}

// archiveDir is the directory of archived logs, in the state directory.
const archiveDir = "stopped"

// listLogs returns the containers in a state directory, in order of name.
func listLogs(stateDir string) ([]containerLog, error) {
	if err := checkStateDir(stateDir); err != nil {
		return nil, err
	}
	byID := map[string]containerLog{}
	// A running plugin moves a log from one directory to the other. So the first one is read
	// again, and no log is missed.
	for _, sub := range []string{archive.LiveDir, archiveDir, archive.LiveDir} {
		entries, err := os.ReadDir(filepath.Join(stateDir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, dirError(filepath.Join(stateDir, sub), err)
		}
		for _, e := range entries {
			if archive.ValidID(e.Name()) {
				byID[e.Name()] = containerLog{id: e.Name(), dir: filepath.Join(stateDir, sub, e.Name()), archived: sub == archiveDir}
			}
		}
	}
	all := make([]containerLog, 0, len(byID))
	for _, l := range byID {
		// Without a record, the ID is enough.
		if r, err := archive.ReadRecord(durable.OS, l.dir); err == nil {
			l.info, l.name, l.running = r.Info, strings.TrimPrefix(r.Info.Name, "/"), len(r.FIFOs) > 0 && !l.archived
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b containerLog) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return all, nil
}

// checkStateDir returns an error if stateDir cannot be the state directory of a plugin.
func checkStateDir(stateDir string) error {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return dirError(stateDir, err)
	}
	for _, e := range entries {
		switch e.Name() {
		case archive.LiveDir, archiveDir, status.SocketName, status.RunningMark:
			return nil
		}
	}
	if len(entries) == 0 { // a plugin that has not started any container
		return nil
	}
	return fmt.Errorf("%s is not the state directory of a logspool plugin: it has neither %s nor %s", printable(stateDir), archive.LiveDir, archiveDir)
}

// findLog returns the container that arg names in the state directory. If it names several, the
// only one that is not archived is meant.
func findLog(stateDir, arg string) (*containerLog, error) {
	all, err := listLogs(stateDir)
	if err != nil {
		return nil, err
	}
	ids := func(logs []containerLog) (ids []identity) {
		for _, l := range logs {
			ids = append(ids, identity{l.id, l.name})
		}
		return ids
	}
	i, err := choose(ids(all), arg)
	if errors.Is(err, errNoContainer) {
		return nil, fmt.Errorf("%w: logspool spool ls lists those that have a spool", err)
	} else if err == nil {
		return &all[i], nil
	}
	live := slices.DeleteFunc(slices.Clone(all), func(l containerLog) bool { return l.archived })
	if i, liveErr := choose(ids(live), arg); liveErr == nil {
		return &live[i], nil
	}
	return nil, err
}

// log returns the container that arg names.
func (w *where) log(ctx context.Context, arg string) (*containerLog, error) {
	dir, _, err := w.find(ctx)
	if err != nil {
		return nil, err
	}
	return findLog(dir, arg)
}
