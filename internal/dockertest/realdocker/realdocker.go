// Package realdocker drives a logging plugin's socket with dockerd's own code: the adapter, which
// makes the FIFO, sends the requests and writes the frames, and the copier, which cuts output into
// lines (moby, daemon/logger). It needs no daemon. Where package dockertest is what we believe of
// dockerd, this is what is so.
//
// It has a go.mod of its own, because moby's daemon brings many modules that nothing else here
// needs.
package realdocker

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"
)

// ToldDir is the directory of the FIFOs as moby tells it to every plugin, whatever it is outside the
// plugin's mount namespace.
const ToldDir = "/run/docker/logging"

// Driver is one logging plugin, as dockerd sees it.
type Driver struct {
	create logger.Creator
}

// NewDriver makes a Driver of the plugin that listens on socket. Its FIFOs are in dir, and the plugin
// is told that they are in ToldDir: a plugin that does not map the one to the other is reached
// through a Proxy.
func NewDriver(socket, dir string) (*Driver, error) {
	client, err := plugins.NewClient("unix://"+socket, nil)
	if err != nil {
		return nil, err
	}
	register.Do(func() { logger.RegisterPluginGetter(&registry) })
	create, err := logger.GetLogDriver(registry.add(&plugin{dir: dir, client: client}))
	if err != nil {
		return nil, err
	}
	return &Driver{create}, nil
}

// Container is the log of one container.
type Container struct {
	log    logger.Logger
	copier *logger.Copier
}

// Start begins a container's log and copies its outputs, by the names "stdout" and "stderr", until
// they end. A container with a TTY has the first one only. A request that gets no answer is tried
// again for 30 s.
func (d *Driver) Start(info logger.Info, outputs map[string]io.Reader) (*Container, error) {
	log, err := d.create(info)
	if err != nil {
		return nil, err
	}
	c := &Container{log: log, copier: logger.NewCopier(outputs, log)}
	c.copier.Run()
	return c, nil
}

// Read reads the container's log as docker logs does, through dockerd's adapter. It must be told
// ConsumerGone when no more is wanted. The error is that the plugin has said that it cannot read.
func (c *Container) Read(ctx context.Context, config logger.ReadConfig) (*logger.LogWatcher, error) {
	reader, ok := c.log.(logger.LogReader)
	if !ok {
		return nil, logger.ErrReadLogsNotSupported{}
	}
	return reader.ReadLogs(ctx, config), nil
}

// Wait waits until all that the outputs gave is in the FIFO. The outputs must end, and the FIFO must
// be read.
func (c *Container) Wait() { c.copier.Wait() }

// Stop waits, sends StopLogging, and when it has been answered closes and removes the FIFO. (dockerd
// waits for 10 s at most.)
func (c *Container) Stop() error {
	c.Wait()
	return c.log.Close()
}

// registry is the plugin store that moby's logger asks; it has one for the whole process.
var (
	registry getter
	register sync.Once
)

type getter struct {
	mu      sync.Mutex
	plugins map[string]*plugin
}

// add gives p a name and returns it.
func (g *getter) add(p *plugin) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.plugins == nil {
		g.plugins = map[string]*plugin{}
	}
	p.name = fmt.Sprintf("plugin%d", len(g.plugins))
	g.plugins[p.name] = p
	return p.name
}

func (g *getter) Get(name, _ string, _ int) (plugingetter.CompatPlugin, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.plugins[name]; p != nil {
		return p, nil
	}
	return nil, os.ErrNotExist
}

func (g *getter) GetAllByCap(string) ([]plugingetter.CompatPlugin, error)      { return nil, nil }
func (g *getter) GetAllManagedPluginsByCap(string) []plugingetter.CompatPlugin { return nil }
func (g *getter) Handle(string, func(string, *plugins.Client))                 {}

// plugin is a plugin as moby's store describes it.
type plugin struct {
	name   string
	dir    string
	client *plugins.Client
}

func (p *plugin) Name() string             { return p.name }
func (p *plugin) IsV1() bool               { return false }
func (p *plugin) Client() *plugins.Client  { return p.client }
func (p *plugin) ScopedPath(string) string { return p.dir }
