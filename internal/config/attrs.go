package config

import "regexp"

// Attrs returns the labels and the variables of the environment, entries KEY=value, that the log
// options labels, labels-regex, env and env-regex choose, as Docker does (moby, daemon/logger/loginfo.go,
// ExtraAttributes): a name that is not there is passed over, of two variables the last counts, and a
// variable takes the place of a label of the same name. The result is the caller's, and never nil.
func (c *Container) Attrs(labels map[string]string, env []string) map[string]string {
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
	choose(c.Labels, c.LabelsRegex, labels)
	choose(c.Env, c.EnvRegex, lookup(env))
	return attrs
}
