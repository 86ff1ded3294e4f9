// Package load sends requests at times that were fixed beforehand, whether or not earlier ones have been answered: an open loop.
//
// A closed loop, which waits for an answer before the next request, stops asking while the server stalls and so hides the stall. Here a
// request's latency counts from the time at which it should have been sent; a request that had to wait for a stalled server carries that wait.
//
//	r, err := load.Run(ctx, load.Spec{Rate: 40, Count: 400, Arrivals: load.Poisson}, func(ctx context.Context) error { … })
//	fmt.Println(r.Latency.ValueAtQuantile(99))
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Arrivals says how the intended times lie.
type Arrivals string

const (
	Poisson Arrivals = "poisson" // independent users: exponentially distributed gaps
	Fixed   Arrivals = "fixed"   // a metronome: equal gaps
)

// Bounds of the latency histogram. A longer latency counts as the longest.
const (
	shortest = time.Microsecond
	longest  = time.Hour
)

// Spec describes a load.
type Spec struct {
	Rate     float64  // requests per second, on average
	Count    int      // requests in all
	Arrivals Arrivals // default Poisson
	Seed     uint64   // of the Poisson gaps
	// InFlight bounds the requests that are under way; default 1024. A request that finds no room waits, and its wait is part of its latency.
	InFlight int
}

// EnsureDefaults replaces zero fields by their defaults.
func (s *Spec) EnsureDefaults() {
	if s.Arrivals == "" {
		s.Arrivals = Poisson
	}
	if s.InFlight <= 0 {
		s.InFlight = 1024
	}
}

// Validate says what is wrong with the spec.
func (s *Spec) Validate() error {
	switch {
	case !(s.Rate > 0):
		return fmt.Errorf("rate %v: want more than 0 requests per second", s.Rate)
	case s.Count <= 0:
		return fmt.Errorf("count %d: want at least one request", s.Count)
	case s.Arrivals != Poisson && s.Arrivals != Fixed:
		return fmt.Errorf("arrivals %q: want %s or %s", s.Arrivals, Poisson, Fixed)
	}
	return nil
}

// Schedule returns the intended times since the start, ascending; the first is zero. The same spec gives the same times.
func (s Spec) Schedule() []time.Duration {
	s.EnsureDefaults()
	random := rand.New(rand.NewPCG(s.Seed, 0x6c6f6164))
	times := make([]time.Duration, s.Count)
	at := 0.0
	for i := range times {
		times[i] = time.Duration(at * float64(time.Second))
		gap := 1 / s.Rate
		if s.Arrivals == Poisson {
			gap *= random.ExpFloat64()
		}
		at += gap
	}
	return times
}

// Result is what a load came to.
type Result struct {
	Latency *hdrhistogram.Histogram // microseconds from the intended time to the answer, three significant digits; answered requests only
	Took    time.Duration           // from the first intended time to the last answer
	Failed  int                     // requests that ended in an error
	Err     error                   // the first of them
}

// Achieved is the rate at which requests were answered. Well below Spec.Rate, the server is saturated.
func (r *Result) Achieved() float64 {
	if r.Took <= 0 {
		return 0
	}
	return float64(r.Latency.TotalCount()) / r.Took.Seconds()
}

// Latencies lists the recorded latencies, ascending, with the histogram's precision.
func (r *Result) Latencies() []time.Duration {
	var all []time.Duration
	for _, bar := range r.Latency.Distribution() {
		for range bar.Count {
			all = append(all, time.Duration((bar.From+bar.To)/2)*time.Microsecond)
		}
	}
	return all
}

// Run sends the load and waits for all answers. It returns an error only for a bad spec or when ctx ends; failures of requests are in the
// result.
func Run(ctx context.Context, s Spec, send func(context.Context) error) (*Result, error) {
	s.EnsureDefaults()
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r := &Result{Latency: hdrhistogram.New(shortest.Microseconds(), longest.Microseconds(), 3)}
	var (
		mu      sync.Mutex // guards r
		workers sync.WaitGroup
		room    = make(chan struct{}, s.InFlight)
		start   = time.Now()
	)
	defer workers.Wait()
	for _, at := range s.Schedule() {
		if err := sleepUntil(ctx, start.Add(at)); err != nil {
			return nil, err
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		workers.Go(func() {
			err := send(ctx)
			answered := time.Since(start)
			<-room
			mu.Lock()
			defer mu.Unlock()
			r.Took = max(r.Took, answered)
			if err != nil {
				r.Failed++
				if r.Err == nil {
					r.Err = err
				}
				return
			}
			latency := min(max(answered-at, shortest), longest)
			if err := r.Latency.RecordValue(latency.Microseconds()); err != nil {
				r.Err = errors.Join(r.Err, err)
			}
		})
	}
	workers.Wait()
	return r, ctx.Err()
}

// sleepUntil returns at t, at once when t has passed.
func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
