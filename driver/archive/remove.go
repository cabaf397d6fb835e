package archive

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// grace is how long a log is kept at least after the start, however old it is. The host's
// clock may be wrong until it is synchronised.
const grace = time.Hour

// expiry returns when a log that was archived at since is too old. The result has a monotonic
// reading, so only the time from now on counts, and not the host's clock.
func (a *Archive) expiry(since time.Time) time.Time {
	now := time.Now()
	left := a.age - now.Sub(since)
	return now.Add(max(min(left, a.age), min(grace, a.age)))
}

// Next returns when the next log is too old, but at most an hour from now.
func (a *Archive) Next() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := time.Now().Add(time.Hour)
	for _, l := range a.logs {
		if !l.stuck && l.expires.Before(next) {
			next = l.expires
		}
	}
	return next
}

// Expire removes the logs that are too old at now.
func (a *Archive) Expire(now time.Time) {
	a.mu.Lock()
	old := a.removableLocked(func(l *archivedLog) bool { return !now.Before(l.expires) })
	a.mu.Unlock()
	for id, l := range old {
		a.remove(id, l)
	}
}

// trim removes the oldest logs beyond MaxLogs.
func (a *Archive) trim() {
	a.mu.Lock()
	if len(a.logs) <= MaxLogs {
		a.mu.Unlock()
		return
	}
	all := a.removableLocked(func(*archivedLog) bool { return true })
	a.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(all), func(p, q string) int { return all[p].since.Compare(all[q].since) })
	for _, id := range ids[:max(len(ids)-MaxLogs, 0)] {
		a.remove(id, all[id])
	}
}

// removableLocked returns the logs that match, except those that could not be removed.
func (a *Archive) removableLocked(match func(*archivedLog) bool) map[string]*archivedLog {
	logs := maps.Clone(a.logs)
	maps.DeleteFunc(logs, func(_ string, l *archivedLog) bool { return l.stuck || !match(l) })
	return logs
}

// remove removes a log. If that fails, the log is not tried again before the next start.
func (a *Archive) remove(id string, l *archivedLog) {
	switch err := a.evict(id, l); {
	case err == nil || errors.Is(err, errTaken):
		l.counted.Release()
	default:
		a.mu.Lock()
		l.stuck = true
		a.mu.Unlock()
		a.logStuck(id, err)
	}
}

// errTaken says that a log is no longer archived.
var errTaken = errors.New("the container was started again")

// evict removes a log. An Append also calls it, through the budget, when it needs the space.
func (a *Archive) evict(id string, l *archivedLog) error {
	a.mu.Lock()
	if a.logs[id] != l {
		a.mu.Unlock()
		return errTaken
	}
	return a.removeAndUnlock(id)
}

// removeAndUnlock removes a log. It is called with mu held, and unlocks it before most of the
// work. After an error the log is unchanged. What cannot be removed of a hidden log is left
// to the next start.
func (a *Archive) removeAndUnlock(id string) error {
	hidden, err := a.hideLocked(id)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	if err := RemoveTree(a.fs, hidden); err != nil {
		a.logStuck(id, err)
	}
	return nil
}

// hideLocked renames a log that is to be removed. If the plugin crashes afterwards, the next
// start removes it.
func (a *Archive) hideLocked(id string) (hidden string, err error) {
	hidden = filepath.Join(a.Dir, removedPrefix+id)
	if err := RemoveTree(a.fs, hidden); err != nil {
		return "", err
	}
	if err := a.fs.Rename(filepath.Join(a.Dir, id), hidden); err != nil && !notExist(err) {
		return "", err
	}
	delete(a.logs, id)
	return hidden, nil
}

// logStuck logs that a log could not be removed.
func (a *Archive) logStuck(id string, err error) {
	a.log.Warn("cannot remove the archived log of a stopped container", "container", id, "err", err)
}
