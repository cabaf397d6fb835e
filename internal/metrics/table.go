package metrics

import (
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Doc describes one metric. Tests compare docs/metrics.md with it.
type Doc struct {
	Name string
	// Type is counter, gauge or histogram.
	Type   string
	Labels []string
	Help   string
}

// Docs describes all metrics of the plugin, without those of the Go runtime and the process.
func Docs() []Doc {
	docs := make([]Doc, len(table))
	for i, m := range table {
		docs[i] = m.Doc
	}
	return docs
}

// metric is one metric of the plugin.
type metric struct {
	Doc
	desc *prometheus.Desc
}

// table has all metrics, in the order of the documentation.
var table []*metric

func add(kind, name, help string, labels ...string) *metric {
	name = "logspool_" + name
	m := &metric{
		Doc:  Doc{Name: name, Type: kind, Labels: labels, Help: help},
		desc: prometheus.NewDesc(name, help, labels, nil),
	}
	table = append(table, m)
	return m
}

func counter(name, help string, labels ...string) *metric {
	return add("counter", name, help, labels...)
}

func gauge(name, help string, labels ...string) *metric { return add("gauge", name, help, labels...) }

func histogram(name, help string, labels ...string) *metric {
	return add("histogram", name, help, labels...)
}

var (
	// containerLabels identify a container. In sums by group, only group has a value.
	// In the sums of all containers, none has.
	containerLabels = []string{"container", "id", "group"}
	// streamLabels identify a container's log stream. In sums by group, only region and group
	// have a value.
	streamLabels = []string{"container", "id", "group", "region", "stream", "output"}
	// accessLabels identify CloudWatch Logs with one access.
	accessLabels = []string{"region", "endpoint", "role", "credentials"}
	// faultLabels identify a fault.
	faultLabels = []string{"what", "kind", "region", "group", "container", "setting", "reason"}
)

func with(labels []string, more ...string) []string { return slices.Concat(labels, more) }

var (
	buildInfo = gauge("build_info", "1, with the version of the plugin and of Go.", "version", "goversion")
	hostInfo  = gauge("host_info", "1, with the host's name, the region of containers that name none, and the ARN that signs requests. A value that is not known is empty.", "host", "region", "identity")
	startTime = gauge("start_time_seconds", "When the plugin started, in seconds since 1970.")
)

// What went through the plugin, all containers together.
var (
	readLines      = counter("read_lines_total", "Lines, or pieces of long lines, that were read from containers.")
	readBytes      = counter("read_bytes_total", "Bytes that were read from containers.")
	deliveredCount = counter("delivered_events_total", "Events that CloudWatch accepted.")
	deliveredBytes = counter("delivered_bytes_total", "Bytes of the accepted events, as CloudWatch counts them.")
	droppedLines   = counter("dropped_lines_total", "Lines that were lost, by the reason in the marker.", "reason")
	droppedBytes   = counter("dropped_bytes_total", "Bytes that were lost, by the reason in the marker.", "reason")

	waitingLines = gauge("undelivered_lines", "Lines that wait for delivery. It is missing while it is not known for a container, as after a restart.")
	waitingBytes = gauge("undelivered_bytes", "Bytes that wait for delivery in all spools.")
	waitingAge   = gauge("undelivered_oldest_age_seconds", "The age of the oldest line that waits for delivery, and 0 if none waits.")

	faultCount  = gauge("faults", "The number of faults: what fails now, as in the log.")
	faultInfo   = gauge("fault", "The number of faults with these labels. what is the message in the log, up to the first ; or :, in lower case and with _ between the words. kind is an error code.", faultLabels...)
	containers  = gauge("containers", "Containers that run or have undelivered lines, by state.", "state")
	aggregation = gauge("containers_aggregated", "1 if there are more than METRICS_MAX_CONTAINERS containers, so that their series are sums by group, or of all containers if there are more than 500 groups; otherwise 0.")
)

// Containers and their streams.
var (
	containerReadLines    = counter("container_read_lines_total", "Lines, or pieces of long lines, that were read from the container.", containerLabels...)
	containerReadBytes    = counter("container_read_bytes_total", "Bytes that were read from the container.", containerLabels...)
	containerDroppedLines = counter("container_dropped_lines_total", "Lines of the container that were lost, by the reason in the marker. A reason without losses has no series.", with(containerLabels, "reason")...)
	containerDroppedBytes = counter("container_dropped_bytes_total", "Bytes of the container that were lost, by the reason in the marker.", with(containerLabels, "reason")...)
	containerLines        = gauge("container_undelivered_lines", "Lines of the container that wait for delivery. It is missing while it is not known.", containerLabels...)
	containerBytes        = gauge("container_undelivered_bytes", "Bytes of the container that wait for delivery in its spool.", containerLabels...)
	containerAge          = gauge("container_undelivered_oldest_age_seconds", "The age of the container's oldest line that waits for delivery, and 0 if none waits. It is missing while it is not known.", containerLabels...)
	containerSpool        = gauge("container_spool_bytes", "What the container's spool takes on disk, delivered history included.", containerLabels...)
	containerUsed         = gauge("container_spool_used_ratio", "How full the container's spool is with undelivered bytes, from 0 to 1. At 1, lines are dropped.", containerLabels...)

	streamDeliveredEvents = counter("stream_delivered_events_total", "Events of the container that CloudWatch accepted in the log stream.", streamLabels...)
	streamDeliveredBytes  = counter("stream_delivered_bytes_total", "Bytes of these events, as CloudWatch counts them.", streamLabels...)
	streamDroppedEvents   = counter("stream_dropped_events_total", "Events of the container that CloudWatch did not accept in the log stream, by the reason in the marker. A reason without losses has no series.", with(streamLabels, "reason")...)
	streamDroppedBytes    = counter("stream_dropped_bytes_total", "Bytes of these events.", with(streamLabels, "reason")...)
	streamFailing         = gauge("stream_failing", "1 while the delivery to the log stream fails, and otherwise 0.", streamLabels...)
)

// CloudWatch Logs.
var (
	serviceState = gauge("service_state", "1 for the state of CloudWatch Logs with this access, and 0 for the other states.", with(accessLabels, "state")...)
	requests     = counter("requests_total", "Answers to PutLogEvents, by outcome.", with(accessLabels, "outcome")...)
	latency      = histogram("request_duration_seconds", "How long PutLogEvents took.", accessLabels...)
	batchEvents  = histogram("batch_events", "The number of events of accepted batches.", accessLabels...)
	batchBytes   = histogram("batch_bytes", "The size of accepted batches, as CloudWatch counts it.", accessLabels...)

	acceptedEvents = counter("service_accepted_events_total", "Events that CloudWatch accepted with this access.", accessLabels...)
	acceptedBytes  = counter("service_accepted_bytes_total", "Bytes of these events, as CloudWatch counts them.", accessLabels...)
	bodyBytes      = counter("request_body_bytes_total", "The size of accepted request bodies before compression.", accessLabels...)
	sentBytes      = counter("request_sent_bytes_total", "The size of accepted request bodies as they were sent.", accessLabels...)
	retries        = counter("request_retries_total", "Batches that failed and were sent again.", accessLabels...)
	throttles      = counter("request_throttles_total", "Batches that failed because CloudWatch throttled them.", accessLabels...)
	created        = counter("streams_created_total", "Log streams that were created.", accessLabels...)
	senders        = gauge("senders", "Log streams that have a sender now.", accessLabels...)
	inFlight       = gauge("requests_in_flight", "Requests in flight now.", accessLabels...)
	inFlightLimit  = gauge("requests_in_flight_limit", "How many requests may be in flight now. The plugin lowers it while CloudWatch throttles or fails.", accessLabels...)
)

// The host: intake, disk and process.
var (
	fifos       = gauge("fifos", "FIFOs of containers that are read.")
	discarding  = gauge("fifos_discarding", "FIFOs that no container's record claims, and whose data is discarded.")
	reads       = counter("intake_reads_total", "Read operations of the intake.")
	resyncs     = counter("intake_resyncs_total", "How often damaged data in a FIFO was passed over.")
	resyncBytes = counter("intake_resync_bytes_total", "Bytes of damaged data in FIFOs that were passed over.")
	refused     = counter("starts_refused_total", "Starts of containers that the plugin refused.")

	spoolBytes    = gauge("spool_bytes", "What all spools and records take on disk, delivered history included.")
	spoolLimit    = gauge("spool_limit_bytes", "SPOOL_TOTAL_SIZE: the most that they may take.")
	spoolArchived = gauge("spool_archived_bytes", "The part that is the history of stopped containers.")
	spoolUsed     = gauge("spool_used_ratio", "How full the fullest spool is with undelivered bytes, from 0 to 1. All spools together, with SPOOL_TOTAL_SIZE, count as one too.")
	diskFree      = gauge("disk_free_bytes", "Free bytes of the state directory's file system. It is missing while it is not known.")
	diskSize      = gauge("disk_size_bytes", "Size of that file system.")
	diskFreeNodes = gauge("disk_free_inodes", "Free inodes of that file system. It is missing if the file system has no limit.")
	diskNodes     = gauge("disk_inodes", "Inodes of that file system.")

	openFiles     = gauge("open_descriptors", "File descriptors that the plugin uses.")
	maxFiles      = gauge("max_descriptors", "File descriptors that the plugin may use.")
	maxContainers = gauge("max_containers", "How many containers the descriptors suffice for.")
)

// sink takes the metrics of one scrape.
type sink chan<- prometheus.Metric

// send sends one value. The label values must be valid UTF-8.
func (s sink) send(m *metric, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.Type == "counter" {
		kind = prometheus.CounterValue
	}
	s <- prometheus.MustNewConstMetric(m.desc, kind, value, labels...)
}

func (s sink) count(m *metric, value int64, labels ...string) { s.send(m, float64(value), labels...) }

// pairs are the labels of a series, sorted by name. Nobody may change them.
type pairs []*dto.LabelPair

// pairsOf returns labels with these values, which must be valid UTF-8, for the metrics that
// have the same labels as m. To make the labels is most of the cost of a series, so the series
// of one container share them.
func pairsOf(m *metric, values []string) pairs { return prometheus.MakeLabelPairs(m.desc, values) }

// sharing is a metric whose labels other metrics share.
type sharing struct {
	*metric
	value  float64
	labels pairs
}

// Desc implements prometheus.Metric.
func (m *sharing) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m *sharing) Write(out *dto.Metric) error {
	out.Label = m.labels
	if m.Type == "counter" {
		out.Counter = &dto.Counter{Value: &m.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &m.value}
	}
	return nil
}

// sendWith is send with shared labels.
func (s sink) sendWith(l pairs, m *metric, value float64) { s <- &sharing{m, value, l} }

func (s sink) countWith(l pairs, m *metric, value int64) { s.sendWith(l, m, float64(value)) }

// distribution sends a histogram. The buckets of Prometheus are cumulative.
func (s sink) distribution(m *metric, h histogramData, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	n := uint64(0)
	for i, c := range h.Counts {
		n += uint64(max(c, 0))
		if i < len(h.Bounds) && !math.IsInf(h.Bounds[i], 1) {
			buckets[h.Bounds[i]] = n
		}
	}
	s <- prometheus.MustNewConstHistogram(m.desc, n, h.Sum, buckets, labels...)
}

// maxLabel is the length of the longest label value, in bytes.
const maxLabel = 512

// label makes text valid as a label's value. Names of containers may be anything.
func label(text string) string {
	if len(text) > maxLabel {
		text = text[:maxLabel]
	}
	return strings.ToValidUTF8(text, "\ufffd")
}
