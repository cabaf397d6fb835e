package check

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/logspool/logspool/internal/installed"
)

// pathSettings are the settings that name a file.
var pathSettings = []string{
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE",
	"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
}

// defaultFiles are the shared files that the plugin reads by default: its home is the root.
var defaultFiles = map[string]string{
	"AWS_SHARED_CREDENTIALS_FILE": installed.AWSMount + "/credentials",
	"AWS_CONFIG_FILE":             installed.AWSMount + "/config",
}

// lowerProxies are variables that net/http reads, and that the plugin never has.
var lowerProxies = []string{"https_proxy", "http_proxy", "no_proxy"}

// useEnvironment gives the process the environment in which the AWS SDK finds what the plugin
// finds, until restore is called. Paths of the plugin become paths of the host.
//
// There is no PATH, because the plugin has no programs that a credential_process could run.
func (c *checker) useEnvironment() (restore func(), err error) {
	before := os.Environ()
	restore = func() { setEnvironment(before) }
	if c.Plugin == nil {
		for _, name := range append(lowerProxies, "PATH") {
			os.Unsetenv(name) // fails only for malformed names
		}
		return restore, nil
	}
	// The SDK looks for the tokens of IAM Identity Center in .aws in the home.
	home, err := os.MkdirTemp("", "logspool-check-")
	if err != nil {
		return nil, err
	}
	restore = func() {
		setEnvironment(before)
		os.RemoveAll(home) // it has only a link
	}
	if source := c.Plugin.Mounts["aws"]; source != "" {
		if err := os.Symlink(source, filepath.Join(home, ".aws")); err != nil {
			restore()
			return nil, err
		}
	}
	setEnvironment(append(c.hostEnviron(), "HOME="+home))
	return restore, nil
}

// hostEnviron returns the plugin's environment with paths of the host.
func (c *checker) hostEnviron() []string {
	env := maps.Clone(c.Plugin.Env)
	for _, name := range pathSettings {
		if strings.TrimSpace(env[name]) == "" {
			env[name] = defaultFiles[name]
		}
		if host, ok := c.Plugin.HostPath(strings.TrimSpace(env[name])); ok {
			env[name] = host
		}
	}
	var environ []string
	for name, value := range env {
		if value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

func setEnvironment(environ []string) {
	os.Clearenv()
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			os.Setenv(name, value) // fails only for malformed names
		}
	}
}
