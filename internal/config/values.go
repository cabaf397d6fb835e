package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
)

// The parsers ignore white space around a value. Their errors begin with the value as shown
// returns it, and say what is allowed.

// shown quotes a value for an error, shortened and in one line.
func shown(text string) string {
	const most = 80
	return oneline.Quote(text, most)
}

const (
	// minDuration is the resolution of CloudWatch's timestamps.
	minDuration = time.Millisecond
	// maxDuration is the longest time that one batch may span (API reference, PutLogEvents).
	maxDuration = 24 * time.Hour

	minAge = time.Minute
	// maxAge is ten years, the longest that CloudWatch keeps an event.
	maxAge = 3653 * 24 * time.Hour
)

const durationsAllowed = "use seconds (8) or a Go duration (500ms), from 1ms to 24h"

// parseDuration reads the time between two flushes or fsyncs.
func parseDuration(text string) (time.Duration, error) {
	return parseTime(text, minDuration, maxDuration, durationsAllowed)
}

// parseAge reads how long a history is kept.
func parseAge(text string) (time.Duration, error) {
	return parseTime(text, minAge, maxAge, "use a Go duration (168h) or seconds, from 1m to 87672h")
}

// parseTime reads a number of seconds, or a Go duration.
func parseTime(text string, shortest, longest time.Duration, allowed string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if strings.Trim(trimmed, "+-.0123456789") == "" {
		trimmed += "s"
	}
	d, err := time.ParseDuration(trimmed)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: %s", shown(text), allowed)
	}
	if d < shortest || d > longest {
		return 0, fmt.Errorf("%s is out of range: %s", shown(text), allowed)
	}
	return d, nil
}

// parseSync reads an interval. For off, it returns 0.
func parseSync(text string) (time.Duration, error) {
	if strings.EqualFold(strings.TrimSpace(text), "off") {
		return 0, nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%w, or off", err)
	}
	return d, nil
}

func parsePositive(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is not a positive number: use 1 or more, without a unit", shown(text))
	}
	return n, nil
}

// parseSwitch reads on, off, or a boolean as Docker spells it.
func parseSwitch(text string) (bool, error) {
	switch trimmed := strings.ToLower(strings.TrimSpace(text)); trimmed {
	case "on":
		return true, nil
	case "off":
		return false, nil
	default:
		b, err := strconv.ParseBool(trimmed)
		if err != nil {
			return false, fmt.Errorf("%s is neither on nor off: use on or off", shown(text))
		}
		return b, nil
	}
}

// parseBool reads a boolean as awslogs does (strconv.ParseBool).
func parseBool(text string) (bool, error) {
	b, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		return false, fmt.Errorf("%s is not a boolean: use true or false", shown(text))
	}
	return b, nil
}

// bareHost matches a host name or address without a scheme, with or without a port. awslogs of
// Docker 20.10 passes one to an SDK that puts https:// before it.
var bareHost = regexp.MustCompile(`^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/*$`)

// parseEndpoint reads the base URL of a service. Its error does not repeat a value that may
// contain a password or a token.
func parseEndpoint(text string) (string, error) {
	const allowed = "use http:// or https:// and a host, without user, query or fragment"
	trimmed := strings.TrimSpace(text)
	what := shown(text)
	if strings.ContainsAny(trimmed, "@?#") {
		what = "the value (not shown here)"
	}
	if bareHost.MatchString(trimmed) {
		trimmed = "https://" + trimmed
	}
	u, err := url.Parse(trimmed)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(trimmed, "?#") || !validPort(u.Port()) {
		return "", fmt.Errorf("%s is not the URL of an endpoint: %s", what, allowed)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.Atoi(port)
	return err == nil && 0 < n && n < 1<<16
}

func parsePath(text string) (string, error) {
	path := strings.TrimSpace(text)
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%s is not an absolute path: use one that begins with /", shown(text))
	}
	return filepath.Clean(path), nil
}

// parseSocket reads the path of a socket, which the kernel limits to 107 bytes (unix(7)).
func parseSocket(text string) (string, error) {
	path, err := parsePath(text)
	if err == nil && len(path) > 107 {
		err = fmt.Errorf("%s is too long for a socket: use a path of at most 107 bytes", shown(text))
	}
	return path, err
}
