package uploader

import (
	"time"

	"github.com/logspool/logspool/internal/backoff"
)

// The rules of CloudWatch Logs that the uploader keeps to, one constant each, so that a change of
// the service is a change of this file. Sources: the API reference of PutLogEvents and InputLogEvent,
// and the page "CloudWatch Logs quotas".
const (
	// maxBatchBytes bounds one PutLogEvents call: the UTF-8 bytes of all messages and
	// eventOverhead for each event (PutLogEvents: "The maximum batch size is 1,048,576 bytes").
	maxBatchBytes = 1_048_576
	eventOverhead = 26
	// maxBatchEvents bounds the number of events of one call (PutLogEvents).
	maxBatchEvents = 10_000
	// maxBatchSpan is the time from the first to the last event of one call that is too much
	// already (PutLogEvents: a batch "cannot span more than 24 hours").
	maxBatchSpan = 24 * time.Hour
	// maxMessageBytes is the longest message that fits a batch of its own. It was 256 KiB until
	// April 2025.
	maxMessageBytes = maxBatchBytes - eventOverhead

	// formerEventLimit was the limit of an event, eventOverhead included, until April 2025. Emulators and some
	// partitions still have it. leastEventLimit is the least that is believed to be one.
	formerEventLimit = 256 << 10
	minEventLimit    = 1 << 10

	// Quotas for an account and region are 50 CreateLogStream, 10 CreateLogGroup and 5 PutRetentionPolicy calls a
	// second, shared by every host of the account: one host takes half of the first and a fifth of the others.
	createStreamsPerSecond = 25
	createStreamsBurst     = 5
	createGroupsPerSecond  = 2
	createGroupsBurst      = 2
	putRetentionsPerSecond = 1
	putRetentionsBurst     = 1
)

// What the uploader sets itself.
const (
	// maxBodyBytes ends a batch whose JSON has grown out of proportion (quotes and control
	// characters take two to six bytes where the service counts one), so that memory stays bounded. Only a
	// single event may be larger.
	maxBodyBytes = 2 << 20
	// maxInFlight is how many batches of one stream may be in flight at once.
	maxInFlight = 4
	// maxRequests is how many requests by one access may be in flight at once.
	maxRequests = 24
	// retainedBudget bounds the bytes of all bodies in flight; what the builders of batches hold (about 3 MiB
	// each, see maxBuilders) comes on top. Together they stay under 24 MiB.
	retainedBudget = 12 << 20
	// retainedZipped and retainedPlain are what is set aside of it before a batch's size is known.
	retainedZipped = 3 << 19
	retainedPlain  = 5 << 19
	// maxBuilders is how many batches may be built (read, escaped, compressed) at once.
	maxBuilders = 4

	// maxOpenFeeds is how many feeds of one stream may keep their buffers and files from one batch of a backlog to the next.
	maxOpenFeeds = 16

	// maxFillTime is how long the events of one batch may take to come: a feed may have much to do for each, and others wait
	// for the builder.
	maxFillTime = 2 * time.Second

	// maxIdleServices is how many accesses are remembered that nobody uses now: what is known of their groups, and
	// their clients. Forgetting costs a request a group and a look at the credentials.
	maxIdleServices = 64

	// callTimeout bounds one call to the service, credentials and connection included, and
	// headerTimeout the wait for an answer once the request is written.
	callTimeout   = 20 * time.Second
	headerTimeout = 10 * time.Second
	// minBackoff is the shortest wait before a service that failed is tried again, and firstBackoff the longest after
	// one failure.
	minBackoff   = 50 * time.Millisecond
	firstBackoff = 250 * time.Millisecond
	// maxBackoff bounds the wait before a service that failed is tried again. A call that hangs until its
	// deadline just before the service returns and the longest wait after it must stay under 30 s.
	maxBackoff = 8 * time.Second
	// maxSlowBackoff bounds the wait where the trouble is one target's alone and somebody must mend it.
	maxSlowBackoff = 25 * time.Second
)

// retryDelay returns a random wait after the n-th failure in a row, counted from 1, of at most most.
func retryDelay(n int, most time.Duration) time.Duration {
	return backoff.Jitter(minBackoff, backoff.Bound(n, firstBackoff, most))
}
