package installed

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Running returns the IDs of the running containers. It blocks for the docker command, but no
// longer than ctx.
func Running(ctx context.Context) ([]string, error) {
	out, err := docker(ctx, "ps", "--quiet", "--no-trunc")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// maxInspected is how many containers one docker inspect names, because the kernel limits the
// size of a command line.
const maxInspected = 1000

// CountDriver returns how many of the containers use the log driver of that name. It blocks
// for the docker command, but no longer than ctx.
func CountDriver(ctx context.Context, ids []string, driver string) (n int, err error) {
	for part := range slices.Chunk(ids, maxInspected) {
		out, err := docker(ctx, append([]string{"inspect", "--format", "{{.HostConfig.LogConfig.Type}}", "--"}, part...)...)
		if err != nil {
			return 0, err
		}
		for name := range strings.FieldsSeq(string(out)) {
			if Reference(name) == Reference(driver) {
				n++
			}
		}
	}
	return n, nil
}

// Enabled reports whether the plugin of that name, of whatever kind, is enabled. The error
// says that there is none, or that the engine did not answer. It blocks for the docker
// command, but no longer than ctx.
func Enabled(ctx context.Context, name string) (bool, error) {
	out, err := docker(ctx, "plugin", "inspect", "--format", "{{.Enabled}}", "--", name)
	if err != nil {
		return false, err
	}
	enabled, err := strconv.ParseBool(strings.TrimSpace(string(out)))
	if err != nil {
		return false, fmt.Errorf("couldn't read the answer of docker plugin inspect: %w", err)
	}
	return enabled, nil
}

// Reference returns a plugin's name with its tag, as the engine lists it.
func Reference(name string) string {
	if strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		return name
	}
	return name + ":latest"
}
