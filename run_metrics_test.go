package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/dockertest"
)

// The plugin serves its metrics at STATUS_ADDR, and sends its key figures to SELF_METRICS in
// requests that say that they are in the embedded metric format.
func TestPluginServesAndSendsItsMetrics(t *testing.T) {
	addr := statusAddr(t)
	r := newRig(t, "LOGSPOUT_GROUP=g", "STATUS_ADDR="+addr, "SELF_METRICS=/logspool/metrics")
	r.start()
	s := dockertest.Sequence{Container: "web", Source: "stdout"}
	c := r.run(info("web"))
	write(t, c, &s, 100, 100)
	r.stopContainer(c)
	r.arrived("g", "web", s)

	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "\nlogspool_build_info{goversion=") {
		t.Errorf("%s, %v:\n%s", resp.Status, err, text)
	}

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patience(t)
	defer cancel()
	if err := r.service.WaitEvents(ctx, testRegion, "/logspool/metrics", host, 1); err != nil {
		t.Fatal(err)
	}
	if st, _ := r.service.Stream(testRegion, "/logspool/metrics", host); st.EMFBatches != st.Batches {
		t.Errorf("%d batches, of which %d have the header", st.Batches, st.EMFBatches)
	}
	if e := r.service.Arrived(testRegion, "/logspool/metrics", host); !strings.Contains(e[0].Message, `"Namespace":"logspool"`) {
		t.Errorf("got %s", e[0].Message)
	}
	r.stop()
}

// An invalid SELF_METRICS turns the feature off, and so does a setting that leaves undecided
// where to send.
func TestSelfMetricsAreOffIfASettingIsInvalid(t *testing.T) {
	for _, env := range [][]string{{"SELF_METRICS=my metrics"}, {"SELF_METRICS=metrics", "ROUTE=cloudwatch://nowhere"}} {
		r := newRig(t, append(env, "DEBUG=1")...)
		r.start()
		r.status("the fault", hasFault("a setting is invalid", ""))
		r.stop()
		if groups := r.service.Groups(); len(groups) != 0 {
			t.Errorf("%q: groups %+v", env, groups)
		}
	}
}
