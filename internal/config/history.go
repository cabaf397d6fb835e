package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// parseHistorySize reads a size, or 0 for none.
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

const (
	minAge = time.Minute
	// maxAge is ten years, the longest that the service keeps an event.
	maxAge = 3653 * 24 * time.Hour
)

// parseAge reads a duration as Go spells it, or seconds.
func parseAge(text string) (time.Duration, error) {
	const allowed = "use a Go duration (168h) or seconds, from 1m to 87672h"
	d, err := readDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: %s", shown(text), allowed)
	}
	if d < minAge || d > maxAge {
		return 0, fmt.Errorf("%s is out of range: %s", shown(text), allowed)
	}
	return d, nil
}

// unlimited is json-file's -1.
const unlimited = math.MaxInt64

// parseFileSize reads a size as json-file does: in powers of 1000, other than the driver's own sizes
// (moby, daemon/logger/jsonfilelog). -1 is without limit, as json-file's documentation has it.
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

// parsePositive reads a positive number.
func parsePositive(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is not a positive number: use 1 or more, without a unit", shown(text))
	}
	return n, nil
}

// filesSize returns how much of a history json-file's max-size and max-file come to, within what a history
// can be: nobody who comes from json-file with more should be kept from starting a container.
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
