// Package promtest runs a real Prometheus, for tests of metrics and alert rules. It needs
// the programs prometheus and promtool (Debian package prometheus).
//
// The package must not know what is measured.
package promtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/hosttest"
)

const (
	// startTime is how long Prometheus may take to start, and stopTime to stop.
	startTime = 30 * time.Second
	stopTime  = 20 * time.Second
	// pollTime is the time between two looks at the alerts. Prometheus evaluates the rules
	// once a second.
	pollTime = 100 * time.Millisecond
	// maxPorts is how many ports Start tries. Another process may take a port first.
	maxPorts = 5
)

// Missing reports which of the programs are not installed, or nil. The error says what to
// install.
func Missing() error {
	for _, name := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is not installed: apt-get install prometheus", name)
		}
	}
	return nil
}

// Options configure a Server.
type Options struct {
	// Rules is the text of a file with rules.
	Rules string
	// Targets are the HOST:PORTs to scrape, at /metrics. They are the values of the label
	// instance.
	Targets []string
	// Dir is an empty directory for Prometheus's files.
	Dir string
}

// Server is a Prometheus on loopback. It scrapes the job "logspool" and evaluates the rules
// once a second.
type Server struct {
	program *hosttest.Program
	url     string
}

// Start starts a Prometheus and waits until it is ready. The caller must call Close.
func Start(o Options) (*Server, error) {
	targets, err := json.Marshal(o.Targets) // YAML understands JSON
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: logspool, static_configs: [{targets: %s}]}]
`, targets)
	for name, text := range map[string]string{"prometheus.yml": config, "rules.yml": o.Rules} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	for range maxPorts {
		var s *Server
		if s, err = start(o.Dir); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func start(dir string) (*Server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := hosttest.StartProgram("prometheus", exec.Command("prometheus",
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn"), nil)
	if err != nil {
		return nil, err
	}
	s := &Server{program: p, url: "http://" + addr}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	err = s.poll(ctx, func() (bool, error) { _, err := get(s.url + "/-/ready"); return err == nil, err })
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("prometheus didn't start: %w\n%s", err, p.Log.Tail(20))
	}
	return s, nil
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Close stops Prometheus.
func (s *Server) Close() error { return s.program.Stop(stopTime) }

// Alert is an alert that Prometheus has.
type Alert struct {
	Labels, Annotations map[string]string
	// State is pending or firing.
	State string
}

// Name returns the name of the alert's rule.
func (a Alert) Name() string { return a.Labels["alertname"] }

// Alerts returns the alerts that are pending or firing.
func (s *Server) Alerts() ([]Alert, error) {
	var data struct{ Alerts []Alert }
	return data.Alerts, s.api(&data, "alerts", nil)
}

// Firing returns the names of the alerts that fire, by target, sorted, each once. Alerts that
// are about no target have the key "".
func (s *Server) Firing() (map[string][]string, error) {
	all, err := s.Alerts()
	names := map[string][]string{}
	for _, a := range all {
		if target := a.Labels["instance"]; a.State == "firing" {
			names[target] = append(names[target], a.Name())
		}
	}
	for target := range names {
		slices.Sort(names[target])
		names[target] = slices.Compact(names[target])
	}
	return names, err
}

// AwaitFiring waits until exactly the alerts with these names fire for the target. When ctx
// is done, it returns an error that says which alerts fire.
func (s *Server) AwaitFiring(ctx context.Context, target string, names ...string) error {
	want := slices.Sorted(slices.Values(names))
	var got map[string][]string
	err := s.poll(ctx, func() (_ bool, err error) {
		got, err = s.Firing()
		return slices.Equal(got[target], want), err
	})
	if err != nil {
		return fmt.Errorf("the alerts of %q that fire are %q, want %q: %w", target, got[target], want, err)
	}
	return nil
}

// Rule is a rule of the rules file.
type Rule struct {
	Name string
	// Health is ok, err or unknown.
	Health string
	// LastError is the error of the last evaluation.
	LastError string
	// LastEvaluation is when the rule was evaluated last.
	LastEvaluation time.Time
}

// Rules returns all rules.
func (s *Server) Rules() ([]Rule, error) {
	var data struct{ Groups []struct{ Rules []Rule } }
	err := s.api(&data, "rules", nil)
	var all []Rule
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, err
}

// Sample is one element of the result of a query.
type Sample struct {
	Metric map[string]string
	Value  string
}

// Query evaluates an expression that returns an instant vector.
func (s *Server) Query(expr string) ([]Sample, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	err := s.api(&data, "query", url.Values{"query": {expr}})
	var all []Sample
	for _, r := range data.Result {
		all = append(all, Sample{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return all, err
}

// AwaitEvaluations waits until Prometheus has evaluated all rules n times more.
func (s *Server) AwaitEvaluations(ctx context.Context, n int) error {
	var last time.Time
	return s.poll(ctx, func() (bool, error) {
		all, err := s.Rules()
		for _, r := range all {
			if r.LastEvaluation.After(last) {
				last = r.LastEvaluation
				n--
				break
			}
		}
		return n < 0, err
	})
}

// poll calls f until it returns true. When ctx is done or Prometheus has ended, it returns
// f's last error and the reason.
func (s *Server) poll(ctx context.Context, f func() (bool, error)) error {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		done, err := f()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-s.program.Exited():
			return errors.Join(errors.New("prometheus has ended"), err)
		case <-tick.C:
		}
	}
}

// api calls Prometheus's HTTP API.
func (s *Server) api(data any, path string, query url.Values) error {
	body, err := get(s.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

func get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}
