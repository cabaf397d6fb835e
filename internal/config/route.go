package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// A route is the parsed value of ROUTE.
type route struct {
	region   string // region is empty for auto.
	options  []routeOption
	problems []Problem

	badAddress bool // badAddress says that the region cannot be read.
	unknown    bool // unknown says that an option is unknown and not similar to a known one.
}

type routeOption struct {
	row  *setting
	text string
}

const routeScheme = "cloudwatch://"

// parseRoute reads logspout's route URL, cloudwatch://REGION-or-auto?KEY=value&KEY. It
// does not use net/url, because users do not encode the templates in it, such as {{.Lbl
// "a"}}/{{.Name}}. An & between {{ and }} belongs to the template, and # does not begin a
// fragment.
//
// It returns what it could read, and one problem for each part that it could not read.
func parseRoute(text string) (r route) {
	if text = strings.TrimSpace(text); text == "" {
		return r
	}
	if len(text) < len(routeScheme) || !strings.EqualFold(text[:len(routeScheme)], routeScheme) {
		r.refuseAddress(fmt.Errorf("%s is not a route: use cloudwatch://REGION or cloudwatch://auto", shown(text)))
		return r
	}
	address, query, _ := strings.Cut(text[len(routeScheme):], "?")
	if address = strings.TrimSuffix(strings.TrimSpace(address), "/"); address != "" {
		region, err := parseRegion(address)
		if err != nil {
			r.refuseAddress(err)
		}
		r.region = region
	}
	for _, part := range splitQuery(query) {
		key, text, _ := strings.Cut(part, "=")
		r.option(strings.TrimSpace(decode(key)), decode(text))
	}
	return r
}

// refuseAddress records that the address cannot be read.
func (r *route) refuseAddress(err error) {
	r.badAddress = true
	r.problem(err, "lines of containers without the log option region are spooled but not sent", true)
}

func (r *route) problem(err error, applies string, holds bool) {
	r.problems = append(r.problems, Problem{Setting: "ROUTE", Text: err.Error(), Applies: applies, Holds: holds})
}

// option reads one option of the query. A misspelled option is ignored, because all options of
// ROUTE have harmless defaults. An option that is not similar to any of them holds all lines,
// because the user may have meant it to say which lines go where.
func (r *route) option(key, text string) {
	row := routeRow(key)
	switch {
	case key == "" && text == "":
	case row == nil:
		hint := didYouMean(key, RouteOptions())
		err := fmt.Errorf("unknown option %s%s: the options are %s", shown(key), hint, strings.Join(RouteOptions(), " "))
		if hint != "" {
			r.problem(err, "it is ignored", false)
			return
		}
		r.unknown = true
		r.problem(err, heldAll, true)
	case slices.ContainsFunc(r.options, func(o routeOption) bool { return o.row == row }):
		r.problem(fmt.Errorf("option %s is given twice: give it once", key), "the first one", false)
	default:
		if row.flag {
			text = "1" // any value sets it
		}
		r.options = append(r.options, routeOption{row: row, text: text})
	}
}

func routeRow(name string) *setting {
	if row := settingRow(name); row != nil && row.route {
		return row
	}
	return nil
}

// splitQuery splits a query at each & that is not between {{ and }}.
func splitQuery(query string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(query); i++ {
		switch {
		case query[i] == '&':
			parts = append(parts, query[start:i])
			start = i + 1
		case strings.HasPrefix(query[i:], "{{"):
			end := strings.Index(query[i:], "}}")
			if end < 0 { // an invalid template must not swallow the other options
				return append(parts, strings.Split(query[start:], "&")...)
			}
			i += end + 1
		}
	}
	return append(parts, query[start:])
}

// decode undoes the URL encoding of a value, if it is encoded. A value with characters
// that an encoded value cannot contain is not encoded, except perhaps for a %20 here and
// there. In such a value + is a plus sign. A % is a percent sign if it begins no escape
// or the escape of a control character, as in printf "%02d".
func decode(text string) string {
	if !strings.ContainsAny(text, " \"'`{}|<>\\^") {
		if decoded, err := url.QueryUnescape(text); err == nil {
			return decoded
		}
		return text
	}
	decoded, err := url.PathUnescape(text)
	if err != nil || strings.ContainsFunc(decoded, unicode.IsControl) {
		return text
	}
	return decoded
}
