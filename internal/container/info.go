// Package container declares what dockerd tells a log driver about a container. It is plain
// data, which the driver, the records on disk and the names of groups and streams share.
package container

import (
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
)

// Info is what dockerd says about a container in StartLogging and ReadLogs (moby,
// daemon/logger/loginfo.go). Its JSON is dockerd's, and is also what a container's record on
// disk holds. Maps and lists may be nil.
type Info struct {
	// Config holds the log options as they were given.
	Config map[string]string
	ID     string `json:"ContainerID"`
	// Name begins with Docker's slash when it comes from dockerd.
	Name       string   `json:"ContainerName"`
	Entrypoint string   `json:"ContainerEntrypoint"`
	Args       []string `json:"ContainerArgs"`
	ImageID    string   `json:"ContainerImageID"`
	ImageName  string   `json:"ContainerImageName"`
	// Created is zero in records of old versions.
	Created time.Time `json:"ContainerCreated"`
	// Env holds the container's environment, each entry as KEY=value.
	Env    []string          `json:"ContainerEnv"`
	Labels map[string]string `json:"ContainerLabels"`
	// LogPath is the path of dockerd's own log file. It is empty unless the driver writes one.
	LogPath    string
	DaemonName string
}

// ShortID returns the first 12 characters of an ID, as docker ps shows it.
func ShortID(id string) string { return oneline.Cut(id, shortID) }

const shortID = 12 // bytes

// Label returns what logs and commands call a container: its name and its short ID, as docker ps
// shows them. It is one short line, whatever the name holds. Either part may be empty.
func Label(name, id string) string {
	const maxName = 64 // bytes
	name = oneline.Text(strings.TrimPrefix(name, "/"), maxName)
	id = oneline.Text(ShortID(id), shortID)
	switch {
	case name == "":
		return id
	case id == "":
		return name
	}
	return name + " (" + id + ")"
}
