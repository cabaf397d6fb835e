package uploader

import "golang.org/x/time/rate"

// quotas pace the calls that create, below what the service allows an account and region. They are one for all
// accesses of a region and endpoint: two roles may be roles of one account, and where they are not, going
// slowly costs little. Nobody waits in them for an answer, so a role that fails takes no time from another.
type quotas struct {
	streams    *rate.Limiter
	groups     *rate.Limiter
	retentions *rate.Limiter
}

func newQuotas() *quotas {
	return &quotas{
		streams:    rate.NewLimiter(createStreamsPerSecond, createStreamsBurst),
		groups:     rate.NewLimiter(createGroupsPerSecond, createGroupsBurst),
		retentions: rate.NewLimiter(putRetentionsPerSecond, putRetentionsBurst),
	}
}
