package statuspage

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/status"
)

func TestConsoleLinksLeadToEachPartition(t *testing.T) {
	const fragment = "#logsV2:log-groups/log-group/$252Fshop$252Fapi/log-events/web"
	for _, c := range []struct{ region, want string }{
		{"eu-central-1", "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1" + fragment},
		{"ap-southeast-7", "https://ap-southeast-7.console.aws.amazon.com/cloudwatch/home?region=ap-southeast-7" + fragment},
		{"cn-north-1", "https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1" + fragment},
		{"us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1" + fragment},
		{"eusc-de-east-1", "https://eusc-de-east-1.console.amazonaws-eusc.eu/cloudwatch/home?region=eusc-de-east-1" + fragment},
		{"us-iso-east-1", ""}, {"us-isob-east-1", ""}, {"eu-isoe-west-1", ""}, {"us-isof-south-1", ""},
		{"", ""}, {"local", ""}, {"evil.example/#-1", ""}, {"eu-west-1.evil.example", ""}, {"eu-west-1\n", ""}, {"EU-WEST-1", ""},
	} {
		if got := consoleURL(c.region, "", "/shop/api", "web"); got != c.want {
			t.Errorf("%q: %s, want %s", c.region, got, c.want)
		}
	}
}

func TestConsoleLinksLeadToGroup(t *testing.T) {
	want := "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/a"
	if got := consoleURL("eu-west-1", "", "a", ""); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := consoleURL("eu-west-1", "", "", "b"); got != "" {
		t.Errorf("a stream without a group has the address %s", got)
	}
}

func TestConsoleLinksNeedAnEndpointOfAWS(t *testing.T) {
	for endpoint, linked := range map[string]bool{
		"": true, "https://logs.eu-west-1.amazonaws.com": true, "logs-fips.us-gov-west-1.amazonaws.com": true, "https://logs.eu-west-1.api.aws/": true,
		"https://vpce-0a1b-2c3d.logs.eu-west-1.vpce.amazonaws.com": true, "https://logs.cn-north-1.amazonaws.com.cn": true,
		"http://127.0.0.1:4566": false, "https://amazonaws.com.evil.example": false, "https://evil.example/.amazonaws.com": false, "://": false,
	} {
		if got := consoleURL("eu-west-1", endpoint, "a", "b") != ""; got != linked {
			t.Errorf("%q has a link: %v, want %v", endpoint, got, linked)
		}
	}
}

// The right-hand sides of the first rows are what the console itself shows for these names.
func TestConsoleNamesAreEscapedTwice(t *testing.T) {
	for name, want := range map[string]string{
		"/aws/lambda/f":                  "$252Faws$252Flambda$252Ff",
		"2024/05/05/[$LATEST]fab5683a40": "2024$252F05$252F05$252F$255B$2524LATEST$255Dfab5683a40",
		"web-1_a.b~c":                    "web-1_a.b~c",
		"a b":                            "a$2520b",
		"a:b":                            "a$253Ab",
		"100%":                           "100$2525",
		"$252F":                          "$2524252F",
		"a#b?c&d=e+f":                    "a$2523b$253Fc$2526d$253De$252Bf",
		`<"'>`:                           "$253C$2522$2527$253E",
		"шум":                            "$25D1$2588$25D1$2583$25D0$25BC",
	} {
		want = strings.ReplaceAll(want, "$25D1$2588$25D1$2583$25D0$25BC", "$25D1$2588$25D1$2583$25D0$25BC")
		got := consoleEscape(name)
		if got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
		// The console's way back: a dollar sign is a percent sign, and then two times percent.
		once, err := url.PathUnescape(strings.ReplaceAll(got, "$", "%"))
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if back, err := url.PathUnescape(once); err != nil || back != name {
			t.Errorf("%q: the console reads %q, %v", name, back, err)
		}
	}
}

func TestHeadlineSaysWhetherThePluginDelivers(t *testing.T) {
	change := func(f func(r *status.Report)) *status.Report {
		r := healthyReport()
		f(r)
		return r
	}
	old := sampleTime.Add(-8 * time.Minute)
	for _, c := range []struct {
		name   string
		report *status.Report
		level  string
		want   string
	}{
		{"healthy", healthyReport(), good, "Delivering. Nothing is older than 4 s."},
		{"empty", &status.Report{Time: sampleTime, Reattached: true, Region: "r1", Identity: "arn:x"}, good, "Ready. No container uses the plugin now."},
		{"empty, without credentials", &status.Report{Time: sampleTime, Reattached: true, Region: "r1", CredentialsError: "none", CredentialsRemedy: "set some"}, warn,
			"Not ready: No AWS credentials are known to be valid; set some."},
		{"starting", &status.Report{Time: sampleTime}, warn, "Starting. The plugin still opens the spools of its last run."},
		{"nothing undelivered", change(func(r *status.Report) {
			for i := range r.Containers {
				r.Containers[i].Undelivered = status.Backlog{Lines: number(0)}
			}
		}), good, "Delivering. Everything is delivered."},
		{"one stream fails", troubledReport(), bad, "Not delivering 1 of 7 containers since 03:12 UTC: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/web/i-0d2f4a6b8c0e1f357 is not authorized to perform: logs:PutLogEvents on resource: /shop/jobs. Allow logs:PutLogEvents on the log group /shop/jobs."},
		{"the service cannot be reached", change(func(r *status.Report) {
			r.Services[0].State, r.Services[0].Since = status.ServiceUnreachable, old
			r.Services[0].Error, r.Services[0].Remedy = "dial tcp: no such host", "check DNS"
		}), bad, "Not delivering since 14:24 UTC: Dial tcp: no such host. Check DNS."},
		{"yesterday", change(func(r *status.Report) {
			r.Services[0].State, r.Services[0].Error, r.Services[0].Since = status.ServiceUnauthenticated, "expired", sampleTime.Add(-20*time.Hour)
		}), bad, "Not delivering since 16 Mar 18:32 UTC: Expired."},
		{"one group is denied, and nothing else was sent", change(func(r *status.Report) {
			r.Services[0].State, r.Services[0].Error, r.Services[0].Since = status.ServiceDenied, "denied: request 2", old
			for i, err := range []string{"denied: request 1", "denied: request 2"} {
				r.Containers[i].Streams[0].Error = &status.Failure{Kind: "AccessDenied", Err: err, Remedy: "allow it", Since: old}
			}
		}), bad, "Not delivering 2 of 6 containers since 14:24 UTC: Denied: request 1. Allow it."},
		{"held", change(func(r *status.Report) {
			r.Containers[0].Held, r.Faults = "AWS_REGION is invalid", []status.Fault{{What: "a setting is invalid", Err: "AWS_REGION is invalid", Remedy: "correct it"}}
			r.Containers[0].Undelivered.Oldest = old
		}), bad, "Not delivering 1 of 6 containers since 14:24 UTC: AWS_REGION is invalid. Correct it."},
		{"no region", change(func(r *status.Report) {
			r.Region, r.Services = "", nil
			for i := range r.Containers {
				r.Containers[i].Streams, r.Containers[i].Undelivered.Oldest = nil, time.Time{}
			}
		}), bad, "Not delivering: No AWS region is known. Set AWS_REGION."},
		{"two causes", change(func(r *status.Report) {
			for i, err := range []string{"b", "a", "b"} {
				r.Containers[i].Streams[0].Error = &status.Failure{Err: err, Since: old}
			}
		}), bad, "Not delivering 3 of 6 containers since 14:24 UTC: B. Another cause stops 1 container."},
		{"a retry while throttled is no failure", change(func(r *status.Report) {
			r.Services[0].State, r.Services[0].Since = status.ServiceThrottled, old
			r.Services[0].Remedy = "raise the quota"
			r.Containers[0].Streams[0].Error = &status.Failure{Err: "ThrottlingException"}
			r.Containers[0].Undelivered.Oldest = old
		}), warn, "CloudWatch throttles requests since 14:24 UTC. The oldest line is 8 min old. Raise the quota."},
		{"nothing but throttling", change(func(r *status.Report) {
			r.Services[0].State, r.Services[0].Since, r.Services[0].Remedy = status.ServiceThrottled, old, "raise the quota"
			r.Faults = []status.Fault{{What: "sending to CloudWatch Logs failed", Since: old}}
		}), warn, "CloudWatch throttles requests since 14:24 UTC. The oldest line is 4 s old. Raise the quota."},
		{"late", change(func(r *status.Report) { r.Containers[0].Undelivered.Oldest = old }), warn,
			"Delivering, but the oldest line is 8 min old. If the age falls, a backlog is being sent. If it grows, lines are written faster than they are sent."},
		{"fault", change(func(r *status.Report) {
			r.Faults = []status.Fault{{What: "cannot sync spools", Since: old, Remedy: "check the disk"}}
		}), warn, "Delivering, with 1 fault since 14:24 UTC: Cannot sync spools. Check the disk."},
		{"ignored containers do not count", change(func(r *status.Report) {
			r.Containers = r.Containers[:1]
			r.Containers[0].State, r.Containers[0].Undelivered.Oldest = status.ContainerIgnored, old
		}), good, "Ready. No container uses the plugin now."},
	} {
		h := newHeadline(c.report)
		got := strings.TrimSpace(strings.Join(strings.Fields(h.Text+" "+h.Cause+" "+h.Remedy), " "))
		if h.Level != c.level || got != c.want {
			t.Errorf("%s: %s: %s\nwant %s: %s", c.name, h.Level, got, c.level, c.want)
		}
	}
}

func TestRowsAreInOrder(t *testing.T) {
	r := troubledReport()
	for address, want := range map[string]string{
		"":                  "worker api-1 api-2 audit cart nginx postgres",
		"sort=name&desc":    "worker postgres nginx cart audit api-2 api-1",
		"sort=group":        "api-1 api-2 audit cart postgres nginx worker",
		"sort=stream":       "api-1 api-2 audit cart nginx postgres worker",
		"sort=lines&desc":   "nginx api-1 api-2 cart postgres worker audit",
		"sort=bytes":        "audit worker postgres cart api-2 api-1 nginx",
		"sort=ulines&desc":  "worker nginx api-1 api-2 cart postgres audit",
		"sort=ubytes&desc":  "worker nginx audit api-1 api-2 cart postgres",
		"sort=age&desc":     "worker audit api-1 api-2 cart nginx postgres",
		"sort=dropped&desc": "cart api-1 api-2 audit nginx postgres worker",
		"sort=nothing&desc": "worker api-1 api-2 audit cart nginx postgres",
	} {
		v, err := url.ParseQuery(address)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := parseQuery(v).rows(r, (&sample{}).History)
		var names []string
		for _, row := range rows {
			names = append(names, row.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestHeadsLinkToTheOtherOrder(t *testing.T) {
	for address, want := range map[string]string{
		"":                   "./?sort=age&desc",
		"sort=age&desc":      "./?sort=age",
		"sort=age":           "./?sort=age&desc",
		"sort=age&desc&all=": "./?sort=age&all",
	} {
		v, _ := url.ParseQuery(address)
		for _, h := range parseQuery(v).heads() {
			if h.Key == "age" && h.Link != want {
				t.Errorf("%q: the head links to %s, want %s", address, h.Link, want)
			}
		}
	}
}

func TestCosts(t *testing.T) {
	u := sampleUsage()
	h := &handler{Options: Options{Usage: func() status.Usage { return u }, PricePerGB: 0.5}}
	u.Ingested = []status.Ingested{{Container: "a", Group: "g", Bytes: 3 << 30}, {Container: "b", Group: "g", Bytes: 1 << 30, Yesterday: 4 << 30}, {Group: "h", Bytes: 9}}
	c := h.newCosts(healthyReport(), false)
	if c.Total.Today != "4 GiB" || c.Total.TodayCost != "$2.00" || c.Price != "$0.50" {
		t.Errorf("%+v", c)
	}
	// 8 GiB in 38 h 32 min 8 s; March has 31 days.
	if c.Total.Month != "154.5 GiB" || c.Total.MonthCost != "$77.23" {
		t.Errorf("%+v", c.Total)
	}
	if g := c.Groups[0]; g.Group != "g" || g.Today != "4 GiB" || len(c.Groups) != 2 {
		t.Errorf("%+v", c.Groups)
	}
	if got := c.Containers[2]; got.TodayCost != "<$0.01" || got.Container != "" {
		t.Errorf("%+v", got)
	}
	for region, want := range map[string]string{"cn-north-1": "¥2.00", "eusc-de-east-1": "€2.00", "": "$2.00"} {
		r := healthyReport()
		r.Region = region
		if got := h.newCosts(r, false).Total.TodayCost; got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
	h.PricePerGB = 0
	if c := h.newCosts(healthyReport(), false); c.Price != "" || c.Total.TodayCost != "" || c.Total.MonthCost != "" {
		t.Errorf("without a price: %+v", c)
	}
}

func TestCostsSumUpWhatIsNotShown(t *testing.T) {
	u := sampleUsage()
	u.Ingested = nil
	for range maxCosts + 7 {
		u.Ingested = append(u.Ingested, status.Ingested{Container: "c", Group: "g", Bytes: 1 << 20})
	}
	h := &handler{Options: Options{Usage: func() status.Usage { return u }}}
	c := h.newCosts(healthyReport(), false)
	if rest := c.Containers[maxCosts]; len(c.Containers) != maxCosts+1 || rest.Others != 7 || rest.Today != "7 MiB" {
		t.Errorf("%+v", c.Containers)
	}
	if all := h.newCosts(healthyReport(), true); len(all.Containers) != maxCosts+7 {
		t.Errorf("%d rows", len(all.Containers))
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", time.Millisecond: "1 s", 3400 * time.Millisecond: "4 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s",
		time.Hour: "1 h", 3*time.Hour + 12*time.Minute: "3 h 12 min", 24 * time.Hour: "1 d", 75*time.Hour + 20*time.Minute: "3 d 3 h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestSparkline(t *testing.T) {
	points := []status.Point{{Lines: 0}, {Lines: 5}, {Lines: 5}, {Lines: 5}, {Lines: 10}}
	s := sparkline(points, 6, lines, "Lines", lineRate)
	// The third of three points on one level is left out, and there is room for one more point.
	if want := "M1 29L2 15L4 15L5 1"; s.Line != want {
		t.Errorf("%s, want %s", s.Line, want)
	}
	if want := "Lines over the last half hour: now 10, at most 10"; s.Label != want {
		t.Errorf("%s", s.Label)
	}
	if got := sparkline(points, 3, lines, "", lineRate).Line; !strings.HasPrefix(got, "M0 ") || !strings.Contains(got, "L2 ") {
		t.Errorf("more points than room: %s", got)
	}
	if got := sparkline(make([]status.Point, 3), 3, lines, "", lineRate).Line; got != "M0 29L2 29" {
		t.Errorf("zeros: %s", got)
	}
	for n := range 2 {
		if s := sparkline(points[:n], 6, lines, "", lineRate); s.Line != "" || s.filled().Area != "" {
			t.Errorf("%d points: %+v", n, s)
		}
	}
	if got := coarse(points); len(got) != 2 || got[0].Lines != 5 || got[1].Lines != 7.5 {
		t.Errorf("%v", got)
	}
}
