package config

import (
	"slices"
	"strings"
)

// Variable is a variable of the plugin's environment.
type Variable struct{ Name, Value string }

// Shown returns the variables of an environment that the plugin reads and that are set. Secrets
// are hidden: keys, tokens, credentials endpoints, and the user and query of a URL. The plugin's
// own settings come first, in the order of the documentation, and then the others by name.
func Shown(environ []string) []Variable {
	env := lookup(environ)
	var all []Variable
	add := func(name string, show func(name, value string) string) {
		if value := strings.TrimSpace(env[name]); value != "" {
			all = append(all, Variable{name, show(name, value)})
		}
		delete(env, name)
	}
	for _, row := range settings {
		add(row.name, shownSetting)
	}
	var others []string
	for name := range env {
		upper := strings.ToUpper(name)
		if strings.HasPrefix(name, "AWS_") || slices.Contains([]string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}, upper) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		add(name, shownOther)
	}
	return all
}

// shownSetting returns the value of one of the plugin's own settings. Only LOG_OPTS may have
// secrets.
func shownSetting(name, value string) string {
	if name == "LOG_OPTS" {
		return ShownLogOpts(value)
	}
	return value
}

// shownOther returns the value of a variable of the AWS SDK or of a proxy. The path of a file
// is no secret.
func shownOther(name, value string) string {
	if strings.HasPrefix(name, "AWS_ACCESS_KEY") { // an ID, which the AWS CLI shows in this way
		if len(value) < 16 {
			return hidden
		}
		return strings.Repeat("*", 16) + value[len(value)-4:]
	}
	for _, secret := range []string{"SECRET", "TOKEN", "PASSWORD", "AUTHORIZATION", "CONTAINER_CREDENTIALS"} {
		if strings.Contains(name, secret) && !strings.HasSuffix(name, "_FILE") {
			return hidden
		}
	}
	return shownURL(value)
}

// shownURL hides the user, the query and the fragment of a URL. The address of a proxy may
// lack the scheme, and a password may have characters that it must not have.
func shownURL(value string) string {
	query, at := strings.IndexAny(value, "?#"), strings.LastIndex(value, "@")
	scheme := ""
	if before, _, ok := strings.Cut(value[:max(at, 0)], "://"); ok {
		scheme = before + "://"
	}
	switch {
	case query >= 0 && at > query: // the @ may belong to either
		return scheme + hidden
	case query >= 0:
		value = value[:query+1] + hidden
	}
	if at < 0 {
		return value
	}
	return scheme + hidden + value[at:]
}
