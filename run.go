package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/driver"
	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/dnswatch"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/privileges"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/uploader"
)

const (
	// fifoDir is where dockerd makes the FIFOs, and the plugin's propagated mount, which outlives it
	// (moby, daemon/logger/adapter.go and plugin/v2).
	fifoDir = "/run/docker/logging"

	// engineSocket is where config.json mounts the engine's socket.
	engineSocket = "/run/docker.sock"

	// awsMount is where config.json mounts the directory of AWS's shared files.
	awsMount = "/.aws"

	// ssoDir is the directory in the state directory for tokens of IAM Identity Center.
	ssoDir = "sso"

	// dockerd kills a plugin 10 s after SIGTERM. Of the 5 s that stopping may take, this is for the last
	// uploads; the rest is for the disk.
	lastUploads = 3 * time.Second
)

// run is the plugin: it returns when ctx is done and everything has been stopped, or when it cannot listen.
// Nothing else ends it, because dockerd disables a plugin that exits at start; but see package dnswatch. It drops
// privileges of the process when it is the plugin's first process (PID 1), and nowhere else.
func run(ctx context.Context, environ []string, stdout, stderr io.Writer) error {
	settings, problems := config.Load(environ)
	lines := newLineWriter(stdout, stderr)
	defer lines.Close()
	log := newLogger(lines, settings.Debug)
	slog.SetDefault(log)

	// Listen before anything that may take time: dockerd waits for the socket.
	listener, err := listen(settings.PluginSocket)
	if err != nil {
		return err
	}
	defer listener.Close()

	env, noDNS := newEnv(settings, log)
	host, err := os.Hostname()
	if err != nil {
		log.Warn("the host's name is not known", "err", err)
	}
	problems = append(problems, settings.CheckDefaultGroup(host)...)
	defer reportProblems(log, problems)()
	up := newUploader(settings, env, log)
	d, err := driver.New(driver.Options{
		Settings:     settings,
		Deliverer:    deliverer{up},
		Locator:      env,
		LoggerHost:   host,
		FIFODir:      allowedFIFODir(settings.StateDir),
		EngineSocket: engineSocket,
		Log:          log,
	})
	if err != nil {
		return err
	}

	served := make(chan error, 1)
	go func() { served <- d.Handler().Serve(listener) }()
	log.Info("logspool listens", "version", version, "socket", settings.PluginSocket)
	d.Start()

	select {
	case <-ctx.Done():
		err = nil
	case <-noDNS:
		err = nil
	case err = <-served:
		err = fmt.Errorf("couldn't serve %s: %w", settings.PluginSocket, err)
	}
	return errors.Join(err, shutDown(log, listener, d, up))
}

// newEnv returns what the plugin knows of AWS, and a channel that is closed when the plugin should stop because it has no
// working DNS. It then gives up privileges, which takes knowing which files of AWS's there are.
func newEnv(settings *config.Settings, log *slog.Logger) (*awsenv.Env, <-chan struct{}) {
	o := awsenv.Options{
		Region: settings.Region, NoEC2: settings.NoEC2, CacheDir: filepath.Join(settings.StateDir, ssoDir), Log: log,
	}
	var noDNS <-chan struct{}
	inDocker := os.Getpid() == 1 // then dockerd starts this process again
	if inDocker {
		watch := dnswatch.New(settings.StateDir, dnswatch.Replaced(), log)
		o.Resolved, noDNS = watch.Resolved, watch.Due()
	}
	env := awsenv.New(o)
	if inDocker {
		dropPrivileges(log)
		checkAWSMount(log, awsMount)
	}
	return env, noDNS
}

func newUploader(settings *config.Settings, env *awsenv.Env, log *slog.Logger) *uploader.Uploader {
	return uploader.New(uploader.Options{
		Config:  env.Config,
		Plain:   !settings.Gzip,
		Version: version,
		Log:     log,
	})
}

// shutDown stops the parts in the order in which bytes go through them, so that what one stage has taken the
// next can still keep: no new containers, no more bytes out of FIFOs, what was spooled on the disk, a last try at
// delivering it, and then the spools are closed. What is not delivered by then is delivered after the next start.
func shutDown(log *slog.Logger, listener net.Listener, d *driver.Driver, up *uploader.Uploader) error {
	begun := time.Now()
	listener.Close()
	d.StopIntake()
	err := d.Sync()
	ctx, cancel := context.WithTimeout(context.Background(), lastUploads)
	defer cancel()
	_ = up.Stop(ctx) // what it did not deliver in time, Close reports
	err = errors.Join(err, d.Close())
	log.Info("logspool stopped", "after", time.Since(begun).Round(time.Millisecond))
	return err
}

// listen listens on the socket at path, in the place of a dead one that an earlier process left behind.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("couldn't make the directory of the socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("PLUGIN_SOCKET: %s is in use by another process", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("couldn't remove a dead socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("couldn't listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("couldn't restrict the socket: %w", err)
	}
	return l, nil
}

// allowedFIFODir is the only directory from which FIFOs are taken where the state directory says that this is
// the plugin in Docker; elsewhere, such as in tests, they may be anywhere.
func allowedFIFODir(stateDir string) string {
	if strings.HasPrefix(stateDir, fifoDir+"/") {
		return fifoDir
	}
	return ""
}

// checkAWSMount logs when the plugin's own directory at dockerd is mounted in the place of the AWS files. An empty source
// is the path of that directory to runc, which resolves relative sources there (runc, libcontainer/specconv).
func checkAWSMount(log *slog.Logger, dir string) {
	spec, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil && bytes.Contains(spec, []byte(`"ociVersion"`)) {
		log.Error("aws.source is empty or relative; there are no AWS files",
			"hint", "set it to the absolute path of a directory on the host, or to /sys/module for none: docker plugin set logspool aws.source=/sys/module")
	}
}

// dropPrivileges gives up what dockerd gives to every plugin, but for what it takes to read mounted AWS files
// of another user.
func dropPrivileges(log *slog.Logger) {
	keep, err := privileges.ToRead(awsenv.Files()...)
	if err != nil {
		log.Warn("AWS files cannot be looked at", "err", err)
	}
	dropped, err := privileges.Drop(keep)
	switch {
	case err != nil:
		log.Warn("capabilities could not be dropped", "err", err)
	case keep != 0:
		log.Info("capabilities dropped", "dropped", dropped, "kept for the AWS files", keep)
	default:
		log.Debug("capabilities dropped", "dropped", dropped)
	}
}

// reportProblems logs each invalid setting, at once and every ten minutes until stop is called: a setting
// is read once, so it stays invalid until the next start.
func reportProblems(log *slog.Logger, problems []config.Problem) (stop func()) {
	faults := make([]*faultlog.Fault, len(problems))
	for i := range problems {
		faults[i] = faultlog.NewFault(log, "a setting is invalid", "", nil)
	}
	report := func() {
		for i, p := range problems {
			faults[i].Failed(p.Setting, "setting", p.Setting, "err", p.Text, "applies", p.Applies)
		}
	}
	report()
	ctx, cancel := context.WithCancel(context.Background())
	var reporter sync.WaitGroup
	reporter.Go(func() {
		tick := time.NewTicker(faultlog.Repeat + time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				report()
			}
		}
	})
	return func() { cancel(); reporter.Wait() }
}

// deliverer hands the driver's feeds to the uploader, which knows nothing of containers.
type deliverer struct{ up *uploader.Uploader }

func (s deliverer) Deliver(to target.Target, f *feed.Feed, delay time.Duration) driver.Delivery {
	return s.up.Attach(to, f, delay)
}
