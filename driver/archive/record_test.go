package archive

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
)

// TestStopRecordsEndOfLastRun: a history's age counts from the end of the last run, which may
// have logged nothing, and not from the last docker logs.
func TestStopRecordsEndOfLastRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Record
		for _, tc := range []struct {
			name           string
			withoutReaders time.Duration
			end            uint64
			later          bool
		}{
			{"the first run", time.Second, 10, true},
			{"asked for", time.Second, 10, false},
			{"a short run", time.Second, 20, true},
			{"a silent run", 8 * 24 * time.Hour, 20, true},
			{"asked for again", time.Second, 20, false},
			{"a run that was read", 0, 30, true},
		} {
			before := r.Stopped
			time.Sleep(time.Hour)
			r.Stop(tc.withoutReaders, tc.end)
			if later := r.Stopped.At.Equal(time.Now()); later != tc.later || !later && r.Stopped != before {
				t.Errorf("%s: stopped at %v, now is %v", tc.name, r.Stopped.At, time.Now())
			}
		}
	})
}

// TestRecordIsReadAsWritten: a record is read as it was written.
func TestRecordIsReadAsWritten(t *testing.T) {
	dir := t.TempDir()
	want := Record{Info: container.Info{
		Config: map[string]string{"tag": "{{.Name}}"}, ID: "web", LogPath: "/var/log/web",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}, Epoch: 3}
	if err := want.Write(durable.OS, dir, false); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecord(durable.OS, dir)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestRecordOfEarlierVersion: a record of an earlier version, without the time and the path,
// is read.
func TestRecordOfEarlierVersion(t *testing.T) {
	dir := t.TempDir()
	earlier := `{"Info":{"Config":null,"ContainerID":"web","ContainerName":"/web","ContainerEntrypoint":"","ContainerArgs":null,` +
		`"ContainerImageID":"","ContainerImageName":"","ContainerEnv":null,"ContainerLabels":null,"DaemonName":"docker"},"FIFOs":null,"Epoch":3}`
	if err := os.WriteFile(filepath.Join(dir, RecordName), []byte(earlier), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecord(durable.OS, dir)
	want := Record{Info: container.Info{ID: "web", Name: "/web", DaemonName: "docker"}, Epoch: 3}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
