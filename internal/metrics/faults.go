package metrics

import (
	"regexp"
	"strings"

	"github.com/logspool/logspool/internal/status"
)

// maxFaults bounds the series of faults. Beyond it, faults are counted by their message only.
const maxFaults = 200

// fault has the values of faultLabels.
type fault [7]string

func sendFaults(s sink, all []status.Fault) {
	s.count(faultCount, int64(len(all)))
	counts := map[fault]int64{}
	for _, f := range all {
		key := fault{
			Slug(f.What), kindLabel(f.Kind), label(f.Attrs["region"]), label(f.Attrs["group"]),
			label(f.Attrs["container"]), label(f.Attrs["setting"]), label(f.Attrs["reason"]),
		}
		if _, known := counts[key]; !known && len(counts) >= maxFaults {
			key = fault{key[0]}
		}
		counts[key]++
	}
	for key, n := range counts {
		s.count(faultInfo, n, key[:]...)
	}
}

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

// maxSlug is the length of the longest slug.
const maxSlug = 100

// Slug returns the label of a message in the log: the text up to the first ; or :, in lower
// case and with _ between the words.
func Slug(message string) string {
	if i := strings.IndexAny(message, ";:"); i > 0 {
		message = message[:i]
	}
	message = strings.ReplaceAll(strings.ToLower(message), "'", "")
	slug := strings.Trim(notInSlug.ReplaceAllString(message, "_"), "_")
	return slug[:min(len(slug), maxSlug)]
}

// kinds matches error codes and the like. A kind may also be a whole error, whose values are
// not bounded.
var kinds = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_. ]{0,63}$`)

func kindLabel(kind string) string {
	if kinds.MatchString(kind) {
		return kind
	}
	return ""
}
