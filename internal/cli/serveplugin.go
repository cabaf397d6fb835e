package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/pluginregistry"
)

// newServePlugin returns the command serve-plugin, which install.sh runs. dockerd upgrades a
// plugin only from a registry: a plugin of `docker plugin create` loses its settings and its
// undelivered lines when it is replaced.
func newServePlugin(version string) *cobra.Command {
	return &cobra.Command{
		Use:     "serve-plugin DIR",
		Short:   "Serve the plugin in DIR to this host's Docker engine, like a registry",
		Example: "  logspool serve-plugin plugin   # prints 127.0.0.1:PORT/logspool:VERSION",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			registry, err := pluginregistry.New(args[0])
			if err != nil {
				return err
			}
			// dockerd uses plain HTTP for registries on loopback addresses only.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("couldn't listen: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s/logspool:%s\n", l.Addr(), version)
			server := &http.Server{Handler: registry, ReadHeaderTimeout: 10 * time.Second}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			select {
			case err = <-served:
				return fmt.Errorf("couldn't serve the plugin: %w", err)
			case <-ctx.Done():
				err = server.Close()
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return err
		},
	}
}
