package status

// Total returns what went through the plugin since it started, containers that have ended
// included. It never decreases.
func (r *Report) Total() Traffic {
	var sum Traffic
	sum.Add(r.Ended)
	for i := range r.Containers {
		sum.Add(r.Containers[i].Traffic)
	}
	return sum
}

// Waiting returns what all containers together have undelivered. Lines is nil if it is not
// known for one of them. Oldest is the oldest time that is known.
func (r *Report) Waiting() Backlog {
	lines := int64(0)
	sum := Backlog{Lines: &lines}
	for i := range r.Containers {
		b := &r.Containers[i].Undelivered
		sum.Bytes += b.Bytes
		if b.Lines == nil {
			sum.Lines = nil
		} else {
			lines += *b.Lines
		}
		if !b.Oldest.IsZero() && (sum.Oldest.IsZero() || b.Oldest.Before(sum.Oldest)) {
			sum.Oldest = b.Oldest
		}
	}
	return sum
}

// SpoolUsed returns how full the container's spool is with undelivered bytes, from 0 to 1.
// When it is full, lines are dropped.
func (c *Container) SpoolUsed() float64 { return fraction(c.Undelivered.Bytes, c.Spool.Limit) }

// SpoolUsed returns how full the fullest spool is with undelivered bytes, from 0 to 1. All
// spools together, which share Disk.Limit, count as one too.
func (r *Report) SpoolUsed() float64 {
	used, sum := 0.0, int64(0)
	for i := range r.Containers {
		used = max(used, r.Containers[i].SpoolUsed())
		sum += r.Containers[i].Undelivered.Bytes
	}
	return max(used, fraction(sum, r.Disk.Limit))
}

func fraction(part, whole int64) float64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}
