package check

import (
	"context"
	"math/bits"
	"slices"

	"github.com/logspool/logspool/internal/target"
)

// groupOption is something that a new log group gets when it is created, and that CloudWatch
// may refuse.
type groupOption struct {
	name   string
	remedy string
	// leaveOut removes the option.
	leaveOut func(*target.NewGroup)
}

// groupOptions returns the options that new groups get.
func (p *probe) groupOptions(n target.NewGroup) []groupOption {
	var all []groupOption
	if len(n.Tags) > 0 {
		all = append(all, groupOption{"logs:TagResource", "allow logs:TagResource on " + p.groupARN(p.group) + ":*, or leave out the tags",
			func(n *target.NewGroup) { n.Tags = nil }})
	}
	if n.KMSKeyID != "" {
		all = append(all, groupOption{"kms key", "check that the key is enabled, that it is in the region " + p.access.Region +
			", and that its policy lets logs." + p.access.Region + ".amazonaws.com use it",
			func(n *target.NewGroup) { n.KMSKeyID = "" }})
	}
	if n.Class != "" {
		all = append(all, groupOption{"group class", "choose a class that the region supports",
			func(n *target.NewGroup) { n.Class = "" }})
	}
	return all
}

// checkGroup creates the log group with the options of new groups.
func (p *probe) checkGroup(ctx context.Context) {
	const name = "logs:CreateLogGroup"
	want := *p.container.Create.NewGroup
	options := p.groupOptions(want)
	switch {
	case !p.container.Create.Group:
		p.add(good(name, "not needed: create-group is false"))
	case p.DryRun:
		const why = "not checked: --dry-run"
		p.add(unknown(name, why))
		for _, o := range options {
			p.add(unknown(o.name, why))
		}
	default:
		p.createGroup(ctx, want, options)
	}
}

// createGroup creates the group with as many of the options as CloudWatch accepts, so that
// one call that fails does not hide the others. An option that it had to leave out is the
// reason why the call with this option failed.
func (p *probe) createGroup(ctx context.Context, want target.NewGroup, options []groupOption) {
	const name = "logs:CreateLogGroup"
	errs := map[uint]error{} // by the set of options, one bit for each
	var err error
	made, accepted := false, uint(0)
	for _, accepted = range largestFirst(len(options)) {
		n := want
		for i, o := range options {
			if accepted&(1<<i) == 0 {
				o.leaveOut(&n)
			}
		}
		err = p.createLogGroup(ctx, p.group, n)
		errs[accepted] = err
		// A request whose answer was lost may have created the group, if there was none.
		ours := p.lost && p.missing
		made = err == nil || ours && isAny(err, existsCodes)
		p.ownGroup = made || ours && statusOf(err) == 0
		if made || isAny(err, existsCodes) || !aboutRequest(err) {
			break
		}
	}
	switch {
	case made:
		p.add(good(name, "allowed"))
	case isAny(err, existsCodes):
		p.add(good(name, "allowed; the log group %s exists already", p.group))
	default:
		p.outcome(name, err, "")
	}
	for i, o := range options {
		switch {
		case !made:
			p.add(unknown(o.name, "not checked: no log group was created"))
		case accepted&(1<<i) != 0:
			p.add(good(o.name, "accepted"))
		default:
			p.add(bad(o.name, o.remedy, "%s", text(errs[accepted|1<<i])))
		}
	}
}

// aboutRequest reports whether another request of the same kind may succeed.
func aboutRequest(err error) bool {
	return statusOf(err) >= 400 && statusOf(err) < 500 && !isAny(err, slices.Concat(throttleCodes, authCodes, []string{"OperationAbortedException", "LimitExceededException"}))
}

// largestFirst returns all sets of n options, those with more options first.
func largestFirst(n int) []uint {
	sets := make([]uint, 1<<n)
	for i := range sets {
		sets[i] = uint(i)
	}
	slices.SortStableFunc(sets, func(a, b uint) int { return bits.OnesCount(b) - bits.OnesCount(a) })
	return sets
}
