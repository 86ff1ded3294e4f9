package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A rate lets a burst in at once, and then one after the other; they go on in their order.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, begin := New(Options{}), time.Now()
		bank := Place{"bank", Rule{Rate: 10, Burst: 3}}
		var mu sync.Mutex
		var got []string
		for i := range 6 {
			go func() {
				leave, err := l.Enter(t.Context(), false, bank)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprint(i, " ", time.Since(begin).Round(time.Millisecond)))
				leave()
			}()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if fmt.Sprint(got) != "[0 0s 1 0s 2 0s 3 100ms 4 200ms 5 300ms]" {
			t.Errorf("they begin at %v", got)
		}
	})
}

// Others wait while there are as many as there may be; who gives up leaves the queue.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		bank := Place{"bank", Rule{Concurrency: 1}}
		first, err := l.Enter(t.Context(), false, bank)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := l.Enter(ctx, false, bank)
			gone <- err
		}()
		synctest.Wait()
		second := make(chan func(), 1)
		go func() {
			leave, _ := l.Enter(t.Context(), false, bank)
			second <- leave
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone gets %v", err)
		}
		first()
		(<-second)()
		if p := l.places["bank"]; p.inside != 0 || len(p.queue) != 0 {
			t.Errorf("%d are left, and %d wait", p.inside, len(p.queue))
		}
	})
}

// Who finds a full queue, or waits for too long, is told when to come again.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Wait: 2 * time.Second})
		slow := Place{"bank/ann", Rule{Rate: 0.1, Queue: 1}}
		if _, err := l.Enter(t.Context(), false, slow); err != nil {
			t.Fatal(err)
		}
		waits := make(chan error, 1)
		go func() {
			_, err := l.Enter(t.Context(), false, slow)
			waits <- err
		}()
		synctest.Wait()
		var full *FullError
		if _, err := l.Enter(t.Context(), false, slow); !errors.As(err, &full) || full.RetryAfter.Round(time.Second) != 20*time.Second {
			t.Errorf("the queue is full: %v", err)
		}
		if err := <-waits; !errors.As(err, &full) || full.RetryAfter.Round(time.Second) != 8*time.Second {
			t.Errorf("it takes too long: %v", err)
		}
		patient := time.Now()
		if _, err := l.Enter(t.Context(), true, slow); err != nil || time.Since(patient).Round(time.Second) != 8*time.Second {
			t.Errorf("who is patient gets %v after %v", err, time.Since(patient))
		}
	})
}

// Places bound requests together: one that is refused at the second has not used up the
// first. Others are not concerned.
func TestPlacesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Wait: time.Millisecond})
		key := func(name string) Place { return Place{"bank/" + name, Rule{Rate: 1}} }
		bank := Place{"bank", Rule{Concurrency: 1}}
		leave, err := l.Enter(t.Context(), false, key("ann"), bank)
		if err != nil {
			t.Fatal(err)
		}
		var full *FullError
		if _, err := l.Enter(t.Context(), false, key("bob"), bank); !errors.As(err, &full) || full.Place != "bank" {
			t.Errorf("there is no room in the bank: %v", err)
		}
		leave()
		if _, err := l.Enter(t.Context(), false, key("ann"), bank); !errors.As(err, &full) || full.Place != "bank/ann" {
			t.Errorf("ann has no token: %v", err)
		}
		leave, err = l.Enter(t.Context(), false, key("bob"), bank)
		if err != nil {
			t.Errorf("bob has his token: %v", err)
		}
		leave()
		if _, err := l.Enter(t.Context(), false, Place{Name: "free"}); err != nil || l.places["free"] != nil {
			t.Errorf("a place without a rule: %v", err)
		}
	})
}

// Places that say nothing are dropped.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		for i := range 5000 {
			leave, err := l.Enter(t.Context(), false, Place{fmt.Sprint(i), Rule{Rate: 1000, Burst: 1}})
			if err != nil {
				t.Fatal(err)
			}
			leave()
			time.Sleep(time.Millisecond)
		}
		if len(l.places) > 1100 {
			t.Errorf("%d places are kept", len(l.places))
		}
	})
}

// Who waits is admitted by a new rule as soon as somebody comes with it.
func TestNewRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		enter := func(r Rule) <-chan time.Time {
			entered := make(chan time.Time, 1)
			go func() {
				if _, err := l.Enter(t.Context(), true, Place{"bank", r}); err != nil {
					t.Error(err)
				}
				entered <- time.Now()
			}()
			synctest.Wait()
			return entered
		}
		begun := time.Now()
		slow, fast := Rule{Rate: 0.001}, Rule{Rate: 2}
		enter(slow)
		first, second := enter(slow), enter(slow)
		third := enter(fast)
		for i, c := range []<-chan time.Time{first, second, third} {
			if at := <-c; at.Sub(begun).Round(time.Millisecond) > 2*time.Second {
				t.Errorf("waiter %d is admitted after %v", i, at.Sub(begun))
			}
		}
	})
}
