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
)

// version is set by the linker.
var version = "devel"

func main() {
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "logspool:", err)
		os.Exit(1)
	}
}
