package driver

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/config"
)

// TestDestination: what a container's options say of where and by whose leave, the shipper is told.
func TestDestination(t *testing.T) {
	h := newHost(t, "ROUTE=cloudwatch://eu-west-1", "RETENTION_DAYS=7")
	h.start()
	for _, c := range []struct {
		id   string
		opts map[string]string
		want Destination
	}{
		{"plain", nil, Destination{
			Region: "eu-west-1", Group: "g", Stream: "plain", CreateGroup: true, CreateStream: true,
			NewGroup: &config.NewGroup{RetentionDays: 7},
		}},
		{"options", map[string]string{
			"region": "eu-central-1", "endpoint": "http://127.0.0.1:1", "group": "other", "stream": "one",
			"create-group": "false", "create-stream": "false", "format": "json/emf",
			"role-arn": "arn:aws:iam::123456789012:role/logs", "external-id": "secret", "credentials-endpoint": "/creds",
			"retention-days": "30", "group-tags": "team=shop", "group-class": "INFREQUENT_ACCESS",
		}, Destination{
			Region: "eu-central-1", Endpoint: "http://127.0.0.1:1", Group: "other", Stream: "one", EMF: true,
			RoleARN: "arn:aws:iam::123456789012:role/logs", ExternalID: "secret", CredentialsEndpoint: "/creds",
			NewGroup: &config.NewGroup{RetentionDays: 30, Tags: map[string]string{"team": "shop"}, Class: "INFREQUENT_ACCESS"},
		}},
		// Whatever ROUTE says.
		{"auto", map[string]string{"region": "auto"}, Destination{
			Region: "auto-1", Group: "g", Stream: "auto", CreateGroup: true, CreateStream: true,
			NewGroup: &config.NewGroup{RetentionDays: 7},
		}},
	} {
		f := h.fifo(c.id)
		h.run(c.id, f, c.opts)
		f.write("stdout", "a line")
		h.shipper.wait(t, c.want.Group+"/"+c.want.Stream, 1)
		h.end(f)
		h.shipper.mu.Lock()
		got := h.shipper.shipped[len(h.shipper.shipped)-1]
		h.shipper.mu.Unlock()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("container %s (-want +got):\n%s", c.id, diff)
		}
	}
}

// TestTagFields: the names can say all that dockerd tells of a container, also after the plugin was started anew.
func TestTagFields(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("fifo")
	if err := h.startLogging(f.path, &Info{
		ContainerID: "web", ContainerCreated: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), LogPath: "/log",
		ContainerLabels: map[string]string{"team": "shop"}, ContainerEnv: []string{"STAGE=prod"},
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
	h.end(f)
}
