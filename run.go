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
	// fifoDir is the directory in which dockerd makes the FIFOs (moby,
	// daemon/logger/adapter.go). It is also the plugin's propagated mount, whose files outlive
	// the plugin (moby, plugin/v2).
	fifoDir = "/run/docker/logging"

	// engineSocket is where config.json mounts the Docker socket.
	engineSocket = "/run/docker.sock"

	// awsMount is where config.json mounts the directory of the AWS shared files.
	awsMount = "/.aws"

	// ssoDir is the directory for IAM Identity Center tokens, within the state directory.
	ssoDir = "sso"

	// lastUploads is how long the last uploads may take. The whole stop may take 5 s, and the
	// rest is for the disk. dockerd kills a plugin 10 s after SIGTERM.
	lastUploads = 3 * time.Second
)

// run runs the plugin until ctx is done, package dnswatch asks for a restart, or it cannot
// serve its socket. It returns when everything has stopped. Nothing else ends it, because
// dockerd disables a plugin that exits at start. If the process is PID 1, as in Docker, run
// drops its privileges.
func run(ctx context.Context, environ []string, stdout, stderr io.Writer) error {
	settings, problems := config.Load(environ)
	lines := newLineWriter(stdout, stderr)
	defer lines.Close()
	var faults faultlog.Set
	log := newLogger(lines, settings.Debug, &faults)
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
		log.Warn("the host name is unknown; .LoggerHost is empty in the names of log groups and streams", "err", err)
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
	log.Info("logspool is listening", "version", version, "socket", settings.PluginSocket)
	access := newAccess(settings)
	st := startStatus(newReporter(host, environ, &faults, statusParts(d, up, access)), settings, log)
	defer access.startWatch(log, env)()
	defer startSelfMetrics(settings, up, env, st.source, host, log)()
	d.Start()
	st.reattached.Store(true)

	select {
	case <-ctx.Done():
		err = nil
	case <-noDNS:
		err = nil
	case err = <-served:
		err = fmt.Errorf("couldn't serve %s: %w", settings.PluginSocket, err)
	}
	return errors.Join(err, shutDown(log, listener, d, up, st))
}

// newEnv returns the AWS environment, and a channel that is closed when the plugin should stop
// because DNS does not work. In Docker, it then drops privileges. It does so here, because the
// privileges to keep depend on the AWS files.
func newEnv(settings *config.Settings, log *slog.Logger) (*awsenv.Env, <-chan struct{}) {
	o := awsenv.Options{
		Region: settings.Region, RegionFrom: settings.RegionFrom, NoEC2: settings.NoEC2,
		CacheDir: filepath.Join(settings.StateDir, ssoDir), Log: log,
	}
	var noDNS <-chan struct{}
	inDocker := os.Getpid() == 1 // in Docker, dockerd restarts the plugin
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

// shutDown stops the stages in the order in which bytes pass through them, so that each stage
// can still store what the previous one has read. It refuses new containers, stops the intake,
// syncs the spools, tries a last time to deliver their lines, and closes the spools.
// Undelivered lines are delivered after the next start.
//
// The status is served until the end, so that an operator sees what a stop waits for.
func shutDown(log *slog.Logger, listener net.Listener, d *driver.Driver, up *uploader.Uploader, st *statusService) error {
	begun := time.Now()
	st.beginStop()
	listener.Close()
	d.StopIntake()
	err := d.Sync()
	ctx, cancel := context.WithTimeout(context.Background(), lastUploads)
	defer cancel()
	_ = up.Stop(ctx) // Close reports the lines that it did not deliver in time
	err = errors.Join(err, d.Close())
	st.stop()
	m := up.Metrics()
	log.Info("logspool stopped", "after", time.Since(begun).Round(time.Millisecond), "batches", m.Batches, "events", m.Events, "retries", m.Retries)
	return err
}

// listen listens on the socket at path. It replaces the stale socket of an earlier process.
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
			return nil, fmt.Errorf("couldn't remove the stale socket: %w", err)
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

// allowedFIFODir returns the only directory that FIFOs may be in. If the state directory
// is not the one in Docker, as in tests, it returns "", and FIFOs may be anywhere.
func allowedFIFODir(stateDir string) string {
	if strings.HasPrefix(stateDir, fifoDir+"/") {
		return fifoDir
	}
	return ""
}

// checkAWSMount logs an error if dockerd's directory of this plugin is mounted instead of
// the AWS files. runc resolves a relative source in that directory, and an empty source
// is the directory itself (runc, libcontainer/specconv).
func checkAWSMount(log *slog.Logger, dir string) {
	spec, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil && bytes.Contains(spec, []byte(`"ociVersion"`)) {
		log.Error("aws.source is empty or relative, so the plugin has no AWS files",
			"hint", "set it to the absolute path of a directory on the host, or to /sys/module for none: docker plugin set logspool aws.source=/sys/module")
	}
}

// dropPrivileges drops the capabilities that dockerd gives to every plugin. It keeps the one
// that is needed to read another user's AWS files, if there are any.
func dropPrivileges(log *slog.Logger) {
	keep, err := privileges.ToRead(awsenv.Files()...)
	if err != nil {
		log.Warn("cannot check whether the plugin needs a capability to read the AWS files", "err", err)
	}
	dropped, err := privileges.Drop(keep)
	switch {
	case err != nil:
		log.Warn("cannot drop capabilities", "err", err)
	case keep != 0:
		log.Info("capabilities dropped", "dropped", dropped, "kept_for_aws_files", keep)
	default:
		log.Debug("capabilities dropped", "dropped", dropped)
	}
}

// reportProblems logs each invalid setting, at once and then every ten minutes until stop is
// called. Settings are read only once, so an invalid one stays invalid until the next start.
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
