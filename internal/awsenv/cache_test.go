package awsenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// fakeKeys returns KEY1, KEY2 and so on. They expire after life, or never if life is 0.
type fakeKeys struct {
	life time.Duration
	err  error
	hang bool
	n    int
	at   []time.Time // of the tries
}

func (f *fakeKeys) Retrieve(ctx context.Context) (aws.Credentials, error) {
	f.at = append(f.at, time.Now())
	if f.hang {
		<-ctx.Done()
		return aws.Credentials{}, ctx.Err()
	}
	if f.err != nil {
		return aws.Credentials{}, f.err
	}
	f.n++
	c := aws.Credentials{AccessKeyID: fmt.Sprint("KEY", f.n), SecretAccessKey: "s"}
	if f.life != 0 {
		c.CanExpire, c.Expires = true, time.Now().Add(f.life)
	}
	return c, nil
}

func wantCached(t *testing.T, c cache, key string) {
	t.Helper()
	if creds, err := c.Retrieve(t.Context()); err != nil || creds.AccessKeyID != key {
		t.Errorf("after %v: key %q, %v, want %q", time.Since(bubbleStart), creds.AccessKeyID, err, key)
	}
}

// bubbleStart is when time begins in a synctest bubble.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestKeysAreRenewedBeforeTheyExpire(t *testing.T) {
	for _, c := range []struct {
		life             time.Duration
		earliest, latest time.Duration // before their end
	}{
		{time.Hour, renewBefore / 2, renewBefore},
		{6 * time.Minute, 90 * time.Second, 3 * time.Minute},
		{0, 0, 0}, // never expires
	} {
		synctest.Test(t, func(t *testing.T) {
			from := &fakeKeys{life: c.life}
			k := newCache(from)
			for end := time.Now().Add(24 * time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
				if _, err := k.Retrieve(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			least, most := c.life-c.latest, c.life-c.earliest+time.Second
			if c.life == 0 {
				least, most = fileKeysLife, fileKeysLife+time.Second
			}
			for i := 1; i < len(from.at); i++ {
				if after := from.at[i].Sub(from.at[i-1]); after < least || after > most {
					t.Fatalf("keys for %v were renewed after %v, want between %v and %v", c.life, after, least, most)
				}
			}
			if len(from.at) < 20 {
				t.Errorf("%d tries in a day", len(from.at))
			}
		})
	}
}

func TestKeysAreUsedUntilTheyExpireIfTheyCannotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: time.Hour}
		k := newCache(from)
		wantCached(t, k, "KEY1")
		from.err = errors.New("STS is down")
		for time.Since(bubbleStart) < time.Hour {
			wantCached(t, k, "KEY1")
			time.Sleep(time.Second)
		}
		if n := len(from.at); n < 20 || n > 100 {
			t.Errorf("%d tries in the last %v, want one in about ten seconds", n, renewBefore)
		}
		if creds, err := k.Retrieve(t.Context()); err == nil {
			t.Errorf("key %q after its end", creds.AccessKeyID)
		}
		from.err = nil
		time.Sleep(backoffMax)
		wantCached(t, k, "KEY2")
	})
}

// Keys that were refused while they were being renewed are not used again if the renewal fails.
func TestKeysRefusedDuringRenewalAreNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: time.Hour}
		k := newCache(from)
		wantCached(t, k, "KEY1")
		time.Sleep(time.Hour - renewBefore/2) // renewal is due, and KEY1 has not expired
		from.hang = true
		done := make(chan error, 1)
		go func() {
			creds, err := k.Retrieve(t.Context())
			if err == nil {
				err = errors.New("got " + creds.AccessKeyID)
			}
			done <- err
		}()
		synctest.Wait()
		k.Invalidate()
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the renewal failed: %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// The cause of a long error is at its end.
func TestLongErrorKeepsItsCause(t *testing.T) {
	err := oneLine(errors.New(strings.Repeat("a step of the chain failed: ", 200) + "the cause"))
	if !strings.HasSuffix(err.Error(), "failed: the cause") {
		t.Errorf("the error ends with %.40q", err.Error()[len(err.Error())-40:])
	}
}

func TestPauseAfterFailedFetchDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: time.Hour, err: errors.New("bad:\n  STS\n  is down")}
		k := newCache(from)
		for time.Since(bubbleStart) < 5*time.Minute {
			if _, err := k.Retrieve(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "bad: STS is down") || !errors.Is(err, from.err) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		pause := backoffMin
		for i := 1; i < len(from.at); i++ {
			if after := from.at[i].Sub(from.at[i-1]); after < pause/2 || after > pause+10*time.Millisecond {
				t.Errorf("pause %d was %v, want between %v and %v", i, after, pause/2, pause)
			}
			pause = min(2*pause, backoffMax)
		}
	})
}

func TestHangingFetchTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: time.Hour, hang: true}
		k := newCache(from)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := k.Retrieve(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(bubbleStart); took != retrieveTimeout {
					t.Errorf("gave up after %v, want %v", took, retrieveTimeout)
				}
			})
		}
		wg.Wait()
		if len(from.at) != 1 {
			t.Errorf("%d tries for ten who asked at once", len(from.at))
		}
	})
}

func TestInvalidatedKeysAreNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: time.Hour}
		k := newCache(from)
		wantCached(t, k, "KEY1")
		k.Invalidate()
		wantCached(t, k, "KEY2")
		from.err = errors.New("STS is down")
		k.Invalidate()
		if creds, err := k.Retrieve(t.Context()); err == nil {
			t.Errorf("key %q", creds.AccessKeyID)
		}
	})
}

// On a host whose clock is hours ahead, all keys seem to have expired. They are used, and are not
// fetched again for each request.
func TestKeysThatSeemExpiredAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &fakeKeys{life: -time.Hour}
		k := newCache(from)
		for time.Since(bubbleStart) < time.Minute {
			if _, err := k.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(from.at); n != 4 {
			t.Errorf("asked %d times a minute, want 4", n)
		}
	})
}
