package awsenv

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPauseAfterFailedLookupDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var tries []time.Time
		l := newLookup(func(context.Context) (string, error) {
			tries = append(tries, time.Now())
			return "", broken
		})
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := l.get(t.Context()); !errors.Is(err, broken) {
				t.Fatalf("get: %v, want the last try's error", err)
			}
		}
		want := time.Second // the longest next pause
		for i := 1; i < len(tries); i++ {
			pause := tries[i].Sub(tries[i-1])
			if pause < want/2 || pause > want+10*time.Millisecond {
				t.Errorf("pause %d was %v, want between %v and %v", i, pause, want/2, want)
			}
			want = min(2*want, 15*time.Second)
		}
		if len(tries) < 20 {
			t.Errorf("%d tries in five minutes", len(tries))
		}
	})
}

func TestLookupHasATimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookup(func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		l.backoff.max = time.Second
		began := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := l.get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("get: %v", err)
				}
				if took := time.Since(began); took != tryTimeout {
					t.Errorf("a caller waited %v, want one try, %v", took, tryTimeout)
				}
			})
		}
		wg.Wait()
	})
}

func TestLookupWaitersKeepTheirOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookup(func(ctx context.Context) (string, error) {
			select {
			case <-time.After(900 * time.Millisecond):
				return "here", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
		l.backoff.max = time.Second
		var wg sync.WaitGroup
		wg.Go(func() {
			if v, err := l.get(t.Context()); v != "here" || err != nil {
				t.Errorf("the patient caller got %q, %v", v, err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			if v, err := l.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hasty caller got %q, %v", v, err)
			}
			if took := time.Since(began); took != 100*time.Millisecond {
				t.Errorf("the hasty caller waited %v", took)
			}
		})
		wg.Wait()
	})
}
