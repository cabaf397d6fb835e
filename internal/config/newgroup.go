package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CloudWatch's rules for groups are in the CloudWatch Logs API reference: PutRetentionPolicy,
// CreateLogGroup and TagResource.

var retentions = []int32{
	1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
}

func parseRetention(text string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil || !slices.Contains(retentions, int32(n)) {
		return 0, fmt.Errorf("%s is not a retention in days: use one of %s", shown(text), strings.Trim(fmt.Sprint(retentions), "[]"))
	}
	return int32(n), nil
}

var classes = []string{"STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"}

// parseClass reads a class in upper or lower case, with _ or -.
func parseClass(text string) (string, error) {
	class := strings.ReplaceAll(strings.ToUpper(strings.TrimSpace(text)), "-", "_")
	if !slices.Contains(classes, class) {
		return "", fmt.Errorf("%s is not a class of log groups: use one of %s", shown(text), strings.Join(classes, " "))
	}
	return class, nil
}

func parseKMSKey(text string) (string, error) {
	const longest = 256
	key := strings.TrimSpace(text)
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	if utf8.RuneCountInString(key) > longest || strings.ContainsFunc(key, bad) {
		return "", fmt.Errorf("%s is not a KMS key: use its ARN, at most %d characters without white space", shown(text), longest)
	}
	return key, nil
}

const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

func parseTags(text string) (map[string]string, error) {
	tags, err := parsePairs(text, checkTag)
	if err == nil && len(tags) > maxTags {
		return nil, fmt.Errorf("%s has %d tags: use at most %d", shown(text), len(tags), maxTags)
	}
	return tags, err
}

// parsePairs reads KEY=VALUE,KEY=VALUE. It checks each pair, and refuses a key that
// appears twice. White space around keys and values is ignored.
func parsePairs(text string, check func(key, val string) error) (map[string]string, error) {
	pairs := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		key, val, ok := strings.Cut(part, "=")
		key, val = strings.TrimSpace(key), strings.TrimSpace(val)
		if !ok || key == "" {
			pair := shown(part)
			if part != text {
				pair += " in " + shown(text)
			}
			return nil, fmt.Errorf("%s is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE", pair)
		}
		if err := check(key, val); err != nil {
			return nil, err
		}
		if _, twice := pairs[key]; twice {
			return nil, fmt.Errorf("%s has the key %s twice: give it once", shown(text), shown(key))
		}
		pairs[key] = val
	}
	return pairs, nil
}

func checkTag(key, val string) error {
	const allowed = "use letters, digits, spaces and _ . : / = + - @"
	switch {
	case utf8.RuneCountInString(key) > maxTagKey:
		return fmt.Errorf("the key %s has %d characters: use at most %d", shown(key), utf8.RuneCountInString(key), maxTagKey)
	case utf8.RuneCountInString(val) > maxTagValue:
		return fmt.Errorf("the value of the key %s has %d characters: use at most %d", shown(key), utf8.RuneCountInString(val), maxTagValue)
	case len(key) >= 4 && strings.EqualFold(key[:4], "aws:"):
		return fmt.Errorf("the key %s begins with aws:, which is reserved for AWS: use another", shown(key))
	case strings.ContainsFunc(key, notInTag):
		return fmt.Errorf("the key %s has a character that is not allowed in tags: %s", shown(key), allowed)
	case strings.ContainsFunc(val, notInTag):
		return fmt.Errorf("the value %s of the key %s has a character that is not allowed in tags: %s", shown(val), shown(key), allowed)
	}
	return nil
}

// notInTag reports whether the API's pattern for tags, [\p{L}\p{Z}\p{N}_.:/=+\-@],
// excludes r. It also excludes invalid UTF-8, which arrives as U+FFFD, a symbol.
func notInTag(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r)
}
