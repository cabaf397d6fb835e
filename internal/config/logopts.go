package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// readLogOpts reads LOG_OPTS, a JSON object of log options. An invalid option leaves its
// default. If the option decides where lines go, as whom or with which key, the lines that it
// decides about are held. If nobody can tell which options were meant, all lines are held.
func (l *loader) readLogOpts() {
	text := strings.TrimSpace(l.env["LOG_OPTS"])
	if text == "" {
		return
	}
	pairs, err := parseObject(text)
	if err != nil {
		l.logOptsUnclear(err.Error())
		for _, name := range []string{"spool-max-size", "spool-full", "history-size"} {
			l.hostFailed[name] = &Problem{Setting: "LOG_OPTS"}
		}
		return
	}
	opts, unknown := map[string]string{}, []string(nil)
	for _, p := range pairs {
		row := optionRow(p.name)
		switch {
		case row == nil:
			unknown = append(unknown, p.name)
		case p.err != nil:
			l.failLogOpt(Problem{Setting: fromLogOpts + p.name, Text: p.err.Error()}, row)
		case row.set == nil:
			l.logOptIgnored(Problem{Setting: fromLogOpts + p.name,
				Text: "dockerd reads this option before it calls the plugin: set it with --log-opt"})
		default:
			opts[p.name] = p.text
		}
	}
	given, invalid := readOptions(opts, fromLogOpts, func(row *option, v value) error {
		if row.setting != "" {
			return nil // The setting's row checks it.
		}
		return l.s.checkOption(row, v)
	})
	for name, o := range given {
		if !o.bad && l.hostFailed[name] == nil {
			l.host[name] = o
		}
	}
	for _, i := range invalid {
		p := Problem{Setting: fromLogOpts + i.names[0], Text: i.err.Error()}
		if len(i.names) > 1 {
			p = Problem{Setting: "LOG_OPTS", Text: fmt.Sprintf("options %q and %q %v", i.names[0], i.names[1], i.err)}
		}
		l.failLogOpt(p, i.rows...)
	}
	for _, name := range unknown {
		l.unknownLogOpt(name)
	}
}

// logOptsUnclear records that nobody can tell what LOG_OPTS says about any option.
func (l *loader) logOptsUnclear(text string) {
	l.problems = append(l.problems, rowProblem{Problem: Problem{Setting: "LOG_OPTS", Text: text, Applies: heldAll, Holds: true}})
	l.s.hold.all = reason("LOG_OPTS")
	l.s.hold.options["role-arn"] = reason("LOG_OPTS")
}

func (l *loader) logOptIgnored(p Problem) {
	p.Applies = "it is ignored"
	l.problems = append(l.problems, rowProblem{Problem: p})
}

// unknownLogOpt reports an unknown option. An option that is similar to a known one counts as
// an invalid value of that one. Any other option may have been meant to say where lines go.
func (l *loader) unknownLogOpt(name string) {
	p := Problem{Setting: "LOG_OPTS", Text: fmt.Sprintf("unknown option %s%s", shown(name), knownOptions(name))}
	row := optionRow(closestOption(name))
	if row == nil {
		l.logOptsUnclear(p.Text)
		return
	}
	if _, given := l.host[row.name]; given || row.set == nil || l.hostFailed[row.name] != nil {
		l.logOptIgnored(p)
		return
	}
	l.failLogOpt(p, row)
}

// failLogOpt records that options cannot be used, for one reason. If a setting has the same
// meaning, decide reports it.
func (l *loader) failLogOpt(p Problem, rows ...*option) {
	for _, row := range rows {
		l.hostFailed[row.name] = &p
		if row.setting != "" || isFiles(row.name) {
			return
		}
	}
	row := rows[0]
	switch {
	case len(rows) > 1:
		p.Applies = "neither of them"
	case row.name == "region" && l.route.region != "":
		p.Applies = fmt.Sprintf("%s (ROUTE)", shown(l.route.region))
	case row.routing:
		which := "without the log option " + row.name
		if row.name == "external-id" {
			which = "with a role and " + which
		}
		p.Applies, p.Holds = "lines of containers "+which+" are spooled but not sent", true
		if row.name != "region" { // see chooseRegion
			l.s.hold.options[row.name] = reason(p.Setting)
		}
	case row.def != "":
		p.Applies = row.def + " (the default)"
	default:
		p.Applies = "none"
	}
	l.problems = append(l.problems, rowProblem{Problem: p})
}

// logOptsFor returns the values that LOG_OPTS has for a setting.
func (l *loader) logOptsFor(row *setting) (all []candidate) {
	for i := range options {
		o := &options[i]
		if o.setting != row.name {
			continue
		}
		if p := l.hostFailed[o.name]; p != nil {
			all = append(all, candidate{failed: p})
		} else if given, ok := l.host[o.name]; ok {
			all = append(all, candidate{value: given.value})
		}
	}
	switch row.name {
	case "LOGSPOUT_STREAM":
		if o, ok := l.host["tag"]; ok {
			o.tag = true
			all = append(all, candidate{value: o.value})
		}
	case "HISTORY_SIZE":
		all = append(all, l.logOptsFiles()...)
	}
	return all
}

// isFiles reports whether an option is one of json-file's, which set the history's size.
func isFiles(name string) bool { return name == "max-size" || name == "max-file" }

// filesCount reports whether max-size and max-file in LOG_OPTS set the history's size.
func (l *loader) filesCount() bool {
	_, own := l.host["history-size"]
	return !own && l.hostFailed["history-size"] == nil && l.hostFailed["max-size"] == nil && l.hostFailed["max-file"] == nil
}

// logOptsFiles returns what max-size and max-file in LOG_OPTS say about the history's size.
func (l *loader) logOptsFiles() (all []candidate) {
	for _, name := range []string{"max-size", "max-file"} {
		if p := l.hostFailed[name]; p != nil {
			all = append(all, candidate{failed: p})
		}
	}
	if size, ok := l.host["max-size"]; ok && l.filesCount() {
		n := min(filesSize(size.text, l.host["max-file"].text, l.s.largest()), maxSize)
		all = append(all, candidate{value: value{text: strconv.FormatInt(n, 10), from: size.from}})
	}
	return all
}

// member is one member of LOG_OPTS.
type member struct {
	name, text string
	err        error
}

// parseObject reads a JSON object whose values are strings, numbers or booleans. Its errors
// repeat no value, because one may be secret. The error of a member is only about that member.
func parseObject(text string) ([]member, error) {
	const use = `: use one such as {"format":"json","delay":"8"}`
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not UTF-8" + use)
	}
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		at := int64(0)
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = e.Offset
		}
		return nil, fmt.Errorf("it is not a JSON object (%w, at byte %d)%s", err, at, use)
	}
	if !strings.HasPrefix(text, "{") {
		return nil, errors.New("it is not a JSON object" + use)
	}
	// A map would hide a name that is given twice.
	d := json.NewDecoder(strings.NewReader(text))
	_, _ = d.Token()
	var all []member
	at := map[string]int{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err == nil {
			err = d.Decode(&raw)
		}
		if err != nil || !ok {
			return nil, errors.New("it is not a JSON object" + use)
		}
		if i, twice := at[name]; twice {
			all[i].err = errors.New("it is given twice: give it once")
			continue
		}
		at[name] = len(all)
		m := member{name: name}
		m.text, m.err = scalar(raw)
		all = append(all, m)
	}
	return all, nil
}

// scalar returns the text of a JSON value, as an option's value.
func scalar(raw json.RawMessage) (string, error) {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	case '{':
		return "", errors.New("an object is not a value: use a string, a number or a boolean")
	case '[':
		return "", errors.New("an array is not a value: use a string, a number or a boolean")
	case 'n':
		return "", errors.New("null is not a value: use a string, a number or a boolean")
	}
	return string(raw), nil // a number, or true or false
}
