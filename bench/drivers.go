package main

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

//go:embed yardstick/config.json
var yardstickConfig []byte

// yardstickPlugin makes the yardstick's directory for docker plugin create.
func (b *bench) yardstickPlugin() (dir string, err error) {
	dir = filepath.Join(b.dir, "yardstick-plugin")
	program, err := os.ReadFile(b.yardstick)
	return dir, errors.Join(err,
		os.MkdirAll(filepath.Join(dir, "rootfs", "run", "docker", "logging"), 0o755),
		os.MkdirAll(filepath.Join(dir, "rootfs", "run", "docker", "plugins"), 0o755),
		os.MkdirAll(filepath.Join(dir, "rootfs", "tmp"), 0o755),
		os.WriteFile(filepath.Join(dir, "config.json"), yardstickConfig, 0o644),
		os.WriteFile(filepath.Join(dir, "rootfs", "yardstick"), program, 0o755))
}

// The names of the drivers in a lab, which are also those in the table of their costs.
const (
	awslogsDefault = "awslogs"
	awslogsNoCache = "awslogs, cache-disabled"
	jsonFile       = "json-file"
	localDriver    = "local"
	logspool       = "logspool"
	logspoolPlain  = "logspool, GZIP=off"
	yardstick      = "yardstick"
	yardstickGzip  = "yardstick, gzip"
	discarding     = "plugin that discards"
	atLatency      = ", 30 ms per request"
)

// latency is how long the stand-in waits before it answers, in the rows with latency.
const latency = 30 * time.Millisecond

// drivers returns the drivers with some of the names.
func (b *bench) drivers(names []string) ([]*driver, error) {
	dir, err := b.yardstickPlugin()
	if err != nil {
		return nil, err
	}
	// The stand-in's address is the lab's.
	awslogs := map[string]string{"awslogs-region": engineRegion, "awslogs-endpoint": "", "awslogs-group": "bench", "awslogs-create-group": "true"}
	noCache := map[string]string{"cache-disabled": "true"}
	for k, v := range awslogs {
		noCache[k] = v
	}
	roomy := []string{"SPOOL_MAX_SIZE=2g"} // nothing is dropped
	all := []*driver{
		{name: awslogsDefault, options: awslogs},
		{name: awslogsDefault + atLatency, options: awslogs, latency: latency, seldom: true},
		{name: awslogsNoCache, options: noCache},
		{name: jsonFile, local: true, seldom: true},
		{name: localDriver, local: true, seldom: true},
		{name: logspool, plugin: b.plugin, settings: roomy},
		{name: logspool + atLatency, plugin: b.plugin, settings: roomy, latency: latency},
		{name: logspoolPlain, plugin: b.plugin, settings: append([]string{"GZIP=off"}, roomy...)},
		{name: yardstick, plugin: dir},
		{name: yardstickGzip, plugin: dir, settings: []string{"GZIP=on"}},
		{name: discarding, plugin: dir, settings: []string{"DISCARD=1"}, local: true},
	}
	return slices.DeleteFunc(all, func(d *driver) bool { return !slices.Contains(names, d.name) }), nil
}
