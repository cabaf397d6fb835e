package config

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// SpoolLimits says how much the spool of one container keeps. Neither size is larger than
// SpoolTotalSize, unless that is unknown.
type SpoolLimits struct {
	// SpoolMaxSize is the most undelivered bytes.
	SpoolMaxSize int64
	// SpoolFull says which lines are dropped when the spool is full.
	SpoolFull FullPolicy
	// HistorySize is the most delivered bytes that are kept for docker logs; 0 keeps
	// none.
	HistorySize int64
}

// SpoolSettings says how spools are kept. If a size is Unknown, the size that then
// applies counts on top of what is on disk, because an invalid setting must never cause
// data to be deleted.
type SpoolSettings struct {
	// SpoolLimits applies to each container that has no log options for the same.
	SpoolLimits
	// SpoolTotalSize is the most bytes of all spools together.
	SpoolTotalSize int64
	// SpoolSync is the time between fsyncs; 0 means that nothing is fsynced.
	SpoolSync time.Duration
	// HistoryAge is how long the history of a stopped container is kept.
	HistoryAge time.Duration

	// Unknown says which of the sizes have an invalid value.
	Unknown struct{ SpoolMaxSize, SpoolTotalSize, HistorySize bool }
}

// FullPolicy says which lines are dropped when a spool is full.
type FullPolicy string

// The policies. Neither blocks, because a FIFO that nobody reads hangs docker stop.
const (
	DropOldest FullPolicy = "drop-oldest"
	DropNewest FullPolicy = "drop-newest"
)

func parseFullPolicy(text string) (FullPolicy, error) {
	switch p := FullPolicy(strings.ToLower(strings.TrimSpace(text))); p {
	case DropOldest, DropNewest:
		return p, nil
	}
	return "", fmt.Errorf("%s is not a policy: use %s or %s", shown(text), DropOldest, DropNewest)
}

const (
	// minSize is the default capacity of a pipe (pipe(7)). A spool must hold at least
	// that much.
	minSize = 64 * units.KiB
	// maxSize is larger than any disk, and so small that sums of sizes do not overflow.
	maxSize = units.PiB
	// unlimited is what json-file's -1 means.
	unlimited = math.MaxInt64
)

// parseSize reads a number of bytes, with Docker's binary units.
func parseSize(text string) (int64, error) {
	const allowed = "use bytes or Docker's units (256m, 4g), from 64k to 1024t"
	n, err := units.RAMInBytes(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%s is not a size: %s", shown(text), allowed)
	}
	if n < minSize || n > maxSize {
		return 0, fmt.Errorf("%s is out of range: %s", shown(text), allowed)
	}
	return n, nil
}

// parseHistorySize reads a size, or 0.
func parseHistorySize(text string) (int64, error) {
	if n, err := units.RAMInBytes(strings.TrimSpace(text)); err == nil && n == 0 {
		return 0, nil
	}
	n, err := parseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%w, or 0", err)
	}
	return n, nil
}

// parseFileSize reads a size as json-file does, in powers of 1000, unlike the plugin's
// own sizes (moby, daemon/logger/jsonfilelog). As json-file's documentation says, -1
// means no limit.
func parseFileSize(text string) (int64, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "-1" {
		return unlimited, nil
	}
	n, err := units.FromHumanSize(trimmed)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1", shown(text))
	}
	return n, nil
}

// filesSize returns the history size that json-file's max-size and max-file result in. It is
// never out of range: a user who comes from json-file with larger files must still be able to
// start a container.
func filesSize(size, count string, total int64) int64 {
	n, err := parseFileSize(size)
	if err != nil {
		return 0
	}
	files, err := parsePositive(count)
	if err != nil {
		files = 1
	}
	if n > total/int64(files) {
		return total
	}
	return min(max(n*int64(files), minSize), total)
}

// largest returns the upper limit for the size of one spool or history.
func (s *SpoolSettings) largest() int64 {
	if s.Unknown.SpoolTotalSize {
		return unlimited
	}
	return s.SpoolTotalSize
}

// checkTotal returns an error if size is larger than SPOOL_TOTAL_SIZE.
func (s *SpoolSettings) checkTotal(size int64) error {
	if size <= s.largest() {
		return nil
	}
	return fmt.Errorf("%s is more than SPOOL_TOTAL_SIZE (%s): use a smaller size, or raise SPOOL_TOTAL_SIZE",
		units.BytesSize(float64(size)), units.BytesSize(float64(s.SpoolTotalSize)))
}

// within returns size, cut to SPOOL_TOTAL_SIZE, and checkTotal's error.
func (s *SpoolSettings) within(size int64) (int64, error) {
	return min(size, s.largest()), s.checkTotal(size)
}

// fitSizes makes the sizes fit into SPOOL_TOTAL_SIZE. If two settings contradict each
// other, it cuts neither, because nobody can tell which one is wrong.
func (l *loader) fitSizes() {
	s, contradicted := &l.s.SpoolSettings, false
	for _, c := range []struct {
		name    string
		size    int64
		unknown *bool
	}{
		{"SPOOL_MAX_SIZE", s.SpoolMaxSize, &s.Unknown.SpoolMaxSize},
		{"HISTORY_SIZE", s.HistorySize, &s.Unknown.HistorySize},
	} {
		from := l.s.sources[c.name]
		if err := s.checkTotal(c.size); err != nil && from != fromDefault && !*c.unknown {
			l.problems = append(l.problems, rowProblem{Problem: Problem{Setting: from, Text: err.Error(),
				Applies: "the larger size for both, on top of what is on disk"}})
			*c.unknown, contradicted = true, true
		}
	}
	if contradicted {
		s.SpoolTotalSize = max(s.SpoolTotalSize, s.SpoolMaxSize, s.HistorySize)
		s.Unknown.SpoolTotalSize = true
	}
	s.SpoolMaxSize, s.HistorySize = min(s.SpoolMaxSize, s.largest()), min(s.HistorySize, s.largest())
}
