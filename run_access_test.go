package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal"
)

// A role for which STS does not answer does not delay other containers.
func TestLogsAreWrittenWithTheKeysOfTheOptions(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/credentials/7e1f" {
			t.Errorf("the agent was asked for %s", r.URL)
		}
		fmt.Fprintf(w, `{"AccessKeyId":"TASKKEY","SecretAccessKey":"task-secret","Token":"t","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer agent.Close()
	const role = "arn:aws:iam::123456789012:role/"
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{
		Keys:  map[string]string{"AKIDEXAMPLE": "secret", "TASKKEY": "task-secret"},
		Roles: map[string]cwlocal.Role{role + "shop": {ExternalID: "our-id"}, role + "task": {}, role + "hanging": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	r := newRig(t, "LOGSPOUT_GROUP=g", "AWS_ENDPOINT_URL="+service.URL(), "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=", "AWS_ENDPOINT_URL_STS=",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI="+agent.URL+"/own")
	r.service.Close()
	r.service = service
	fault := service.AddFault(cwlocal.Fault{Kind: cwlocal.Hang, Operation: "AssumeRole", Count: 1})
	r.start()
	write := func(name string, options map[string]string) {
		t.Helper()
		i := info(name)
		i.Config = options
		c := r.run(i)
		c.Write("stdout", name+"\n")
		r.stopContainer(c)
	}
	write("hanging", map[string]string{"role-arn": role + "hanging"})
	ctx, cancel := patience(t)
	defer cancel()
	if err := service.Wait(ctx, func() bool { return service.ListFaults()[0].Taken == 1 }); err != nil {
		t.Fatal(err)
	}
	write("own", nil)
	write("shop", map[string]string{"role-arn": role + "shop", "external-id": "our-id"})
	write("task", map[string]string{"credentials-endpoint": "/v2/credentials/7e1f"})
	write("both", map[string]string{"role-arn": role + "task", "awslogs-credentials-endpoint": "/v2/credentials/7e1f"})
	for name, by := range map[string]string{"own": "AKIDEXAMPLE", "shop": role + "shop", "task": "TASKKEY", "both": role + "task"} {
		r.wait("g", name, 1)
		st, _ := service.Stream(testRegion, "g", name)
		if diff := cmp.Diff(map[string]int64{by: 1}, st.By); diff != "" {
			t.Errorf("%s was written by %s", name, diff)
		}
	}
	if n := len(r.messages("g", "hanging")); n != 0 {
		t.Errorf("%d events without keys", n)
	}
	service.ClearFault(fault)
	r.wait("g", "hanging", 1)
	for _, s := range service.Sessions() {
		if want := map[string]string{role + "task": "TASKKEY"}[s.Role]; s.By != want && (want != "" || s.By != "AKIDEXAMPLE") {
			t.Errorf("%s was assumed by %s", s.Role, s.By)
		}
	}
	r.refusedNothing()
	r.stop()
}
