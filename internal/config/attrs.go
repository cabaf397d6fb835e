package config

import "regexp"

// AttrSelection says which labels and environment variables of a container become
// attributes of its events. The fields are the log options of the same names.
type AttrSelection struct {
	Labels, Env []string
	// LabelsRegex and EnvRegex match nothing if they are nil.
	LabelsRegex, EnvRegex *regexp.Regexp
}

// Attrs returns the selected labels and environment variables. env has entries KEY=value. The
// rules are Docker's (moby, daemon/logger/loginfo.go, ExtraAttributes): a missing name is
// skipped, the last of two variables counts, and a variable replaces a label of the same name.
// The result is never nil, and belongs to the caller.
func (a *AttrSelection) Attrs(labels map[string]string, env []string) map[string]string {
	attrs := map[string]string{}
	choose := func(names []string, re *regexp.Regexp, from map[string]string) {
		for _, name := range names {
			if v, ok := from[name]; ok {
				attrs[name] = v
			}
		}
		for name, v := range from {
			if re != nil && re.MatchString(name) {
				attrs[name] = v
			}
		}
	}
	choose(a.Labels, a.LabelsRegex, labels)
	choose(a.Env, a.EnvRegex, lookup(env))
	return attrs
}
