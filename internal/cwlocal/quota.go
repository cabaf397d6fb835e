package cwlocal

import (
	"maps"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// DefaultRates are the service's quotas, in requests a second for an account and region.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
func DefaultRates() map[string]float64 {
	return map[string]float64{
		"PutLogEvents":       5000,
		"CreateLogStream":    50,
		"DescribeLogStreams": 25,
		"CreateLogGroup":     10,
		"DescribeLogGroups":  10,
		"PutRetentionPolicy": 5,
		"TagResource":        5,
	}
}

// quotas are token buckets, one for each region and operation, that hold one second's requests.
type quotas struct {
	rates map[string]float64

	mu      *sync.Mutex
	buckets map[[2]string]*rate.Limiter
}

func newQuotas(opts Options) quotas {
	q := quotas{rates: map[string]float64{}, mu: new(sync.Mutex), buckets: map[[2]string]*rate.Limiter{}}
	if opts.Quotas {
		q.rates = DefaultRates()
	}
	maps.Copy(q.rates, opts.Rates)
	return q
}

func (q *quotas) allow(c *call, now time.Time) bool {
	r, limited := q.rates[c.req.Operation]
	if !limited {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	key := [2]string{c.req.Auth.Region, c.req.Operation}
	b := q.buckets[key]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(r), int(math.Ceil(r)))
		q.buckets[key] = b
	}
	return b.AllowN(now, 1)
}
