package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// engine sends requests to the Docker engine, if the operator has mounted its socket into the
// plugin.
type engine struct{ client http.Client }

// errNoEngine says that nobody listens on the engine's socket. The source of a plugin's mount
// must exist, so the default is /dev/null.
var errNoEngine = errors.New("the engine's socket is not mounted")

// engineTime is how long a request may take. The engine may be busy with starting the
// container.
const engineTime = 5 * time.Second

func newEngine(socket string) *engine {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoEngine, err)
		}
		return conn, nil
	}
	return &engine{http.Client{
		Timeout:   engineTime,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

// hostname returns the host name of a container. It must not be called before the container
// has started, because dockerd holds the container's lock while it calls StartLogging. It
// blocks for at most engineTime.
func (e *engine) hostname(ctx context.Context, id string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/"+url.PathEscape(id)+"/json", nil)
	if err != nil {
		return "", err
	}
	answer, err := e.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the engine answered %s", answer.Status)
	}
	var container struct{ Config struct{ Hostname string } }
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxRequest)).Decode(&container); err != nil {
		return "", fmt.Errorf("couldn't read the engine's answer: %w", err)
	}
	return container.Config.Hostname, nil
}
