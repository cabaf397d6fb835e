package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal"
)

func TestOptionsReachCloudWatch(t *testing.T) {
	r := newRig(t, "RETENTION_DAYS=7", "GROUP_TAGS=team=ops,cost=1")
	r.start()
	write := func(name string, options map[string]string, lines ...string) (id string) {
		t.Helper()
		i := info(name)
		i.Config = options
		c := r.run(i)
		c.Write("stdout", strings.Join(lines, "\n")+"\n")
		r.stopContainer(c)
		return i.ContainerID
	}
	write("plain", map[string]string{"group": "settings"}, "a line")
	write("emf", map[string]string{"group": "options", "format": "json/emf", "retention-days": "30", "group-tags": "team=shop",
		"group-class": "infrequent_access"}, `{"_aws":{}}`)
	r.wait("options", "emf", 1) // the group is created with the options of this container
	write("text", map[string]string{"group": "options"}, "plain text")
	write("trace", map[string]string{"group": "settings", "multiline-pattern": `^\S`, "exclude-pattern": "DEBUG", "strip-ansi": "true"},
		"\x1b[31mpanic\x1b[0m: no", "\tat a", "\tat b", "DEBUG x", "\tof DEBUG", "", "end")
	id := write("json", map[string]string{"group": "settings", "format": "json", "tag": "{{.Name}}", "stream": "json", "env": "STAGE"},
		"text", `{"level":"info"}`)

	r.wait("settings", "plain", 1)
	r.wait("options", "text", 1)
	if diff := cmp.Diff([]string{"panic: no\n\tat a\n\tat b\n", "end\n"}, r.wait("settings", "trace", 2)); diff != "" {
		t.Errorf("events of several lines (-want +got):\n%s", diff)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	rest := `,"source":"stdout","host":"` + host + `","container_id":"` + id[:12] + `","container_name":"json","image_name":"image:1","tag":"json"}`
	want := []string{`{"log":"text"` + rest, `{"log":{"level":"info"}` + rest}
	if diff := cmp.Diff(want, r.wait("settings", "json", 2)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if st, _ := r.service.Stream(testRegion, "options", "emf"); st.EMFBatches != st.Batches {
		t.Errorf("%d of %d batches were sent as metrics", st.EMFBatches, st.Batches)
	}
	if st, _ := r.service.Stream(testRegion, "options", "text"); st.EMFBatches != 0 {
		t.Errorf("%d batches of plain text were sent as metrics", st.EMFBatches)
	}
	ctx, cancel := patience(t)
	defer cancel()
	group := func(name string) (g cwlocal.GroupInfo) {
		if i := slices.IndexFunc(r.service.Groups(), func(g cwlocal.GroupInfo) bool { return g.Name == name }); i >= 0 {
			g = r.service.Groups()[i]
		}
		return g
	}
	if err := r.service.Wait(ctx, func() bool { return group("settings").RetentionDays == 7 && group("options").RetentionDays == 30 }); err != nil {
		t.Errorf("retention: %+v, %+v", group("settings"), group("options"))
	}
	if diff := cmp.Diff(map[string]string{"team": "ops", "cost": "1"}, group("settings").Tags); diff != "" {
		t.Errorf("tags of the settings (-want +got):\n%s", diff)
	}
	if g := group("options"); g.Class != "INFREQUENT_ACCESS" || g.Tags["team"] != "shop" {
		t.Errorf("group by options: %+v", g)
	}
	r.refusedNothing()
	r.stop()
}
