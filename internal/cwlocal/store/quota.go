package store

import (
	"maps"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// DefaultRates returns the service's quotas by operation, in requests per second for an
// account and region.
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

// Quotas limit the rate of requests by token buckets, one per region and operation. A
// bucket holds the requests of one second.
type Quotas struct {
	rates map[string]float64

	mu      sync.Mutex
	buckets map[[2]string]*rate.Limiter // buckets is keyed by region and operation.
}

// NewQuotas makes Quotas of rates and, if defaults is set, of DefaultRates for the other
// operations.
func NewQuotas(defaults bool, rates map[string]float64) *Quotas {
	q := &Quotas{rates: map[string]float64{}, buckets: map[[2]string]*rate.Limiter{}}
	if defaults {
		q.rates = DefaultRates()
	}
	maps.Copy(q.rates, rates)
	return q
}

// Allow reports whether a request is within the quota, and counts it if it is.
func (q *Quotas) Allow(region, operation string, now time.Time) bool {
	perSecond, limited := q.rates[operation]
	if !limited {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	key := [2]string{region, operation}
	b := q.buckets[key]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond)))
		q.buckets[key] = b
	}
	return b.AllowN(now, 1)
}
