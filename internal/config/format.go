package config

import (
	"fmt"
	"strings"
)

// Format says what an event is made of a line.
type Format string

const (
	// FormatText is the line itself.
	FormatText Format = "text"
	// FormatJSON is an object: the line and where it comes from.
	FormatJSON Format = "json"
	// FormatEMF is the line itself, which the service is told to take as embedded metrics.
	FormatEMF Format = "json/emf"
)

func parseFormat(text string) (Format, error) {
	switch f := Format(strings.ToLower(strings.TrimSpace(text))); f {
	case FormatText, FormatJSON, FormatEMF:
		return f, nil
	}
	return "", fmt.Errorf("%s is not a format: use %s, %s or %s", shown(text), FormatText, FormatJSON, FormatEMF)
}

// parseAwslogsFormat reads awslogs's option, which knows one format.
func parseAwslogsFormat(text string) (Format, error) {
	f, err := parseFormat(text)
	if err != nil || f != FormatEMF {
		return "", fmt.Errorf("%s is not a format of awslogs: use %s, or the option format", shown(text), FormatEMF)
	}
	return f, nil
}
