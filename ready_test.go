package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/awsenv"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/target"
)

// place is where the plugin runs, as awsenv sees it.
type place struct {
	mu       sync.Mutex
	region   string
	arn      string
	identity error
	hangs    bool
	asked    int
}

func (p *place) Region(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.region == "" {
		return "", errors.New("no AWS region: set AWS_REGION")
	}
	return p.region, nil
}

func (p *place) RegionFrom() string { return "EC2 metadata" }

func (p *place) Identity(ctx context.Context, _ target.Access) (arn, provider string, err error) {
	p.mu.Lock()
	p.asked++
	hangs, arn, err := p.hangs, p.arn, p.identity
	p.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return "", "EC2 instance role", ctx.Err()
	}
	if errors.Is(err, awsenv.ErrNoCredentials) {
		return "", "", err
	}
	return arn, "EC2 instance role", err
}

func (p *place) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// watched starts a watch. logged returns what it has logged.
func watched(env awsFacts, hold string) (a *access, logged func() string, stop func()) {
	var mu sync.Mutex
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		out.Write(p)
	}), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	a = &access{hold: hold}
	stop = a.startWatch(log, env)
	return a, func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}, stop
}

const readyLine = `level=INFO msg="logspool is ready" region=eu-central-1 region_from="EC2 metadata" provider="EC2 instance role" identity=`

func TestReadyIsLoggedOnceWhenEverythingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, logged, stop := watched(&place{region: "eu-central-1", arn: "arn:x"}, "")
		if got := logged(); got != readyLine+"arn:x\n" {
			t.Errorf("logged %s", got)
		}
		if got, want := a.facts(), (accessFacts{Region: "eu-central-1", RegionFrom: "EC2 metadata", Identity: "arn:x", Provider: "EC2 instance role"}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		time.Sleep(time.Hour)
		if got := logged(); strings.Count(got, "\n") != 1 {
			t.Errorf("logged %s", got)
		}
		stop()
	})
}

// TestMissingAccessIsLoggedOnce: what is missing is a WARN after readyTime, and an INFO says when
// nothing is missing any more.
func TestMissingAccessIsLoggedOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		place *place
		want  string
	}{
		{"no region", &place{arn: "arn:x"}, `missing=region err="no AWS region: set AWS_REGION" hint="set AWS_REGION"`},
		{"no credentials", &place{region: "eu-central-1", identity: fmt.Errorf("%w: none", awsenv.ErrNoCredentials)},
			`missing=credentials err="no AWS credentials: none" hint="give the instance a role`},
		{"neither", &place{identity: awsenv.ErrNoCredentials}, `missing="region, credentials" err="no AWS region`},
		{"refused", &place{region: "eu-central-1", identity: fmt.Errorf("%w: Credential=SECRET", awsenv.ErrRefused)},
			`missing=credentials err="AWS does not accept the credentials: …" hint="check the AWS credentials and the host's clock"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := c.place
				a, logged, stop := watched(p, "")
				time.Sleep(readyTime - time.Second)
				if got := logged(); got != "" {
					t.Errorf("logged early: %s", got)
				}
				time.Sleep(2 * time.Second)
				warned := logged()
				if !strings.HasPrefix(warned, `level=WARN msg="logspool is not ready; logs are spooled meanwhile" `+c.want) {
					t.Errorf("logged %s", warned)
				}
				facts := a.facts()
				if wrong := strings.Contains(warned, "credentials"); wrong != (facts.CredentialsError != "") || wrong != (facts.CredentialsRemedy != "") ||
					strings.Contains(facts.CredentialsError, "SECRET") {
					t.Errorf("%+v", facts)
				}
				time.Sleep(time.Hour)
				if got := logged(); got != warned || p.asked > 90 {
					t.Errorf("asked %d times, and logged %s", p.asked, got)
				}
				p.set(func() { p.region, p.arn, p.identity = "eu-central-1", "arn:y", nil })
				time.Sleep(lateReadyPoll)
				if got := logged(); got != warned+readyLine+"arn:y\n" || a.facts().Identity != "arn:y" || a.facts().CredentialsError != "" {
					t.Errorf("logged %s, %+v", got, a.facts())
				}
				stop()
			})
		})
	}
}

// TestUnknownIdentityIsNotMissing: STS is unreachable in some networks.
func TestUnknownIdentityIsNotMissing(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &place{region: "eu-central-1", identity: errors.New("no such host"), hangs: hangs}
			a, logged, stop := watched(p, "")
			time.Sleep(readyTime + 2*time.Second)
			got := logged()
			if !strings.HasPrefix(got, readyLine+"unknown err=") || strings.Count(got, "\n") != 1 || a.facts().CredentialsError != "" {
				t.Errorf("logged %s", got)
			}
			p.set(func() { p.arn, p.identity, p.hangs = "arn:late", nil, false })
			time.Sleep(2 * lateReadyPoll)
			if again := logged(); again != got || a.facts().Identity != "arn:late" {
				t.Errorf("logged %s, %+v", again, a.facts())
			}
			stop()
		})
	}
}

// TestWatchEndsAtOnce: neither a look that hangs nor the pause before the next one delays the stop.
func TestWatchEndsAtOnce(t *testing.T) {
	for _, p := range []*place{{region: "eu-central-1", hangs: true}, {arn: "arn:x"}} {
		synctest.Test(t, func(t *testing.T) {
			_, logged, stop := watched(p, "")
			time.Sleep(readyPoll * 3 / 2)
			begun := time.Now()
			stop()
			if took := time.Since(begun); took > 0 || logged() != "" {
				t.Errorf("took %v, logged %s", took, logged())
			}
		})
	}
}

// TestInvalidSettingIsMissing: while a setting leaves undecided where logs go, the plugin is not
// ready.
func TestInvalidSettingIsMissing(t *testing.T) {
	for _, c := range []struct {
		env  []string
		hold string
	}{
		{[]string{"AWS_REGION=Frankfurt"}, "AWS_REGION is invalid"},
		{[]string{"ROUTE=cloudwatch://nowhere", "AWS_REGION=eu-west-1"}, "ROUTE is invalid"},
		{[]string{"ROUTE=cloudwatch://eu-west-1", "AWS_REGION=Frankfurt"}, ""},
		{[]string{"AWS_REGION=eu-west-1"}, ""},
	} {
		settings, _ := config.Load(c.env)
		if got := newAccess(settings).hold; got != c.hold {
			t.Errorf("%q: %q, want %q", c.env, got, c.hold)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a, logged, stop := watched(&place{region: "eu-west-1", arn: "arn:x"}, "AWS_REGION is invalid")
		got := logged()
		if !strings.Contains(got, `msg="logspool is not ready; logs are spooled meanwhile" missing="a valid setting" err="AWS_REGION is invalid" hint="correct the setting`) {
			t.Errorf("logged %s", got)
		}
		time.Sleep(time.Hour)
		if logged() != got || a.facts().Region != "" {
			t.Errorf("logged %s, %+v", logged(), a.facts())
		}
		stop()
	})
}

// TestPluginLogsThatItIsReady runs the plugin with the stand-in's STS, and then with keys that it
// refuses. With NOEC2, the metadata service is not asked.
func TestPluginLogsThatItIsReady(t *testing.T) {
	metadata := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the metadata service was asked")
	}))
	defer metadata.Close()
	r := newRig(t, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+metadata.URL)
	r.start()
	want := "msg=\"logspool is ready\" region=" + testRegion + " region_from=AWS_REGION provider=\"environment variables\" identity=arn:aws:iam::" +
		cwlocal.AccountID + ":user/AKIDEXAMPLE"
	if err := r.plugin.WaitLogged(want, time.Minute); err != nil {
		t.Error(err)
	}
	r.stop()
	r.refusedNothing()
	r.env = append(r.env, "AWS_ACCESS_KEY_ID=STRANGER", "AWS_REGION=auto")
	r.start()
	if err := r.plugin.WaitLogged(`msg="logspool is not ready; logs are spooled meanwhile" missing=region err="no AWS region`, time.Minute); err != nil {
		t.Error(err)
	}
	r.stop()
}
