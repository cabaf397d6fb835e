package driver

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/target"
)

// TestTargetFollowsOptions: the Deliverer gets the target, the credentials and the settings
// of new groups that a container's options ask for.
func TestTargetFollowsOptions(t *testing.T) {
	h := newHost(t, "ROUTE=cloudwatch://eu-west-1", "RETENTION_DAYS=7", "ENTITY_ATTRIBUTES=team=shop")
	h.start()
	for _, c := range []struct {
		id   string
		opts map[string]string
		want target.Target
	}{
		{"plain", nil, target.Target{
			Access: target.Access{Region: "eu-west-1"},
			Group:  "g",
			Stream: "plain",
			Create: target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{RetentionDays: 7}},
		}},
		{"options", map[string]string{
			"region": "eu-central-1", "endpoint": "http://127.0.0.1:1", "group": "other", "stream": "one",
			"create-group": "false", "create-stream": "false", "format": "json/emf",
			"role-arn": "arn:aws:iam::123456789012:role/logs", "external-id": "secret", "credentials-endpoint": "/creds",
			"retention-days": "30", "group-tags": "team=shop", "group-class": "INFREQUENT_ACCESS",
		}, target.Target{
			Access: target.Access{Region: "eu-central-1", Endpoint: "http://127.0.0.1:1", RoleARN: "arn:aws:iam::123456789012:role/logs", ExternalID: "secret", CredentialsEndpoint: "/creds"},
			Group:  "other",
			Stream: "one",
			EMF:    true,
			Create: target.Create{NewGroup: &target.NewGroup{RetentionDays: 30, Tags: map[string]string{"team": "shop"}, Class: "INFREQUENT_ACCESS"}},
		}},
		{"entity", map[string]string{"awslogs-entity-service-name": "{{.Name}}", "entity-environment": "{{.Region}}"}, target.Target{
			Access: target.Access{Region: "eu-west-1"},
			Group:  "g",
			Stream: "entity",
			Create: target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{RetentionDays: 7}},
			Entity: target.Entity{Service: "entity", Environment: "eu-west-1",
				Attributes: `{"AWS.ServiceNameSource":"UserConfiguration","EC2.InstanceId":"i-1","PlatformType":"AWS::EC2","team":"shop"}`},
		}},
		// Whatever ROUTE says.
		{"auto", map[string]string{"region": "auto"}, target.Target{
			Access: target.Access{Region: "auto-1"},
			Group:  "g",
			Stream: "auto",
			Create: target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{RetentionDays: 7}},
		}},
	} {
		f := h.fifo(c.id)
		h.startContainer(c.id, f, c.opts)
		f.write("stdout", "a line")
		h.shipper.wait(t, c.want.Group+"/"+c.want.Stream, 1)
		h.stopContainer(f)
		h.shipper.mu.Lock()
		got := h.shipper.shipped[len(h.shipper.shipped)-1]
		h.shipper.mu.Unlock()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("container %s (-want +got):\n%s", c.id, diff)
		}
	}
}

// TestInvalidKeyHoldsLines: while a setting leaves open which key encrypts a new group,
// containers start and stop, and their lines are spooled. Lines of a container whose own
// options decide it are delivered.
func TestInvalidKeyHoldsLines(t *testing.T) {
	h := newHost(t, "KMS_KEY_ID=a key")
	h.badEnv = true
	h.start()
	for _, id := range []string{"held", "own"} {
		f := h.fifo(id)
		h.startContainer(id, f, map[string]map[string]string{"own": {"create-group": "false"}}[id])
		f.write("stdout", lines(1, 100)...)
		f.waitUntilEmpty()
		h.stopContainer(f)
	}
	h.shipper.wait(t, "g/own", 100)
	h.stop()
	if got := h.shipper.delivered["g/held"]; len(got) > 0 {
		t.Errorf("%d lines were delivered too early", len(got))
	}
	h.env, h.badEnv = nil, false
	h.start()
	if got := h.shipper.wait(t, "g/held", 100); len(got) != 100 {
		t.Errorf("%d lines were delivered", len(got))
	}
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	if n := len(h.shipper.shipped); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}

// TestForbiddenGroupGetsNoLine: a group that is not allowed gets no line. A group from a
// container's environment is replaced, a log option is refused at the start, and without any
// allowed group the lines are spooled.
func TestForbiddenGroupGetsNoLine(t *testing.T) {
	h := newHost(t, "ALLOW_GROUPS=g|/shop/.*")
	h.start()
	start := func(id string, opts map[string]string, env ...string) (*fakeFIFO, error) {
		f := h.fifo(id)
		return f, h.startLogging(f.path, &container.Info{ID: id, Name: "/" + id, Config: opts, Env: env})
	}
	f, err := start("own", nil, "LOGSPOUT_GROUP=/other")
	must(t, err)
	f.write("stdout", "a line")
	h.shipper.wait(t, "g/own", 1)
	h.stopContainer(f)
	if log := h.logged(); strings.Count(log, "the default name is used for a log group") != 1 || !strings.Contains(log, `does not match`) {
		t.Errorf("logged: %s", log)
	}
	f, err = start("option", map[string]string{"group": "/other"})
	if err == nil || !strings.Contains(err.Error(), `log option "group": the log group "/other" is not allowed`) {
		t.Errorf("got %v", err)
	}
	f.close()
	f, err = start("allowed", map[string]string{"group": "/shop/{{.Name}}"})
	must(t, err)
	f.write("stdout", "a line")
	h.shipper.wait(t, "/shop/allowed/allowed", 1)
	h.stopContainer(f)
	h.stop()

	// With no group for it, a container starts and stops, and its lines wait for another
	// setting.
	good := h.env
	h.env = []string{"ALLOW_GROUPS=/shop/.*"}
	h.start()
	f, err = start("none", nil)
	must(t, err)
	f.write("stdout", "a line")
	f.waitUntilEmpty()
	h.stopContainer(f)
	until(t, "it is logged", func() bool { return strings.Contains(h.logged(), "no log group is allowed") })
	h.stop()
	h.env = good
	h.start()
	h.shipper.wait(t, "g/none", 1)
	h.shipper.mu.Lock()
	defer h.shipper.mu.Unlock()
	if n := len(h.shipper.shipped); n != 3 {
		t.Errorf("%d deliveries, want 3", n)
	}
}

// TestNamesUseAllFacts: templates can use everything that dockerd says about a container,
// also after a restart of the plugin.
func TestNamesUseAllFacts(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("fifo")
	if err := h.startLogging(f.path, &container.Info{
		ID: "web", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), LogPath: "/log",
		Labels: map[string]string{"team": "shop"}, Env: []string{"STAGE=prod"},
		Config: map[string]string{
			"labels": "team", "env": "STAGE", "awslogs-group": "g",
			"tag": `{{.ContainerCreated.Format "2006-01-02"}}{{.LogPath}}/{{.Config.env}}/{{with .ExtraAttributes nil}}{{.team}}-{{.STAGE}}{{end}}`,
		},
	}); err != nil {
		t.Fatal(err)
	}
	f.write("stdout", "a line")
	h.stop()
	h.shipper.setDown(false)
	h.start()
	h.shipper.wait(t, "g/2026-01-02/log/STAGE/shop-prod", 1)
	h.stopContainer(f)
}
