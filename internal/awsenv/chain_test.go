package awsenv

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/target"
)

// The order is the SDK's. The test removes one source after the other.
func TestKeysComeFromTheFirstSourceOfTheChain(t *testing.T) {
	m := startMetadata(t)
	dir := files(t, map[string]string{"credentials": keys("FILEKEY"), "token": "a-token"})
	startSTS(t)
	relative, full := startAgent(t), startAgent(t)
	relative.serve(taskPath, "RELATIVEKEY")
	full.serve("/own", "FULLKEY")
	for k, v := range map[string]string{
		"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "ENVKEY", "AWS_SECRET_ACCESS_KEY": "s",
		"AWS_WEB_IDENTITY_TOKEN_FILE": dir + "/token", "AWS_ROLE_ARN": roleARN("web"),
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": taskPath, "AWS_CONTAINER_CREDENTIALS_FULL_URI": full.url + "/own",
	} {
		t.Setenv(k, v)
	}
	want := func(key string) {
		t.Helper()
		e := New(Options{})
		if os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" {
			relative.replaceFor(e)
		}
		wantKey(t, e, key)
	}
	want("ENVKEY")
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	want("STS-web-1")
	os.Unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE")
	want("FILEKEY")
	if err := os.Remove(dir + "/credentials"); err != nil {
		t.Fatal(err)
	}
	want("RELATIVEKEY")
	os.Unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	want("FULLKEY")
	if n := m.asked(rolesPath); n != 0 {
		t.Errorf("the instance's role was asked for %d times before its turn", n)
	}
	os.Unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	want("ROLEKEY")
	relative.want(t, taskPath)
	full.want(t, "/own")
}

// A request to the ECS agent's own path has the token too, and uses no proxy.
func TestCredentialsFromARelativeURI(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"token": "sesame"})
	agent := startAgent(t)
	agent.serve(taskPath, "TASKKEY")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", taskPath)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", dir+"/token")
	e := New(Options{Region: "eu-central-1"})
	agent.replaceFor(e)
	for range 3 {
		wantKey(t, e, "TASKKEY")
	}
	agent.want(t, taskPath+" sesame")
}

func TestRoleOfProfileIsAssumed(t *testing.T) {
	base := "[base]\naws_access_key_id = FILEKEY\naws_secret_access_key = s\n"
	for _, c := range []struct {
		name, config, profile, want, asked string
		ec2                                bool
	}{
		{name: "source_profile and external_id", profile: "logs", asked: "FILEKEY", want: "STS-logs-1",
			config: "[profile logs]\nrole_arn = " + roleARN("logs") + "\nsource_profile = base\nexternal_id = our-id\n"},
		{name: "credential_source", asked: "ROLEKEY", want: "STS-logs-1", ec2: true,
			config: "[default]\nrole_arn = " + roleARN("logs") + "\ncredential_source = Ec2InstanceMetadata\nexternal_id = our-id\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ec2 {
				startMetadata(t)
			} else {
				forbidMetadata(t)
			}
			files(t, map[string]string{"credentials": base, "config": c.config})
			sts := startSTS(t)
			sts.externals["logs"] = "our-id"
			t.Setenv("AWS_PROFILE", c.profile)
			e := New(Options{Region: "eu-central-1"})
			wantKey(t, e, c.want)
			// A container's role is assumed with the keys of the profile's role.
			wantKeyFor(t, e, target.Access{RoleARN: roleARN("container")}, "STS-container-1")
			got := sts.requests()
			if len(got) != 2 || got[0].key != c.asked || got[1].key != c.want {
				t.Errorf("STS was asked %+v", got)
			}
		})
	}
}

// The SDK runs credential_process in a shell, and the plugin's image has none.
func TestCredentialProcessNeedsAShell(t *testing.T) {
	forbidMetadata(t)
	dir := files(t, map[string]string{"keys.json": `{"Version":1,"AccessKeyId":"PROCESSKEY","SecretAccessKey":"s"}`})
	write(t, dir+"/config", "[default]\ncredential_process = cat "+dir+"/keys.json\n")
	wantKey(t, New(Options{Region: "eu-central-1"}), "PROCESSKEY")
	t.Setenv("PATH", dir)
	_, err := retrieve(t, New(Options{Region: "eu-central-1"}))
	if err == nil || !strings.Contains(err.Error(), "credential_process is not supported") {
		t.Errorf("without a shell: %v", err)
	}
}

// If IMDSv2 fails, for example because the hop limit is too low, the plugin does not use IMDSv1.
func TestInstanceRoleIsNeverFetchedWithIMDSv1(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed} {
		m := startMetadata(t)
		files(t, nil)
		m.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
			}
			return r.Method == http.MethodPut
		})
		creds, err := retrieve(t, New(Options{Region: "eu-central-1"}))
		if err == nil {
			t.Errorf("%d: key %q", status, creds.AccessKeyID)
		}
		if n := m.withoutToken(); n != 0 {
			t.Errorf("%d: %d requests of IMDSv1", status, n)
		}
	}
}

// The operator attached another role to the instance.
func TestInvalidateFetchesTheNewInstanceRole(t *testing.T) {
	m := startMetadata(t)
	files(t, nil)
	e := New(Options{Region: "eu-central-1"})
	wantKey(t, e, "ROLEKEY")
	m.mu.Lock()
	m.pages[rolesPath] = "other"
	m.pages[rolesPath+"other"] = strings.Replace(m.pages[rolesPath+"logs-writer"], "ROLEKEY", "OTHERKEY", 1)
	m.mu.Unlock()
	wantKey(t, e, "ROLEKEY")
	cfg, err := e.Config(t.Context(), target.Access{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials.(interface{ Invalidate() }).Invalidate()
	wantKey(t, e, "OTHERKEY")
}

func TestErrorAboutDamagedFileHidesSecrets(t *testing.T) {
	forbidMetadata(t)
	for _, text := range []string{
		"[default]\naws_access_key_id = ID\naws_secret_access_key\n = topsecret\n",
		"[default\naws_secret_access_key = topsecret\n",
		"aws_secret_access_key = topsecret\n[default]\n",
		"[default]\ntopsecret\n",
		"[default]\naws_access_key_id = ID\n",
		"[default]\naws_secret_access_key = topsecret\n",
		"\x00[default]\r\naws_secret_access_key: topsecret\r\n",
	} {
		files(t, map[string]string{"credentials": text})
		e := New(Options{Region: "eu-central-1", NoEC2: true})
		cfg, err := e.Config(t.Context(), target.Access{})
		if err == nil {
			_, err = cfg.Credentials.Retrieve(t.Context())
		}
		if err == nil {
			t.Errorf("keys from %q", text)
		} else if s := err.Error(); strings.Contains(s, "topsecret") || strings.Contains(s, "\n") {
			t.Errorf("%q: %q", text, s)
		}
	}
}
