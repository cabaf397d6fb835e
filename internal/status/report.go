package status

import "time"

// Report is the state of the plugin at one moment.
type Report struct {
	// Time is when the report was made.
	Time time.Time `json:"time"`
	// Started is when the plugin started.
	Started time.Time `json:"started"`
	Version string    `json:"version"`
	// Host is the Docker host's name.
	Host string `json:"host"`
	// Region is the region of containers that name none, or empty while it is not known.
	Region string `json:"region,omitempty"`
	// RegionFrom says where Region comes from, such as "AWS_REGION" or "EC2 metadata".
	RegionFrom string `json:"region_from,omitempty"`
	// Identity is the ARN as which the plugin signs requests, or empty while it is not known.
	Identity string `json:"identity,omitempty"`
	// CredentialsFrom says where the credentials come from, such as "EC2 instance role".
	CredentialsFrom string `json:"credentials_from,omitempty"`
	// CredentialsError says that there are no credentials, or that AWS does not accept them.
	CredentialsError string `json:"credentials_error,omitempty"`
	// CredentialsRemedy says what the operator can do about CredentialsError.
	CredentialsRemedy string `json:"credentials_remedy,omitempty"`
	// Reattached says that the plugin has opened the spools of its last run, where it could.
	Reattached bool `json:"reattached"`
	// Stopping is when the plugin began to stop, if it did.
	Stopping time.Time `json:"stopping,omitzero"`

	// Settings has the settings that are set. Secret values are not in it.
	Settings []Setting `json:"settings"`
	// Faults has what fails now, longest first. A report without faults is healthy, unless
	// something has been undelivered for too long.
	Faults []Fault `json:"faults"`
	// Services has one entry for each access that a container uses.
	Services []Service `json:"services"`
	Disk     Disk      `json:"disk"`
	Process  Process   `json:"process"`
	Intake   Intake    `json:"intake"`
	// Containers has the containers that run or have undelivered lines, in order of name.
	Containers []Container `json:"containers"`
	// Ended sums up the containers that are not in Containers any more.
	Ended Traffic `json:"ended"`
}

// Setting is one variable of the plugin's environment.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Fault is something that fails now and may need the operator.
type Fault struct {
	// What says what fails, as in the log.
	What string `json:"what"`
	// Kind is the sort of failure, such as an error code.
	Kind string `json:"kind,omitempty"`
	// Since is when the failure began.
	Since time.Time `json:"since"`
	// Times counts the failures since then, or the lost events.
	Times int `json:"times"`
	// Loss says that lines are lost.
	Loss bool `json:"loss,omitempty"`
	// Err is the last error.
	Err string `json:"error,omitempty"`
	// Remedy says what the operator can do.
	Remedy string `json:"remedy,omitempty"`
	// Attrs has what else the log says: region, group, stream, container, setting, reason.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// The states of a Service.
const (
	ServiceIdle            = "idle"            // no request was answered yet, or nothing uses the access
	ServiceOK              = "ok"              // CloudWatch accepts requests
	ServiceThrottled       = "throttled"       // CloudWatch throttles requests
	ServiceDenied          = "denied"          // a permission is missing
	ServiceUnauthenticated = "unauthenticated" // there are no valid credentials
	ServiceUnreachable     = "unreachable"     // there is no answer
	ServiceFailing         = "failing"         // CloudWatch answers with another error
)

// EndpointCredentials is the Credentials of a Service and a Stream if a container's option names
// a credentials endpoint. Its path is a secret.
const EndpointCredentials = "credentials-endpoint"

// Service is CloudWatch Logs with one access: a region, an endpoint and credentials.
type Service struct {
	Region   string `json:"region"`
	Endpoint string `json:"endpoint,omitempty"`
	Role     string `json:"role,omitempty"`
	// Credentials is EndpointCredentials or empty.
	Credentials string `json:"credentials,omitempty"`

	// State is one of the constants above.
	State string `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since,omitzero"`
	// Error is the last error while the state is not ok.
	Error string `json:"error,omitempty"`
	// Remedy says what the operator can do about the error.
	Remedy string `json:"remedy,omitempty"`

	// Requests counts the answers to PutLogEvents by outcome: the uploader's verdicts.
	Requests map[string]int64 `json:"requests"`
	// Latency is how long PutLogEvents took, in seconds.
	Latency Histogram `json:"latency_seconds"`
	// BatchEvents is the number of events of accepted batches.
	BatchEvents Histogram `json:"batch_events"`
	// BatchBytes is the size of accepted batches, as CloudWatch counts it.
	BatchBytes Histogram `json:"batch_bytes"`

	// Accepted counts accepted events and their bytes, as CloudWatch counts them.
	Accepted Counter `json:"accepted"`
	// BodyBytes is the size of accepted bodies before compression.
	BodyBytes int64 `json:"body_bytes"`
	// SentBytes is the size of accepted bodies as they were sent.
	SentBytes int64 `json:"sent_bytes"`
	// Retries counts the batches that failed and are sent again.
	Retries int64 `json:"retries"`
	// Throttles counts the Retries that CloudWatch throttled.
	Throttles int64 `json:"throttles"`
	// Created counts the streams that were created.
	Created int64 `json:"created"`
	// Senders is the number of log streams that have a sender now.
	Senders int64 `json:"senders"`
	// InFlight is the number of requests in flight now.
	InFlight int64 `json:"in_flight"`
	// Limit is how many requests may be in flight now.
	Limit int64 `json:"limit"`
	// ClockAhead is how far the host's clock is ahead of CloudWatch's, in seconds.
	ClockAhead float64 `json:"clock_ahead_seconds"`
}

// Counter counts lines or events, and their bytes.
type Counter struct {
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
}

// Add adds o.
func (c *Counter) Add(o Counter) { c.Lines += o.Lines; c.Bytes += o.Bytes }

// Histogram counts values by size. Counts has one element for each bound, and one for the
// values above the last bound. An element counts the values of its own interval only.
type Histogram struct {
	Bounds []float64 `json:"bounds"`
	Counts []int64   `json:"counts"`
	Sum    float64   `json:"sum"`
}

// Traffic is what went through the plugin.
type Traffic struct {
	// Read counts what was read from FIFOs: lines, or pieces of long lines.
	Read Counter `json:"read"`
	// Delivered counts the events that CloudWatch has accepted, in bytes as it counts them.
	Delivered Counter `json:"delivered"`
	// Dropped counts what was lost, by the reason in the marker.
	Dropped map[string]Counter `json:"dropped,omitempty"`
}

// Add adds o.
func (t *Traffic) Add(o Traffic) {
	t.Read.Add(o.Read)
	t.Delivered.Add(o.Delivered)
	for reason, n := range o.Dropped {
		if t.Dropped == nil {
			t.Dropped = map[string]Counter{}
		}
		sum := t.Dropped[reason]
		sum.Add(n)
		t.Dropped[reason] = sum
	}
}

// The states of a Container.
const (
	ContainerRunning  = "running"  // dockerd may write to its FIFO
	ContainerStopped  = "stopped"  // it has stopped, and lines are undelivered
	ContainerIgnored  = "ignored"  // it asked not to be delivered
	ContainerHeld     = "held"     // its lines are spooled but not sent: see Held
	ContainerDraining = "draining" // it has stopped, and its FIFO is still read
)

// Container is one container that runs or has undelivered lines.
type Container struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// State is one of the constants above.
	State string `json:"state"`
	// Held says why the container's lines are spooled but not sent.
	Held string `json:"held,omitempty"`
	// HeldRemedy says what the operator can do about Held, unless the fault of a setting does.
	HeldRemedy string `json:"held_remedy,omitempty"`

	// Options has the options as the plugin understands them, in the order of the manual.
	// Secret values are not in it.
	Options []Option `json:"options,omitempty"`
	// Streams has the log streams, once they are known: one, or one for each output.
	Streams []Stream `json:"streams"`

	Traffic
	// Rate is what was read per second, over the last samples.
	Rate Rate `json:"rate"`
	// Undelivered is what waits for delivery.
	Undelivered Backlog `json:"undelivered"`
	Spool       Spool   `json:"spool"`

	// LastEvent is when the container last wrote something.
	LastEvent time.Time `json:"last_event,omitzero"`
	// Losses has what was lost since the plugin started, latest last.
	Losses []Loss `json:"losses,omitempty"`
	// PendingGaps is the number of losses that no marker has reported yet.
	PendingGaps int `json:"pending_gaps"`
}

// Option is one option of a container.
type Option struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// From says where the value comes from: "log option", "label", "the container's
	// LOGSPOUT_GROUP", a setting's name or "default".
	From string `json:"from"`
}

// Stream is a log stream that gets a container's events.
type Stream struct {
	Region   string `json:"region"`
	Endpoint string `json:"endpoint,omitempty"`
	Role     string `json:"role,omitempty"`
	// Credentials is that of the Service.
	Credentials string `json:"credentials,omitempty"`
	Group       string `json:"group"`
	Stream      string `json:"stream"`
	// RegionFrom, GroupFrom and StreamFrom say where the names come from, as Option.From does.
	RegionFrom string `json:"region_from,omitempty"`
	GroupFrom  string `json:"group_from"`
	StreamFrom string `json:"stream_from"`
	// Output is "stdout" or "stderr" if the outputs go to two streams; otherwise it is empty.
	Output string `json:"output,omitempty"`

	Delivered Counter            `json:"delivered"`
	Dropped   map[string]Counter `json:"dropped,omitempty"`
	// Error is what stops the delivery now.
	Error *Failure `json:"error,omitempty"`
	// LastBatch is the last batch that CloudWatch accepted.
	LastBatch *Batch `json:"last_batch,omitempty"`
}

// Failure is an error that lasts.
type Failure struct {
	// Kind is the sort of failure, such as an error code.
	Kind   string    `json:"kind"`
	Err    string    `json:"error"`
	Remedy string    `json:"remedy,omitempty"`
	Since  time.Time `json:"since"`
}

// Batch is the part of a batch that is one container's.
type Batch struct {
	Time   time.Time `json:"time"`
	Events int64     `json:"events"`
	Bytes  int64     `json:"bytes"`
}

// Rate is an average per second.
type Rate struct {
	Lines float64 `json:"lines"`
	Bytes float64 `json:"bytes"`
}

// Backlog is what waits for delivery.
type Backlog struct {
	// Lines is the number of lines, or of pieces of long lines. It is nil while it is not
	// known, as after a restart of the plugin.
	Lines *int64 `json:"lines"`
	// Bytes is the size in the spool.
	Bytes int64 `json:"bytes"`
	// Oldest is the time of the oldest line. It may be up to two seconds too early.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Spool is the disk space of one container's spool.
type Spool struct {
	// Bytes is what its files take on disk, delivered history included.
	Bytes int64 `json:"bytes"`
	// Limit is the most undelivered bytes that it keeps.
	Limit int64 `json:"limit"`
	// HistoryLimit is the most delivered bytes that it keeps.
	HistoryLimit int64 `json:"history_limit"`
	// Full says what is dropped when it is full: drop-oldest or drop-newest.
	Full string `json:"full"`
}

// Loss is what was lost for one reason.
type Loss struct {
	// Reason is the word in the marker, and Text its meaning.
	Reason string `json:"reason"`
	Text   string `json:"text,omitempty"`
	Counter
	// Last is when it was lost last.
	Last time.Time `json:"last"`
}

// Disk is the disk space of the state directory.
type Disk struct {
	// StateDir is the directory, as the plugin sees it.
	StateDir string `json:"state_dir"`
	// Used is what all spools and records take on disk.
	Used int64 `json:"used"`
	// Limit is SPOOL_TOTAL_SIZE, the most that they may take.
	Limit int64 `json:"limit"`
	// Archived is the part of Used that is the history of stopped containers.
	Archived int64 `json:"archived"`
	// Free and Size are the file system's. They are 0 while they are not known.
	Free int64 `json:"free"`
	Size int64 `json:"size"`
	// FreeInodes is the file system's number of free inodes, and 0 if it has no limit.
	FreeInodes int64 `json:"free_inodes"`
	// Inodes is the file system's number of inodes, and 0 if it has no limit.
	Inodes int64 `json:"inodes"`
}

// Process is the plugin's process.
type Process struct {
	PID int `json:"pid"`
	// OpenFiles is the number of descriptors in use, and MaxFiles the limit.
	OpenFiles int `json:"open_files"`
	MaxFiles  int `json:"max_files"`
	// MaxContainers is how many containers the descriptors suffice for.
	MaxContainers int `json:"max_containers"`
	// Memory is the resident memory, in bytes.
	Memory int64 `json:"memory"`
	// CPU is the processor time, in seconds.
	CPU float64 `json:"cpu_seconds"`
}

// Intake is the reading of FIFOs.
type Intake struct {
	// FIFOs is the number of FIFOs that are read.
	FIFOs int `json:"fifos"`
	// Discarding is the number of FIFOs that no session claims, and whose data is discarded.
	Discarding int `json:"discarding"`
	// Reads counts read operations.
	Reads int64 `json:"reads"`
	// Resyncs counts how often damaged data was passed over, and ResyncBytes its size.
	Resyncs     int64 `json:"resyncs"`
	ResyncBytes int64 `json:"resync_bytes"`
	// Refused counts the starts of containers that the plugin refused.
	Refused int64 `json:"refused"`
}

// Point is a container's traffic in one interval of the history, per second.
type Point = Rate

// Ingested is what CloudWatch accepted of one container in one group. Container is empty for
// containers that are counted together, and so is Group if they have several.
type Ingested struct {
	Container string `json:"container"`
	Group     string `json:"group"`
	// Bytes is the size of today (UTC), as CloudWatch counts and bills it.
	Bytes int64 `json:"bytes"`
	// Yesterday is the same of the day before.
	Yesterday int64 `json:"yesterday"`
}
