package rules

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/config"
)

// dockerConfig has the fields of a plugin's config.json that dockerd reads. It is a copy of
// types.PluginConfig (moby, api/types/plugin.go), whose package depends on three more modules.
type dockerConfig struct {
	Description, Documentation, WorkDir, PropagatedMount string

	Entrypoint []string
	Interface  struct {
		Socket, ProtocolScheme string
		Types                  []string
	}
	Network struct{ Type string }
	Linux   struct {
		Capabilities    []string
		AllowAllDevices bool
		Devices         []struct{}
	}
	IpcHost, PidHost bool
	Mounts           []struct {
		Name, Description, Destination, Type string
		Source                               *string
		Options, Settable                    []string
	}
	Env []struct {
		Name, Description string
		Value             *string
		Settable          []string
	}
}

func pluginConfig(t *testing.T) dockerConfig {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // dockerd ignores them
	var c dockerConfig
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPluginConfigAsksForNoPrivileges(t *testing.T) {
	c := pluginConfig(t)
	if c.Interface.Socket != "logspool.sock" || !slices.Equal(c.Interface.Types, []string{"docker.logdriver/1.0"}) {
		t.Errorf("interface %+v", c.Interface)
	}
	if !slices.Equal(c.Entrypoint, []string{"/logspool"}) {
		t.Errorf("entrypoint %q", c.Entrypoint)
	}
	if c.Network.Type != "host" {
		t.Errorf("network %q: a plugin has no other", c.Network.Type)
	}
	// dockerd makes the FIFOs in this directory. Files next to them survive disable, enable
	// and upgrade.
	if c.PropagatedMount != "/run/docker/logging" {
		t.Errorf("propagated mount %q", c.PropagatedMount)
	}
	if l := c.Linux; len(l.Capabilities) != 0 || l.AllowAllDevices || len(l.Devices) != 0 || c.IpcHost || c.PidHost {
		t.Errorf("asks for privileges: %+v, IPC of the host %v, processes of the host %v", l, c.IpcHost, c.PidHost)
	}
}

// If the source of a mount is missing, a plugin cannot start, so the default sources must
// exist on every host. /sys/module is part of sysfs, which every container can see anyway, and
// no disk is mounted below it. "rbind" would include mounts below the source, which would be
// writable. "private" excludes later mounts.
func TestDefaultMountsExistOnEveryHost(t *testing.T) {
	want := map[string][2]string{"aws": {"/sys/module", "/.aws"}, "docker": {"/dev/null", "/run/docker.sock"}}
	mounts := pluginConfig(t).Mounts
	for _, m := range mounts {
		if m.Source == nil || [2]string{*m.Source, m.Destination} != want[m.Name] {
			t.Errorf("mount %q goes to %q", m.Name, m.Destination)
		}
		if !slices.Equal(m.Settable, []string{"source"}) || !slices.Equal(m.Options, []string{"bind", "ro", "private"}) || m.Type != "bind" || m.Description == "" {
			t.Errorf("mount %q: %+v", m.Name, m)
		}
	}
	if len(mounts) != len(want) {
		t.Errorf("%d mounts, want %d", len(mounts), len(want))
	}
}

// outsideDocker are the settings for running without dockerd. In Docker they must not be
// changed: dockerd expects the socket that config.json names, and an upgrade loses files
// outside the propagated mount.
var outsideDocker = []string{"PLUGIN_SOCKET", "STATE_DIR"}

// proxies are variables that net/http reads.
var proxies = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}

func TestPluginConfigHasAllVariables(t *testing.T) {
	var names []string
	for _, e := range pluginConfig(t).Env {
		names = append(names, e.Name)
		if !slices.Equal(e.Settable, []string{"value"}) {
			t.Errorf("%s: settable %q", e.Name, e.Settable)
		}
		// An upgrade keeps a plugin's settings, so a default here could never be changed.
		if e.Value != nil {
			t.Errorf("%s has a value: defaults belong in the code", e.Name)
		}
		if e.Description == "" {
			t.Errorf("%s has no description", e.Name)
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			t.Errorf("%s appears twice", name)
		}
	}

	var ours []string
	for _, d := range config.SettingDocs() {
		ours = append(ours, d.Name)
		if got, want := slices.Contains(names, d.Name), !slices.Contains(outsideDocker, d.Name); got != want {
			t.Errorf("%s is in config.json: %v, want %v", d.Name, got, want)
		}
	}
	sdks := sdkVariables(t)
	for _, name := range names {
		if !slices.Contains(ours, name) && !slices.Contains(sdks, name) && !slices.Contains(proxies, name) {
			t.Errorf("nothing reads %s", name)
		}
	}
	for _, name := range sdks {
		_, ignored := sdkIgnored[name]
		if slices.Contains(names, name) == ignored {
			t.Errorf("the SDK reads %s, so it must be either in config.json or, with a reason, in sdkIgnored", name)
		}
	}
	for name := range sdkIgnored {
		if !slices.Contains(sdks, name) {
			t.Errorf("%s is in sdkIgnored, but the SDK does not read it", name)
		}
	}
}

// sdkIgnored are the variables that the SDK reads and that have no effect here, with the reasons.
var sdkIgnored = map[string]string{
	"AWS_ACCOUNT_ID":                           "is for endpoints per account, and CloudWatch Logs has none",
	"AWS_ACCOUNT_ID_ENDPOINT_MODE":             "the same",
	"AWS_AUTH_SCHEME_PREFERENCE":               "CloudWatch Logs accepts only signature version 4",
	"AWS_DEFAULTS_MODE":                        "sets retries and time-outs, and the uploader has its own",
	"AWS_EXECUTION_ENV":                        "is for the defaults mode",
	"AWS_DISABLE_REQUEST_COMPRESSION":          "the setting GZIP decides, because the SDK does not compress requests to this service",
	"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES":   "the same",
	"AWS_ENABLE_ENDPOINT_DISCOVERY":            "is for other services",
	"AWS_LOGIN_CACHE_DIRECTORY":                "a session of `aws login` writes its renewed token to its cache, and the mount is read-only",
	"AWS_ENDPOINT_URL_SIGNIN":                  "the same",
	"AWS_RESTRICT_FILE_PERMISSIONS":            "is about files that the SDK writes, and it can write none",
	"AWS_REQUEST_CHECKSUM_CALCULATION":         "is for services that take checksums",
	"AWS_RESPONSE_CHECKSUM_VALIDATION":         "the same",
	"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH":      "is for S3",
	"AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS": "is for S3",
	"AWS_S3_USE_ARN_REGION":                    "is for S3",
}

// sdkVariables searches the SDK's source for the variables that its configuration and the services
// used here read.
func sdkVariables(t *testing.T) []string {
	t.Helper()
	const sdk = "github.com/aws/aws-sdk-go-v2/"
	cmd := exec.Command("go", "list", "-json=Dir,GoFiles", sdk+"config", sdk+"service/cloudwatchlogs", sdk+"service/sts",
		sdk+"service/sso", sdk+"service/ssooidc", sdk+"service/signin")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`^AWS_[A-Z0-9_]+$`)
	found := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		for _, f := range parse(t, token.NewFileSet(), p.Dir, p.GoFiles) {
			ast.Inspect(f, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil && variable.MatchString(s) {
						found[s] = true
					}
				}
				return true
			})
		}
	}
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) < 40 || !strings.Contains(strings.Join(names, " "), "AWS_ACCESS_KEY_ID") {
		t.Fatalf("found only %q in the SDK; it may read its variables in another package now", names)
	}
	return names
}
