package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/selfmetrics"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/uploader"
)

// startSelfMetrics sends the plugin's key figures to the group of SELF_METRICS until stop is
// called. They go where a container without log options sends its lines, and like these they
// are not sent if an invalid setting leaves that undecided. The log and the status report that
// setting.
func startSelfMetrics(settings *config.Settings, up *uploader.Uploader, env *awsenv.Env, src status.Source, host string, log *slog.Logger) (stop func()) {
	conf, err := settings.Container(nil, nil, nil)
	if settings.SelfMetrics == "" || err != nil || conf.Hold != "" {
		return func() {}
	}
	region := env.Region
	if conf.RegionAuto {
		region = env.AutoRegion
	}
	s := selfmetrics.New(selfmetrics.Options{
		Source: src, Uploader: up, Access: conf.Access, Region: region,
		Group: settings.SelfMetrics, Create: conf.Create, Host: host,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var sender sync.WaitGroup
	sender.Go(func() { keepRunning(ctx, s.Run, log) })
	return func() { cancel(); sender.Wait() }
}
