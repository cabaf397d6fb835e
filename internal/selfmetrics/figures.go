package selfmetrics

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/status"
)

const (
	// Namespace is the namespace of the metrics in CloudWatch.
	Namespace = "logspool"

	// hostDimension is the name of the only dimension. Each value makes metrics of its own,
	// which AWS bills, so there is no dimension for containers.
	hostDimension = "Host"
)

// Doc describes one metric. Tests compare docs/metrics.md with it.
type Doc struct {
	// Name is the name in CloudWatch.
	Name string
	// Unit is a unit of CloudWatch (API reference, MetricDatum).
	Unit string
	Help string
}

// metric is one metric of an event.
type metric struct {
	Doc
	value func(*figures) any
}

// metrics are the metrics of an event, in the order of the documentation.
var metrics = []metric{
	{Doc{"Up", "Count", "1. An alarm that takes missing data as breaching finds a host that is down or cannot send."},
		func(*figures) any { return 1 }},
	{Doc{"OldestUndelivered", "Seconds", "the age of the oldest line that waits for delivery, and 0 if none waits or the age is not known"},
		func(f *figures) any { return f.oldest }},
	{Doc{"UndeliveredBytes", "Bytes", "what waits for delivery in all spools"},
		func(f *figures) any { return f.undelivered }},
	{Doc{"SpoolUsed", "Percent", "how full the fullest spool is with undelivered bytes; at 100, lines are lost"},
		func(f *figures) any { return f.spoolUsed }},
	{Doc{"DeliveredEvents", "Count", "events that CloudWatch accepted since the last event with figures"},
		func(f *figures) any { return f.delivered.Lines }},
	{Doc{"DeliveredBytes", "Bytes", "their size, as CloudWatch counts it"},
		func(f *figures) any { return f.delivered.Bytes }},
	{Doc{"DroppedLines", "Count", "lines that were lost since the last event with figures, for any reason"},
		func(f *figures) any { return f.dropped.Lines }},
	{Doc{"DroppedBytes", "Bytes", "their size"},
		func(f *figures) any { return f.dropped.Bytes }},
	{Doc{"FailedRequests", "Count", "requests that failed since the last event with figures; the plugin tries them again"},
		func(f *figures) any { return f.failed }},
}

// Docs describes the metrics.
func Docs() []Doc {
	docs := make([]Doc, len(metrics))
	for i, m := range metrics {
		docs[i] = m.Doc
	}
	return docs
}

// figures are the key figures of one report.
type figures struct {
	oldest      float64
	undelivered int64
	spoolUsed   float64

	// These are counters.
	delivered, dropped status.Counter
	failed             int64
}

func figuresOf(r *status.Report) figures {
	waiting, total := r.Waiting(), r.Total()
	f := figures{undelivered: waiting.Bytes, spoolUsed: 100 * r.SpoolUsed(), delivered: total.Delivered}
	if waiting.Bytes > 0 && !waiting.Oldest.IsZero() {
		f.oldest = max(r.Time.Sub(waiting.Oldest).Seconds(), 0)
	}
	for _, n := range total.Dropped {
		f.dropped.Add(n)
	}
	for i := range r.Services {
		for outcome, n := range r.Services[i].Requests {
			switch outcome {
			case "accepted", "not_found", "cancelled": // a stream that does not exist yet is no failure
			default:
				f.failed += n
			}
		}
	}
	return f
}

// since returns f with what the counters have gained.
func (f figures) since(last figures) figures {
	f.delivered = gained(last.delivered, f.delivered)
	f.dropped = gained(last.dropped, f.dropped)
	f.failed = max(f.failed-last.failed, 0) // an access that is not used any more is not in the report
	return f
}

func gained(before, now status.Counter) status.Counter {
	return status.Counter{Lines: max(now.Lines-before.Lines, 0), Bytes: max(now.Bytes-before.Bytes, 0)}
}

// directive says what CloudWatch makes of an event (embedded metric format, MetricDirective).
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct{ Name, Unit string }

// encode returns the event, in the embedded metric format:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func encode(host string, at time.Time, f figures) []byte {
	d := directive{Namespace: Namespace, Dimensions: [][]string{{hostDimension}}}
	root := map[string]any{hostDimension: dimension(host)}
	for _, m := range metrics {
		d.Metrics = append(d.Metrics, definition{m.Name, m.Unit})
		root[m.Name] = m.value(&f)
	}
	root["_aws"] = map[string]any{"Timestamp": at.UnixMilli(), "CloudWatchMetrics": []directive{d}}
	text, err := json.Marshal(root)
	if err != nil {
		panic(err) // every value is a number or a string
	}
	return text
}

// maxDimension is the length of the longest value that dimension returns. CloudWatch allows
// 1,024 characters, and 512 for the name of a stream.
const maxDimension = 255

// dimension returns a valid value of a dimension: ASCII characters, at least one of them not
// white space, and no colon at the beginning (API reference, Dimension).
func dimension(host string) string {
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, host)
	if host == "" {
		return "unknown"
	}
	if host[0] == ':' {
		host = "_" + host[1:]
	}
	return host[:min(len(host), maxDimension)]
}
