package uploader

import (
	"strings"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// omittedHint says how to get the options of n that less does not have.
func omittedHint(n, less target.NewGroup) string {
	var all []string
	if len(n.Tags) > 0 && len(less.Tags) == 0 {
		all = append(all, "allow logs:TagResource, and tag this group by hand")
	}
	if n.Class != less.Class {
		all = append(all, "a group's class is fixed at creation: choose a class that the region supports, delete the group, and the plugin creates it again")
	}
	return strings.Join(all, "; ")
}

// lossHint explains a reason to the operator. It is empty if CloudWatch's error explains
// it.
func lossHint(r events.LossReason) string {
	switch r {
	case events.TooOld, events.Expired:
		return r.Text()
	case events.TooNew:
		return r.Text() + ": check the host's clock"
	case events.TooLarge:
		return "the beginning of the event is delivered; the rest exceeds CloudWatch's limit"
	default:
		return ""
	}
}
