package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// labelPrefix begins the labels of a container that set its options.
const labelPrefix = "logspool."

const fromLabel = "label " + labelPrefix

// readLabels reads the labels logspool.OPTION of a container. Anyone who builds an image can
// set them, so they set only what events look like and are named, and an invalid one is
// ignored. The warnings are at most maxListed and one more, however many labels there are.
func (s *Settings) readLabels(labels map[string]string) (given givenOptions, warnings []string) {
	opts := map[string]string{}
	var refused []string
	for key, text := range labels {
		name, ok := strings.CutPrefix(key, labelPrefix)
		if !ok || strings.TrimSpace(text) == "" {
			continue
		}
		if row := optionRow(name); row != nil && row.label {
			opts[name] = text
		} else {
			refused = append(refused, name)
		}
	}
	given, invalid := readOptions(opts, fromLabel, s.checkOption)
	maps.DeleteFunc(given, func(_ string, o givenOption) bool { return o.bad })
	for _, i := range invalid {
		ignored := "; the label is ignored"
		if len(i.names) > 1 {
			ignored = "; both labels are ignored"
		}
		warnings = append(warnings, i.in("label", labelPrefix).Error()+ignored)
	}
	slices.Sort(refused)
	for _, name := range refused[:min(len(refused), maxListed)] {
		warnings = append(warnings, fmt.Sprintf("label %s: %s; the label is ignored", shown(labelPrefix+name), whyRefused(name)))
	}
	if n := len(invalid) + len(refused) - maxListed; n > 0 {
		warnings = append(warnings[:maxListed], "ignored labels logspool.* that are not listed here: "+strconv.Itoa(n))
	}
	return given, warnings
}

// whyRefused says why a label cannot set an option.
func whyRefused(name string) string {
	var names, allowed []string
	for _, row := range options {
		if !row.label {
			continue
		}
		names, allowed = append(names, row.name), append(allowed, row.name)
		if row.alias != "" {
			names = append(names, row.alias)
		}
	}
	if row := optionRow(name); row != nil {
		return "a label cannot set this option, use the log option " + name
	}
	if hint := didYouMean(name, names); hint != "" {
		return "there is no such option" + hint
	}
	return "there is no such option: labels can set " + strings.Join(allowed, " ")
}
