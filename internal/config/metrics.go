package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/logspool/logspool/naming"
)

// MetricsSettings says how the plugin reports about itself.
type MetricsSettings struct {
	// SelfMetrics is the log group for the plugin's own key figures, or empty if it sends none.
	SelfMetrics string
	// MetricsMaxContainers is how many containers have Prometheus metrics of their own.
	MetricsMaxContainers int
}

// parseGroupName reads the name of a log group. It is not changed to a valid one, because
// nobody would look for the figures under another name.
func parseGroupName(text string) (string, error) {
	name := strings.TrimSpace(text)
	if !naming.IsGroup(name) {
		return "", fmt.Errorf("%s is not a log group: use 1 to 512 characters of [.-_/#A-Za-z0-9]", shown(text))
	}
	if strings.HasPrefix(name, "aws/") {
		return "", fmt.Errorf("%s begins with aws/, which is reserved for AWS: use another name", shown(text))
	}
	return name, nil
}

// parseCount reads a number that may be 0.
func parseCount(text string) (int, error) {
	const most = 1_000_000
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s is not a number: use 0 to %d", shown(text), most)
	}
	return n, nil
}
