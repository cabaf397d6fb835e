// Package realdocker calls a logging plugin with dockerd's own code (moby, daemon/logger):
// the adapter, which makes the FIFO, sends the requests and writes the frames, and the
// copier, which cuts output into lines. It needs no dockerd. Its tests compare package
// dockertest, which imitates dockerd, with this code.
//
// It has a go.mod of its own, because moby's daemon needs many modules that nothing else
// here needs.
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

// FIFODir is the directory of the FIFOs that moby sends to every plugin, whatever the
// directory is outside the plugin's mount namespace.
const FIFODir = "/run/docker/logging"

// Driver is a logging plugin, as dockerd sees it.
type Driver struct {
	create logger.Creator
}

// NewDriver returns a Driver for the plugin that listens on socket. The FIFOs are in dir,
// and the plugin gets paths in FIFODir. A plugin that has not mounted dir there needs a
// Proxy.
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

// Start starts a container's log and copies its outputs, which are named "stdout" and
// "stderr", until they end. A container with a TTY has only stdout. A request without an
// answer is repeated for 30 s.
func (d *Driver) Start(info logger.Info, outputs map[string]io.Reader) (*Container, error) {
	log, err := d.create(info)
	if err != nil {
		return nil, err
	}
	c := &Container{log: log, copier: logger.NewCopier(outputs, log)}
	c.copier.Run()
	return c, nil
}

// Read reads the container's log through dockerd's adapter, as docker logs does. The caller
// must call ConsumerGone at the end. Read returns an error if the plugin has no capability
// to read.
func (c *Container) Read(ctx context.Context, config logger.ReadConfig) (*logger.LogWatcher, error) {
	reader, ok := c.log.(logger.LogReader)
	if !ok {
		return nil, logger.ErrReadLogsNotSupported{}
	}
	return reader.ReadLogs(ctx, config), nil
}

// Wait waits until the outputs have ended and are in the FIFO, which the plugin must read.
func (c *Container) Wait() { c.copier.Wait() }

// Stop calls Wait, sends StopLogging, waits for the answer, and closes and removes the
// FIFO. In dockerd, the wait is 10 s at most.
func (c *Container) Stop() error {
	c.Wait()
	return c.log.Close()
}

// registry is the plugin store of moby's logger, which has one for the whole process.
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

// plugin implements the interface of a plugin in moby's store.
type plugin struct {
	name   string
	dir    string
	client *plugins.Client
}

func (p *plugin) Name() string             { return p.name }
func (p *plugin) IsV1() bool               { return false }
func (p *plugin) Client() *plugins.Client  { return p.client }
func (p *plugin) ScopedPath(string) string { return p.dir }
