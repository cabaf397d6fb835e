package status

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var healthTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return healthTime.Add(-d) }

// waiting returns a container with 10 bytes, the oldest of which are of the time since.
func waiting(name, state string, since time.Time) Container {
	return Container{ID: "id-" + name, Name: name, State: state, Undelivered: Backlog{Bytes: 10, Oldest: since}}
}

func TestHealthNamesEachCauseOnce(t *testing.T) {
	denied := waiting("denied", ContainerRunning, ago(20*time.Minute))
	denied.Streams = []Stream{{}, {Error: &Failure{Kind: "AccessDenied", Err: "not allowed", Remedy: "grant logs:PutLogEvents"}}}
	alike := denied
	alike.Name, alike.Undelivered.Oldest = "alike", ago(time.Hour)
	unknown := denied // its oldest line is unknown, as after a restart
	unknown.Name, unknown.Undelivered.Oldest = "unknown", time.Time{}
	unknown.Streams = []Stream{{Error: &Failure{Kind: "Throttling", Since: ago(7 * time.Minute)}}}
	held := waiting("held", ContainerHeld, ago(6*time.Minute))
	held.Held = "KMS_KEY_ID is invalid"
	throttled := waiting("throttled", ContainerStopped, ago(8*time.Minute))
	throttled.Streams = []Stream{{Region: "r1"}}
	slow := waiting("slow", ContainerRunning, ago(9*time.Minute))
	slow.Streams = []Stream{{Region: "r2"}}
	young := denied
	young.Undelivered.Oldest = ago(5 * time.Minute)
	delivered := denied
	delivered.Undelivered = Backlog{}
	r := Report{
		Time:     healthTime,
		Services: []Service{{Region: "r1", Error: "too many requests", Remedy: "raise the quota"}, {Region: "r2"}},
		Faults: []Fault{
			{What: "other", Remedy: "no"},
			{What: "a container's lines are lost", Loss: true, Remedy: "make space", Attrs: map[string]string{"container": "web (1f2e)", "reason": "spool_full"}},
			{What: "a setting is invalid", Err: "'my key' is not a KMS key: use its ARN", Attrs: map[string]string{"setting": "KMS_KEY_ID"}},
		},
		Containers: []Container{
			waiting("ignored", ContainerIgnored, ago(time.Hour)), denied, young, delivered, alike, unknown, held, throttled, slow,
			waiting("early", ContainerRunning, ago(10*time.Minute)),
		},
	}
	ok, reasons := r.Health(5 * time.Minute)
	want := []string{
		"web (1f2e): a container's lines are lost (spool_full); make space",
		"denied, alike: 20 bytes are undelivered, the oldest for 1h0m0s: not allowed; grant logs:PutLogEvents",
		"early: 10 bytes are undelivered, the oldest for 10m0s: no AWS region is known; set AWS_REGION",
		"slow: 10 bytes are undelivered, the oldest for 9m0s: they are sent more slowly than they are written; see the state of the service and the faults",
		"throttled: 10 bytes are undelivered, the oldest for 8m0s: too many requests; raise the quota",
		"unknown: 10 bytes are undelivered, the oldest for 7m0s: Throttling",
		"held: 10 bytes are undelivered, the oldest for 6m0s: KMS_KEY_ID is invalid; 'my key' is not a KMS key: use its ARN",
	}
	if diff := cmp.Diff(want, reasons); ok || diff != "" {
		t.Errorf("ok is %v (-want +got):\n%s", ok, diff)
	}
	r.Faults = r.Faults[:1]
	if ok, reasons := r.Health(time.Hour); !ok || reasons != nil {
		t.Errorf("with the greatest age: %v %q", ok, reasons)
	}
}

func TestHealthNamesFiveContainers(t *testing.T) {
	r := Report{Time: healthTime, Region: "r1"}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		r.Containers = append(r.Containers, waiting(name, ContainerRunning, ago(time.Hour)))
	}
	_, reasons := r.Health(time.Minute)
	want := "a, b, c, d, e and 2 more: 70 bytes are undelivered, the oldest for 1h0m0s: they are sent more slowly than they are written; see the state of the service and the faults"
	if !slices.Equal(reasons, []string{want}) {
		t.Errorf("got %q", reasons)
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	r := Report{Stopping: healthTime, Intake: Intake{Discarding: 2}, Faults: []Fault{
		{What: "sending failed"}, {What: "a setting is invalid", Err: "'soon' is not a duration", Attrs: map[string]string{"setting": "DELAY"}},
	}, Services: []Service{{State: ServiceIdle}, {State: ServiceUnauthenticated, Remedy: "set credentials"}, {State: ServiceUnreachable}}}
	ok, reasons := r.Ready()
	want := []string{
		"the plugin is stopping; enable it again",
		"the plugin is still opening the spools of its last run; wait, or check the disk",
		"the output in 2 FIFOs is discarded, because their containers' spools cannot be opened; see the faults and the plugin's log",
		"DELAY is invalid: 'soon' is not a duration; correct it with docker plugin set",
		"no AWS region is known; set AWS_REGION",
		"no AWS credentials are known to be valid; set credentials",
	}
	if diff := cmp.Diff(want, reasons); ok || diff != "" {
		t.Errorf("ok is %v (-want +got):\n%s", ok, diff)
	}
	r = Report{Reattached: true, Region: "r1"}
	if ok, _ := r.Ready(); ok {
		t.Error("ready without credentials")
	}
	for _, state := range []string{ServiceOK, ServiceThrottled, ServiceDenied} {
		r.Services = []Service{{State: state}}
		if ok, reasons := r.Ready(); !ok {
			t.Errorf("a service that is %s: %q", state, reasons)
		}
	}
	r.Identity, r.Services = "arn:aws:iam::123456789012:user/u", nil
	if ok, reasons := r.Ready(); !ok {
		t.Errorf("with an identity: %q", reasons)
	}
}

// The log says that the plugin is ready if there are credentials and STS does not answer. What
// CloudWatch says about them counts more than what STS said when the plugin started.
func TestReadyFollowsWhatIsKnownOfTheCredentials(t *testing.T) {
	const none = "no AWS credentials are known to be valid; "
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string
	}{
		{"nobody answered yet", func(*Report) {}, none + "run logspool check"},
		{"STS does not answer", func(r *Report) { r.CredentialsFrom = "environment variables" }, ""},
		{"STS refuses", func(r *Report) {
			r.CredentialsFrom, r.CredentialsError, r.CredentialsRemedy = "environment variables", "refused", "check the keys"
		}, none + "check the keys"},
		{"CloudWatch refuses", func(r *Report) {
			r.Identity, r.Services = "arn:x", []Service{{State: ServiceUnauthenticated, Remedy: "renew the keys"}}
		}, none + "renew the keys"},
		{"CloudWatch refuses one access", func(r *Report) {
			r.Services = []Service{{State: ServiceUnauthenticated, Remedy: "renew the keys"}, {State: ServiceOK}}
		}, ""},
	} {
		r := Report{Reattached: true, Region: "r1"}
		c.change(&r)
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if ok, reasons := r.Ready(); ok != (want == nil) || !slices.Equal(reasons, want) {
			t.Errorf("%s: %v %q, want %q", c.name, ok, reasons, want)
		}
	}
}

// Each container has the error of its own request. A probe must not answer with a line for each.
func TestHealthNamesACauseOfManyContainersOnce(t *testing.T) {
	r := Report{Time: healthTime, Region: "r1"}
	for _, name := range []string{"a", "b", "c"} {
		c := waiting(name, ContainerRunning, ago(time.Hour))
		c.Streams = []Stream{{Error: &Failure{Kind: "AccessDeniedException", Err: "RequestID: " + name, Remedy: "allow it"}}}
		r.Containers = append(r.Containers, c)
	}
	r.Containers[2].Streams[0].Error.Remedy = "allow something else"
	_, reasons := r.Health(time.Minute)
	want := []string{
		"a, b: 20 bytes are undelivered, the oldest for 1h0m0s: RequestID: a; allow it",
		"c: 10 bytes are undelivered, the oldest for 1h0m0s: RequestID: c; allow something else",
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("%q, want %q", reasons, want)
	}
}

func TestHealthNamesALossOfManyContainersOnce(t *testing.T) {
	r := Report{Time: healthTime}
	for _, c := range []struct{ name, reason string }{{"a", "spool_full"}, {"b", "too_old"}, {"c", "spool_full"}, {"", "unread"}} {
		r.Faults = append(r.Faults, Fault{What: "lines are lost", Loss: true, Remedy: "do", Attrs: map[string]string{"container": c.name, "reason": c.reason}})
	}
	ok, reasons := r.Health(time.Minute)
	want := []string{"a, c: lines are lost (spool_full); do", "b: lines are lost (too_old); do", "lines are lost (unread); do"}
	if ok || !slices.Equal(reasons, want) {
		t.Errorf("%v %q, want %q", ok, reasons, want)
	}
}

func TestServiceOfAStreamHasItsCredentials(t *testing.T) {
	r := Report{Services: []Service{
		{Region: "r1", Credentials: EndpointCredentials, State: ServiceUnauthenticated}, {Region: "r1", State: ServiceOK},
		{Region: "r2", Role: "x", State: ServiceOK}, {Region: "r2", Role: "x", State: ServiceDenied}, // with two external IDs
	}}
	for _, c := range []struct {
		stream Stream
		want   string
	}{
		{Stream{Region: "r1"}, ServiceOK}, {Stream{Region: "r1", Credentials: EndpointCredentials}, ServiceUnauthenticated},
		{Stream{Region: "r2", Role: "x"}, ""}, {Stream{Region: "r3"}, ""},
	} {
		got := ""
		if s := r.ServiceOf(&c.stream); s != nil {
			got = s.State
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.stream, got, c.want)
		}
	}
}

func TestHoldHasTheRemedyOfItsReason(t *testing.T) {
	r := Report{Faults: []Fault{{Err: "no region: no answer", Remedy: "other"}}}
	for _, c := range []struct{ held, own, want string }{
		{"no AWS region found: no answer", "set AWS_REGION", "set AWS_REGION"},
		{"no region: no answer", "", "other"}, {"unknown", "", "correct what it names"},
	} {
		if got := r.HoldRemedy(&Container{Held: c.held, HeldRemedy: c.own}); got != c.want {
			t.Errorf("%s: %q, want %q", c.held, got, c.want)
		}
	}
}
