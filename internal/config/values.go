package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/internal/oneline"
)

// The parsers take white space around a value. Their errors begin with the value as shown says it,
// and say what is allowed.

// shown quotes a value for an error, shortened and in one line.
func shown(text string) string {
	const most = 80
	return oneline.Quote(text, most)
}

const (
	// minDuration is the resolution of the service's timestamps.
	minDuration = time.Millisecond
	// maxDuration is the longest time that one batch may span (API reference, PutLogEvents).
	maxDuration = 24 * time.Hour
)

const durationsAllowed = "use seconds (8) or a Go duration (500ms), greater than 0: from 1ms to 24h"

// parseDuration reads seconds, or a duration as Go spells it.
func parseDuration(text string) (time.Duration, error) {
	d, err := readDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: %s", shown(text), durationsAllowed)
	}
	if d < minDuration || d > maxDuration {
		return 0, fmt.Errorf("%s is out of range: %s", shown(text), durationsAllowed)
	}
	return d, nil
}

func readDuration(text string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if strings.Trim(trimmed, "+-.0123456789") == "" {
		trimmed += "s"
	}
	return time.ParseDuration(trimmed)
}

// parseSync reads an interval, or off, which is 0.
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

const (
	// minSize is what a pipe holds by default (pipe(7)): a spool must take at least that.
	minSize = 64 * units.KiB
	// maxSize is far over any disk, and far from where sums of sizes overflow.
	maxSize = units.PiB
)

// parseSize reads a number of bytes with Docker's binary units.
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

func parseFullPolicy(text string) (FullPolicy, error) {
	switch p := FullPolicy(strings.ToLower(strings.TrimSpace(text))); p {
	case DropOldest, DropNewest:
		return p, nil
	}
	return "", fmt.Errorf("%s is not a policy: use %s or %s", shown(text), DropOldest, DropNewest)
}

// parseSwitch reads on or off, and what Docker calls a boolean.
func parseSwitch(text string) (bool, error) {
	switch trimmed := strings.ToLower(strings.TrimSpace(text)); trimmed {
	case "on":
		return true, nil
	case "off":
		return false, nil
	default:
		b, err := strconv.ParseBool(trimmed)
		if err != nil {
			return false, fmt.Errorf("%s is neither on nor off: use one of them", shown(text))
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

// regionSyntax is that of AWS's regions in all partitions: eu-west-1, us-gov-east-1, us-isob-east-1,
// eusc-de-east-1. Whether there is such a region, only AWS knows.
var regionSyntax = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// parseRegion reads a region, or auto, which is the empty string.
func parseRegion(text string) (string, error) {
	region := strings.TrimSpace(text)
	if strings.EqualFold(region, "auto") {
		return "", nil
	}
	if !regionSyntax.MatchString(region) {
		return "", fmt.Errorf("%s is not a region: use one such as eu-west-1, or auto", shown(text))
	}
	return region, nil
}

// bareHost is a host's name or address with a port or without, and no scheme: awslogs of Docker 20.10
// hands it to SDKs that put https:// before it.
var bareHost = regexp.MustCompile(`^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/*$`)

// parseEndpoint reads the base URL of a service. A refused one that may have a password or a token in
// it is not repeated.
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
