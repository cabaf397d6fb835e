package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// address is the group and the name of a stream.
type address struct{ group, stream string }

// contents is the messages of streams, in order.
type contents map[address][]string

func (c contents) addresses() []address {
	return slices.SortedFunc(maps.Keys(c), func(a, b address) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.stream, b.stream))
	})
}

func (c contents) count() (n int) {
	for _, lines := range c {
		n += len(lines)
	}
	return n
}

// String returns a table of the streams.
func (c contents) String() string {
	group, stream := len("group"), len("stream")
	for a := range c {
		group, stream = max(group, len(a.group)), max(stream, len(a.stream))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "   %-*s  %-*s  events\n", group, "group", stream, "stream")
	for _, a := range c.addresses() {
		fmt.Fprintf(&b, "   %-*s  %-*s  %6d\n", group, a.group, stream, a.stream, len(c[a]))
	}
	return b.String()
}

// compare returns an error that says how have differs from want, stream by stream.
func compare(want, have contents) error {
	var errs []error
	for _, a := range want.addresses() {
		if diff := difference(want[a], have[a]); diff != "" {
			errs = append(errs, fmt.Errorf("group %s, stream %s: %s", a.group, a.stream, diff))
		}
	}
	for _, a := range have.addresses() {
		if _, ok := want[a]; !ok {
			errs = append(errs, fmt.Errorf("group %s, stream %s: this stream should not exist", a.group, a.stream))
		}
	}
	return errors.Join(errs...)
}

// difference returns how the lines differ, and nothing if they are the same.
func difference(want, have []string) string {
	if slices.Equal(want, have) {
		return ""
	}
	count := map[string]int{} // lines of want that were not found in have yet
	for _, l := range want {
		count[l]++
	}
	known := maps.Clone(count)
	missing, doubled, unknown := len(want), 0, 0
	for _, l := range have {
		switch {
		case count[l] > 0:
			count[l]--
			missing--
		case known[l] > 0:
			doubled++
		default:
			unknown++
		}
	}
	if missing == 0 && doubled == 0 && unknown == 0 {
		return "the lines are not in order"
	}
	return fmt.Sprintf("%d of %d lines are missing; %d arrived twice, and %d were never printed", missing, len(want), doubled, unknown)
}
