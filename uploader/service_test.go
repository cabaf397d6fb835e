package uploader

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/target"
)

func TestSendersOfOneAccessShareAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		var deliveries []*Delivery
		for i := range 64 {
			to := testTarget
			bit := func(n int, s string) string { return strings.Repeat(s, i>>n&1) }
			to.Region, to.Endpoint, to.RoleARN = "r"+bit(0, "2"), bit(1, "http://e"), bit(2, "role")
			to.ExternalID, to.CredentialsEndpoint, to.Stream = bit(3, "id"), bit(4, "/path"), "s"+bit(5, "2")
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			deliveries = append(deliveries, u.Attach(to, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
		if n := len(f.accesses); n != 32 {
			t.Errorf("%d clients for 32 accesses", n)
		}
		seen := map[target.Access]bool{}
		for _, a := range f.accesses {
			seen[a] = true
		}
		if len(seen) != 32 {
			t.Errorf("%d accesses of 32", len(seen))
		}
	})
}

// perAccess is a fake service whose answers depend on the access.
type perAccess struct {
	*fake
	answer func(target.Access) error // the error of connect
	put    func(target.Access) error
}

func (p *perAccess) connect(ctx context.Context, a target.Access) (client, error) {
	if err := p.answer(a); err != nil {
		return nil, err
	}
	return accessClient{p, a}, nil
}

type accessClient struct {
	*perAccess
	a target.Access
}

func (c accessClient) PutLogEvents(ctx context.Context, r putRequest) (rejected, error) {
	if err := c.put(c.a); err != nil {
		return rejected{}, err
	}
	return c.fake.PutLogEvents(ctx, r)
}

// TestFailureOfOneRoleDelaysNoOther: a role that cannot be assumed, or whose account is
// throttled, delays only its own senders.
func TestFailureOfOneRoleDelaysNoOther(t *testing.T) {
	for name, bad := range map[string]error{
		"cannot be assumed": &credentialsError{fmt.Errorf("couldn't assume the role: AccessDenied")},
		"expired":           apiErr("ExpiredTokenException"),
		"throttled":         apiErr("ThrottlingException"),
		"failing":           apiErr("ServiceUnavailableException"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				of := func(a target.Access) error {
					if a.RoleARN == "bad" {
						return bad
					}
					return nil
				}
				none := func(target.Access) error { return nil }
				p := &perAccess{newFake(t), none, of}
				if strings.Contains(name, "assumed") {
					p.answer, p.put = of, none
				}
				p.has("g", "bad")
				p.has("g", "good")
				log := &logged{}
				u := New(Options{Log: log.log(), connector: p})
				attach := func(role string) *Delivery {
					to := testTarget
					to.RoleARN, to.ExternalID, to.Stream = role, "EXTERNAL", role
					to.CredentialsEndpoint = "/secret/path"
					feed := newFeed(t)
					feed.add(time.Now(), "x")
					d := u.Attach(to, feed, time.Second)
					d.Finish()
					return d
				}
				attach("bad")
				time.Sleep(9 * time.Minute)
				begin := time.Now()
				<-attach("good").Done()
				if d := time.Since(begin); d > time.Second {
					t.Errorf("the good role took %v", d)
				}
				warned := log.with("ERROR")
				if len(warned) != 1 || len(log.with("ERROR", `"role":"bad"`)) != 1 {
					t.Errorf("logged %q", log.lines)
				}
				if about := strings.Contains(warned[0], "trust policy"); about != (classify(bad, false) == unauthenticated) {
					t.Errorf("logged %q", warned)
				}
				if len(log.with("EXTERNAL")) > 0 || len(log.with("secret")) > 0 {
					t.Errorf("logged %q", log.lines)
				}
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = u.Stop(ctx)
			})
		})
	}
}

// TestEMFHasRequestsOfItsOwn: events in EMF and other events of one stream are sent by two
// senders.
func TestEMFHasRequestsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		var deliveries []*Delivery
		for i := range 4 {
			to := testTarget
			to.EMF = i%2 == 1
			feed := newFeed(t)
			feed.add(time.Now(), fmt.Sprint(to.EMF))
			deliveries = append(deliveries, u.Attach(to, feed, time.Second))
		}
		if n := u.Metrics().Senders; n != 2 {
			t.Errorf("%d senders", n)
		}
		for _, d := range deliveries {
			d.Finish()
		}
		for _, d := range deliveries {
			<-d.Done()
		}
		stop(t, u)
		at := 0
		shown := f.streams["g|s"]
		for i, emf := range f.emf["g|s"] {
			for range f.batches[i] {
				if shown[at].message != fmt.Sprint(emf) {
					t.Errorf("batch %d: %q in a request with EMF %v", i, shown[at].message, emf)
				}
				at++
			}
		}
		if at != 4 || len(f.batches) != 2 {
			t.Errorf("%d events in %d batches", at, len(f.batches))
		}
	})
}

// TestUnusedAccessesAreForgotten: containers with accesses of their own start and end by
// the thousand.
func TestUnusedAccessesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := start(t, newFake(t), Options{Log: discard})
		kept := u.Attach(target.Target{Access: target.Access{Region: "kept"}, Group: "g", Stream: "s"}, newFeed(t), 0)
		for i := range 1000 {
			to := testTarget
			to.ExternalID = fmt.Sprint(i)
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			d := u.Attach(to, feed, 0)
			d.Finish()
			<-d.Done()
			synctest.Wait()
		}
		u.mu.Lock()
		n, still := len(u.services), u.services[target.Access{Region: "kept"}] != nil
		u.mu.Unlock()
		if n > maxIdleServices || !still {
			t.Errorf("%d are remembered; the one in use is remembered: %v", n, still)
		}
		<-kept.Detach()
		stop(t, u)
	})
}

// invalidated is a provider that counts how often its keys were invalidated.
type invalidated struct {
	key string
	mu  sync.Mutex
	n   int
}

func (c *invalidated) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: c.key, SecretAccessKey: testSecret}, nil
}

func (c *invalidated) Invalidate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

// TestOnlyRefusedKeysAreInvalidated: each access signs with its own keys.
func TestOnlyRefusedKeysAreInvalidated(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential=bad/") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"__type":"ExpiredTokenException"}`))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}))
	defer srv.Close()
	providers := map[string]*invalidated{"good": {key: "good"}, "bad": {key: "bad"}}
	var mu sync.Mutex
	asked := map[target.Access]int{}
	u := New(Options{Log: slog.New(slog.DiscardHandler), Config: func(_ context.Context, a target.Access) (Config, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked[a]++; asked[a] == 2 {
			providers[a.RoleARN].key = "good"
		}
		return Config{Credentials: providers[a.RoleARN]}, nil
	}})
	access := func(role string) target.Target {
		return target.Target{Access: target.Access{Region: "r", Endpoint: srv.URL, RoleARN: role, ExternalID: "e", CredentialsEndpoint: "/c"}, Group: "g", Stream: "s"}
	}
	for _, role := range []string{"bad", "good", "good"} {
		feed := newFeed(t)
		feed.add(time.Now(), "x")
		d := u.Attach(access(role), feed, 0)
		d.Finish()
		<-d.Done()
	}
	stop(t, u)
	if providers["good"].n != 0 || providers["bad"].n == 0 {
		t.Errorf("invalidated: %d good ones, %d bad ones", providers["good"].n, providers["bad"].n)
	}
	if want := (map[target.Access]int{access("good").Access: 1, access("bad").Access: 2}); !maps.Equal(asked, want) {
		t.Errorf("configurations asked for: %v", asked)
	}
}

// TestRefusedKeysAreReadAgain: keys that CloudWatch refuses are not kept until the end that
// the SDK knows.
func TestRefusedKeysAreReadAgain(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "=old/") {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`))
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer srv.Close()
	var asked atomic.Int32
	cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		c := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, CanExpire: true, Expires: time.Now().Add(time.Hour)}
		if asked.Add(1) == 1 {
			c.AccessKeyID = "old"
		}
		return c, nil
	}))
	u := New(Options{
		Config: func(context.Context, target.Access) (aws.Config, error) { return aws.Config{Credentials: cache}, nil },
		Log:    discard,
	})
	defer stop(t, u)
	to := testTarget
	to.Endpoint = srv.URL
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(to, feed, 0)
	d.Finish()
	select {
	case <-d.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the keys are never read again")
	}
	if n := asked.Load(); n > 3 {
		t.Errorf("read %d times", n)
	}
}
