// The plugin's root file system has no CA certificates, so the plugin trusts those in the
// binary. With this setting, the same binary trusts the same ones on the host, and logspool
// check sees what the plugin sees.
//
//go:debug x509usefallbackroots=1

// Command logspool is a Docker logging driver plugin for Amazon CloudWatch Logs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // the plugin's root file system has no time zones

	_ "golang.org/x/crypto/x509roots/fallback" // and no CA certificates
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cli"
)

// version is set by the linker.
var version = "devel"

func main() {
	if len(os.Args) > 1 {
		os.Exit(cli.Run(version, os.Args[1:], os.Stdout, os.Stderr))
	}
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
		os.Exit(cli.Run(version, []string{"--help"}, os.Stdout, os.Stderr)) // not dockerd, but a person at a terminal
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "logspool:", err)
		os.Exit(1)
	}
}
