package uploader

import (
	"time"

	"github.com/logspool/logspool/internal/backoff"
)

// The limits of CloudWatch Logs that the uploader keeps to. A limit that changes is changed
// here only. Sources: the API reference of PutLogEvents and InputLogEvent, and the page
// "CloudWatch Logs quotas".
const (
	// maxBatchBytes bounds one PutLogEvents call: the bytes of all messages in UTF-8, and
	// eventOverhead for each event (PutLogEvents: "The maximum batch size is 1,048,576
	// bytes").
	maxBatchBytes = 1_048_576
	eventOverhead = 26
	// maxBatchEvents bounds the number of events of one call (PutLogEvents).
	maxBatchEvents = 10_000
	// maxBatchSpan is the shortest time from the first to the last event that CloudWatch
	// refuses (PutLogEvents: a batch "cannot span more than 24 hours").
	maxBatchSpan = 24 * time.Hour
	// maxMessageBytes is the longest message that fits in a batch of its own. It was 256
	// KiB until April 2025.
	maxMessageBytes = maxBatchBytes - eventOverhead

	// formerEventLimit was the limit of an event, with eventOverhead, until April 2025.
	// Emulators and some partitions still have it.
	formerEventLimit = 256 << 10
	// minEventLimit is the smallest number in an error that counts as the limit of an
	// event.
	minEventLimit = 1 << 10

	// The quotas of an account and region are 50 CreateLogStream, 10 CreateLogGroup and 5
	// PutRetentionPolicy calls a second. All hosts of the account share them. One host uses
	// half of the first, and a fifth of the others.
	createStreamsPerSecond = 25
	createStreamsBurst     = 5
	createGroupsPerSecond  = 2
	createGroupsBurst      = 2
	putRetentionsPerSecond = 1
	putRetentionsBurst     = 1
)

// The uploader's own limits.
const (
	// maxBodyGrowth ends a batch whose JSON grows out of proportion, so that memory stays
	// bounded: it takes no more events once it has so many bytes of JSON for each byte that it
	// may count. Quotation marks and control characters take two to six bytes where CloudWatch
	// counts one. The last event may go beyond it.
	maxBodyGrowth = 2
	// maxBodyBytes is the length of the JSON at which the largest batch ends.
	maxBodyBytes = maxBodyGrowth * maxBatchBytes
	// maxInFlight is how many batches of one stream may be in flight at once.
	maxInFlight = 4
	// maxRequests is how many requests of one access may be in flight at once.
	maxRequests = 24
	// littleBytes and littleEvents are more than a sender with little to send has. Its requests
	// go before those of senders with a backlog.
	littleBytes  = 128 << 10
	littleEvents = 1250
	// retainedBudget bounds the bytes of all bodies in flight, except small ones. The builders
	// of batches need about 3 MiB each in addition (see maxBuilders). Together with littleBudget
	// they stay below 24 MiB.
	retainedBudget = 11 << 20
	// retainedZipped is what a compressed batch takes from retainedBudget until its size is
	// known, and retainedPlain what a plain one takes.
	retainedZipped = 3 << 19
	retainedPlain  = 5 << 19
	// littleBudget, littleZipped and littlePlain are the same for small batches.
	littleBudget = 2 << 20
	littleZipped = 384 << 10
	littlePlain  = 640 << 10
	// maxBuilders is how many batches may be built (read, escaped, compressed) at once, except
	// small ones, which are built one at a time.
	maxBuilders = 3
	// maxFillTime is how long the uploader fills one batch. A feed may need time for each
	// event, and other senders wait for the builder.
	maxFillTime = 2 * time.Second
	// maxOpenFeeds is how many feeds of one stream may keep their buffers and files between
	// two batches of a backlog.
	maxOpenFeeds = 16
	// maxIdleServices is how many unused accesses are remembered, with their clients and
	// what is known about their groups. A forgotten access costs one request for each
	// group, and reading the credentials again.
	maxIdleServices = 64

	// callTimeout bounds one call, including the credentials and the connection.
	callTimeout = 20 * time.Second
	// headerTimeout bounds the wait for an answer after the request is written.
	headerTimeout = 10 * time.Second

	// minBackoff is the shortest wait before the next try after a failure.
	minBackoff = 50 * time.Millisecond
	// firstBackoff is the longest wait after one failure.
	firstBackoff = 250 * time.Millisecond
	// maxBackoff is the longest wait while CloudWatch or an access fails. Added to
	// callTimeout, it must stay below 30 s, so that delivery resumes within 30 s after an
	// outage.
	maxBackoff = 8 * time.Second
	// maxSlowBackoff is the longest wait while only one target fails, which somebody must
	// fix.
	maxSlowBackoff = 25 * time.Second
)

// retryDelay returns a random wait after the n-th failure in a row, counted from 1. It is
// at most most.
func retryDelay(n int, most time.Duration) time.Duration {
	return backoff.Jitter(minBackoff, backoff.Bound(n, firstBackoff, most))
}
