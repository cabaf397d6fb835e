package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/naming"
)

// EventOptions says how a container's lines become events, and which events are sent.
// The log options multiline-pattern and datetime-format set Pattern.
type EventOptions struct {
	Format Format
	// Tag is the log option tag, also if something else names the stream; nil means none.
	Tag *naming.Template
	// Pattern matches the first line of an event; nil means that each line is an event.
	Pattern *regexp.Regexp
	// Traces are the runtimes whose stack traces become one event with the line before them.
	Traces []events.Runtime
	// Include must match an event that is sent; nil matches every event.
	Include *regexp.Regexp
	// Exclude matches the events that are not sent; nil matches nothing.
	Exclude *regexp.Regexp
	// StripANSI says that terminal codes are removed from events.
	StripANSI bool
}

// Format says what an event contains.
type Format string

const (
	// FormatText means the line itself.
	FormatText Format = "text"
	// FormatJSON means an object that holds the line and says where it comes from.
	FormatJSON Format = "json"
	// FormatEMF means the line itself, in a request that tells CloudWatch to extract metrics
	// from it.
	FormatEMF Format = "json/emf"
)

func parseFormat(text string) (Format, error) {
	switch f := Format(strings.ToLower(strings.TrimSpace(text))); f {
	case FormatText, FormatJSON, FormatEMF:
		return f, nil
	}
	return "", fmt.Errorf("%s is not a format: use %s, %s or %s", shown(text), FormatText, FormatJSON, FormatEMF)
}

// parseRuntimes reads the option multiline.
func parseRuntimes(text string) ([]events.Runtime, error) {
	all, bad := events.ParseRuntimes(text)
	if bad == "" {
		return all, nil
	}
	var known []string
	for _, r := range events.Runtimes() {
		known = append(known, string(r))
	}
	return nil, fmt.Errorf("%s is not a runtime whose stack traces the plugin knows: use %s, or several of them separated by commas",
		shown(bad), strings.Join(known, ", "))
}

// parseAwslogsFormat reads awslogs's option, which has only one valid value.
func parseAwslogsFormat(text string) (Format, error) {
	f, err := parseFormat(text)
	if err != nil || f != FormatEMF {
		return "", fmt.Errorf("%s is not a format of awslogs: use %s, or the option format", shown(text), FormatEMF)
	}
	return f, nil
}
