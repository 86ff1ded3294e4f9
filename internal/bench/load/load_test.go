package load

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// within says whether got is within the histogram's precision of want.
func within(got, want time.Duration) bool {
	return math.Abs(float64(got-want)) <= 0.002*float64(want)+float64(2*time.Microsecond)
}

func TestSchedule(t *testing.T) {
	fixed := Spec{Rate: 10, Count: 4, Arrivals: Fixed}.Schedule()
	for i, at := range fixed {
		if want := time.Duration(i) * 100 * time.Millisecond; (at - want).Abs() > time.Microsecond {
			t.Errorf("request %d at %s, want %s", i, at, want)
		}
	}
	s := Spec{Rate: 1000, Count: 20000, Seed: 5}
	one, two := s.Schedule(), s.Schedule()
	for i := range one {
		if one[i] != two[i] {
			t.Fatal("the same seed gave other times")
		}
		if i > 0 && one[i] < one[i-1] {
			t.Fatal("times go backwards")
		}
	}
	if mean := one[len(one)-1].Seconds() / float64(len(one)-1); math.Abs(mean-0.001) > 0.00005 {
		t.Errorf("mean gap %.6f s, want 0.001", mean)
	}
	variance := 0.0
	for i := 1; i < len(one); i++ {
		d := (one[i] - one[i-1]).Seconds() - 0.001
		variance += d * d
	}
	if deviation := math.Sqrt(variance / float64(len(one))); math.Abs(deviation-0.001) > 0.0001 {
		t.Errorf("standard deviation of the gaps %.6f s, want that of an exponential distribution, 0.001", deviation)
	}
}

func TestSpecRefuses(t *testing.T) {
	for name, s := range map[string]Spec{
		"no rate":          {Count: 1},
		"not a rate":       {Rate: math.NaN(), Count: 1},
		"no requests":      {Rate: 1},
		"unknown arrivals": {Rate: 1, Count: 1, Arrivals: "bursty"},
	} {
		if _, err := Run(t.Context(), s, func(context.Context) error { return nil }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A server that stalls once delays the requests behind it; their latencies must show it although each of them is served at once.
func TestLatencyCountsFromTheIntendedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		r, err := Run(t.Context(), Spec{Rate: 10, Count: 10, Arrivals: Fixed, InFlight: 1}, func(context.Context) error {
			if calls.Add(1) == 3 {
				time.Sleep(time.Second)
			} else {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		if err != nil || r.Failed != 0 {
			t.Fatal(err, r.Failed, r.Err)
		}
		got := r.Latencies()
		if len(got) != 10 {
			t.Fatalf("%d latencies, want 10", len(got))
		}
		// Requests 0 and 1 take 10 ms. Request 2 stalls for 1000 ms and ends at 1200; request 3, due at 300, ends at 1210: 910 ms;
		// each later one gains 90 ms, to 370 ms for request 9.
		want := []time.Duration{10, 10, 370, 460, 550, 640, 730, 820, 910, 1000}
		for i, w := range want {
			if !within(got[i], w*time.Millisecond) {
				t.Errorf("latency %d is %s, want %d ms", i, got[i], w)
			}
		}
		if want := 1270 * time.Millisecond; r.Took != want {
			t.Errorf("took %s, want %s", r.Took, want)
		}
	})
}

// With room for them, requests are sent on time even while an earlier one hangs.
func TestOpenLoopDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var sent []time.Duration // guarded by mu
		done := make(chan struct{})
		r, err := Run(t.Context(), Spec{Rate: 100, Count: 5, Arrivals: Fixed}, func(context.Context) error {
			mu.Lock()
			sent = append(sent, time.Since(start))
			if len(sent) == 5 {
				close(done)
			}
			mu.Unlock()
			<-done
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range sent {
			if want := time.Duration(i) * 10 * time.Millisecond; at != want {
				t.Errorf("request %d sent at %s, want %s", i, at, want)
			}
		}
		if a := r.Achieved(); math.Abs(a-125) > 0.001 {
			t.Errorf("achieved %.3f/s, want 125: five answers in 40 ms", a)
		}
	})
}

func TestFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var calls atomic.Int32
		r, err := Run(t.Context(), Spec{Rate: 10, Count: 6, Arrivals: Fixed}, func(context.Context) error {
			if calls.Add(1)%2 == 0 {
				return broken
			}
			time.Sleep(time.Millisecond)
			return nil
		})
		if err != nil || r.Failed != 3 || !errors.Is(r.Err, broken) || r.Latency.TotalCount() != 3 {
			t.Errorf("err %v, failed %d, first %v, answered %d", err, r.Failed, r.Err, r.Latency.TotalCount())
		}
	})
}

func TestCancelEndsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Run(ctx, Spec{Rate: 1, Count: 100, Arrivals: Fixed}, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
	})
}
