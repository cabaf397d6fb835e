package driver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/durable"
)

// TestRecord: what is known of a container is read as it was written.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	want := record{Info: Info{
		Config: map[string]string{"tag": "{{.Name}}"}, ContainerID: "web", LogPath: "/var/log/web",
		ContainerCreated: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}, Epoch: 3}
	if err := want.write(durable.OS, dir, false); err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(durable.OS, dir)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestRecordOfEarlierVersion: one without the time and the path, which earlier versions wrote, is read all the same.
func TestRecordOfEarlierVersion(t *testing.T) {
	dir := t.TempDir()
	earlier := `{"Info":{"Config":null,"ContainerID":"web","ContainerName":"/web","ContainerEntrypoint":"","ContainerArgs":null,` +
		`"ContainerImageID":"","ContainerImageName":"","ContainerEnv":null,"ContainerLabels":null,"DaemonName":"docker"},"FIFOs":null,"Epoch":3}`
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte(earlier), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(durable.OS, dir)
	want := record{Info: Info{ContainerID: "web", ContainerName: "/web", DaemonName: "docker"}, Epoch: 3}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
