package metrics

import (
	"slices"

	"github.com/logspool/logspool/internal/status"
)

// histogramData is a histogram of a report.
type histogramData = status.Histogram

// serviceStates has all states, the best first.
var serviceStates = []string{
	status.ServiceIdle, status.ServiceOK, status.ServiceThrottled, status.ServiceFailing,
	status.ServiceUnreachable, status.ServiceDenied, status.ServiceUnauthenticated,
}

// access has the values of accessLabels.
type access [4]string

// sendServices sends the series of each access. Two accesses may have the same labels, because
// the path of a credentials endpoint is a secret, and an external ID is in no label. They are
// added up, and the worse state counts.
func sendServices(s sink, all []status.Service) {
	sums := map[access]*status.Service{}
	for i := range all {
		svc := &all[i]
		key := access{label(svc.Region), label(svc.Endpoint), label(svc.Role), label(svc.Credentials)}
		sum := sums[key]
		if sum == nil {
			sum = &status.Service{State: svc.State, Requests: map[string]int64{}}
			sums[key] = sum
		}
		addService(sum, svc)
	}
	for key, sum := range sums {
		sendService(s, sum, key[:])
	}
}

func addService(sum, svc *status.Service) {
	if slices.Index(serviceStates, svc.State) > slices.Index(serviceStates, sum.State) {
		sum.State = svc.State
	}
	for outcome, n := range svc.Requests {
		sum.Requests[label(outcome)] += n
	}
	addHistogram(&sum.Latency, svc.Latency)
	addHistogram(&sum.BatchEvents, svc.BatchEvents)
	addHistogram(&sum.BatchBytes, svc.BatchBytes)
	sum.Accepted.Add(svc.Accepted)
	sum.BodyBytes += svc.BodyBytes
	sum.SentBytes += svc.SentBytes
	sum.Retries += svc.Retries
	sum.Throttles += svc.Throttles
	sum.Created += svc.Created
	sum.Senders += svc.Senders
	sum.InFlight += svc.InFlight
	sum.Limit += svc.Limit
}

// addHistogram adds h. All histograms of one metric have the same bounds.
func addHistogram(sum *status.Histogram, h status.Histogram) {
	if sum.Bounds == nil {
		sum.Bounds = h.Bounds
	}
	if !slices.Equal(sum.Bounds, h.Bounds) {
		return
	}
	if sum.Counts == nil {
		sum.Counts = make([]int64, len(h.Bounds)+1)
	}
	for i := range min(len(h.Counts), len(sum.Counts)) {
		sum.Counts[i] += h.Counts[i]
	}
	sum.Sum += h.Sum
}

func sendService(s sink, svc *status.Service, l []string) {
	for _, state := range serviceStates {
		s.send(serviceState, oneIf(state == svc.State), append(l, state)...)
	}
	for outcome, n := range svc.Requests {
		s.count(requests, n, append(l, outcome)...)
	}
	s.distribution(latency, svc.Latency, l...)
	s.distribution(batchEvents, svc.BatchEvents, l...)
	s.distribution(batchBytes, svc.BatchBytes, l...)
	s.count(acceptedEvents, svc.Accepted.Lines, l...)
	s.count(acceptedBytes, svc.Accepted.Bytes, l...)
	s.count(bodyBytes, svc.BodyBytes, l...)
	s.count(sentBytes, svc.SentBytes, l...)
	s.count(retries, svc.Retries, l...)
	s.count(throttles, svc.Throttles, l...)
	s.count(created, svc.Created, l...)
	s.count(senders, svc.Senders, l...)
	s.count(inFlight, svc.InFlight, l...)
	s.count(inFlightLimit, svc.Limit, l...)
}
