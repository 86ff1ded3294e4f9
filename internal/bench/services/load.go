package services

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/bench/replay"
)

// order is what the application is asked over connections.
func (a *served) order(ask func() (method, args string)) load.Order {
	keys := strconv.FormatUint(a.random.Uint64(), 36) + "-"
	asked := 0
	return load.Order{
		Next: func() []byte {
			method, args := ask()
			asked++
			b := append(a.buffer[:0], "POST /v1/apps/"...)
			b = append(b, a.deploys...)
			b = append(b, "/services/"...)
			b = append(b, method...)
			b = append(b, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: "...)
			b = append(b, keys...)
			b = strconv.AppendInt(b, int64(asked), 36)
			b = append(b, "\r\nContent-Length: "...)
			b = strconv.AppendInt(b, int64(len(args)), 10)
			b = append(b, "\r\n\r\n"...)
			a.buffer = append(b, args...)
			return a.buffer
		},
		Check: func(status int, body []byte) error {
			switch {
			case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
				a.refused++
				return load.ErrRefused
			case status != http.StatusOK || !a.right(body):
				return fmt.Errorf("%w: status %d, body %.300q", lab.ErrDigest, status, body)
			}
			a.answered++
			return nil
		},
	}
}

// usual asks as the application is usually asked, alike all ask for the same lock.
func (a *served) usual() (method, args string) { return a.ask(a.random) }
func (a *served) alike() (method, args string) { return a.onOneKey(a.random) }

// closed asks from so many connections, so often or for so long.
func (a *served) closed(ctx context.Context, clients int, o load.Order) (load.Done, error) {
	c, err := a.server.Dial("unix", clients)
	if err != nil {
		return load.Done{}, err
	}
	defer c.Close()
	done, err := c.Run(ctx, o)
	if err == nil && done.Refused > 0 {
		err = fmt.Errorf("%d of %d requests were refused with %d clients", done.Refused, done.Refused+len(done.Latencies), clients)
	}
	return done, err
}

// alone measures a client alone, who asks so often, or as often as the window has room for, and counts the flushes.
func (a *served) alone(ctx context.Context, count int, window time.Duration) (lab.Sample, error) {
	const flushes = "weft_store_flushes_total"
	var before, after float64
	var done load.Done
	if _, _, err := a.watched(func() (err error) {
		if before, err = a.server.Metric(ctx, flushes); err != nil {
			return err
		}
		o := a.order(a.usual)
		o.Count, o.For = count, window
		if done, err = a.closed(ctx, 1, o); err != nil {
			return err
		}
		after, err = a.server.Metric(ctx, flushes)
		return err
	}); err != nil {
		return lab.Sample{}, err
	}
	var s lab.Sample
	for _, took := range done.Latencies {
		s.Values = append(s.Values, lab.Millis(a.name+measureAlone, took))
	}
	s.Values = append(s.Values, lab.Value{Measure: a.name + measureFlushes, Unit: "1", Number: (after - before) / float64(max(len(done.Latencies), 1))})
	return s, nil
}

// many measures many clients who ask without a pause.
func (a *served) many(ctx context.Context, clients int, window time.Duration) (lab.Sample, error) {
	var done load.Done
	own, theirs, err := a.watched(func() (err error) {
		o := a.order(a.usual)
		o.For = window
		done, err = a.closed(ctx, clients, o)
		return err
	})
	if err != nil {
		return lab.Sample{}, err
	}
	s := lab.Sample{Values: []lab.Value{{Measure: a.name + measureRate, Unit: "1/s", Number: done.Rate()}}}
	for _, took := range done.Latencies {
		s.Values = append(s.Values, lab.Millis(a.name+measureMany, took))
	}
	s.Values = append(s.Values,
		lab.Micros(a.name+measureCPU, theirs/time.Duration(max(len(done.Latencies), 1))),
		lab.Value{Measure: a.name + measureShare, Unit: "%", Number: 100 * own.Seconds() / done.Took.Seconds() / float64(runtime.NumCPU())},
	)
	return s, nil
}

// watched does something that is measured, again if the machine did much else meanwhile: the last time counts. It returns the
// processor time of this process and of the server with its instances.
func (a *served) watched(do func() error) (own, theirs time.Duration, err error) {
	pid := a.server.PID()
	for again := 0; ; again++ {
		own, theirs, err := lab.ProcessorTimes(pid)
		if err != nil {
			return 0, 0, err
		}
		w, err := replay.NewWatch()
		if err != nil {
			return 0, 0, err
		}
		if err := do(); err != nil {
			return 0, 0, err
		}
		own2, theirs2, err := lab.ProcessorTimes(pid)
		if err != nil {
			return 0, 0, err
		}
		n, err := w.Noise(theirs2 - theirs)
		if err != nil {
			return 0, 0, err
		}
		if a.noise.counts(n, again) {
			return own2 - own, theirs2 - theirs, nil
		}
	}
}

// repeatsMax is how often a window that was disturbed is measured again.
const repeatsMax = 3

// disturbances are what else the machine did while something was measured.
type disturbances struct {
	repeats                      int              // of a window, at most
	until                        func() time.Time // and none after that: when the group's share of the budget is used
	windows, repeated, disturbed int
	worst                        replay.Noise // of those that count
}

// counts reports whether a window counts that was measured again so often: one that was not disturbed, or the last one.
func (d *disturbances) counts(n replay.Noise, again int) bool {
	if n.Disturbed() && again < d.repeats && time.Now().Before(d.until()) {
		d.repeated++
		return false
	}
	d.windows++
	if n.Disturbed() {
		d.disturbed++
	}
	d.worst.Foreign, d.worst.Stolen = max(d.worst.Foreign, n.Foreign), max(d.worst.Stolen, n.Stolen)
	return true
}

// conclude says how quiet the machine was.
func (d *disturbances) conclude() []string {
	if d.windows == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d times a window that other load disturbed was measured again, each at most %d times; %d of the %d windows that count were disturbed all the same, by at most %v", d.repeated, d.repeats, d.disturbed, d.windows, d.worst)}
}

// atRate asks at a fixed rate, over as many connections as that takes, and adds what came of it to the variant's curve.
func (a *served) atRate(ctx context.Context, rate float64, window time.Duration) (lab.Sample, error) {
	var done load.Done
	if _, _, err := a.watched(func() (err error) {
		done, err = a.open(ctx, rate, window, a.usual)
		return err
	}); err != nil {
		return lab.Sample{}, err
	}
	a.curve.Add(rate, done)
	measure := fmt.Sprintf("%s at %v requests a second", a.name, rate)
	s := lab.Sample{Values: []lab.Value{{Measure: measure + ", answers", Unit: "1/s", Number: done.Rate()}}}
	for _, took := range done.Latencies {
		s.Values = append(s.Values, lab.Millis(measure, took))
	}
	return s, nil
}

// open asks at a fixed rate.
func (a *served) open(ctx context.Context, rate float64, window time.Duration, ask func() (string, string)) (load.Done, error) {
	spec := load.Spec{Rate: rate, Count: max(int(rate*window.Seconds()), 1), Arrivals: load.Poisson, Seed: a.random.Uint64()}
	return load.Open(ctx, "unix", a.server.Socket, a.order(ask), spec.Schedule())
}

// plateau looks for the number of clients at which there are the most answers if all want the same lock, and measures that and two and
// eight times as many, one behind the other and so often; and the open loop at twice the peak's rate.
func (a *served) plateau(ctx context.Context, ladder []int, peaks int, window time.Duration) (lab.Sample, error) {
	rate := func(clients int, window time.Duration) (float64, error) {
		var done load.Done
		_, _, err := a.watched(func() (err error) {
			o := a.order(a.alike)
			o.For = window
			done, err = a.closed(ctx, clients, o)
			return err
		})
		return done.Rate(), err
	}
	peak, most := 0, 0.0
	for _, clients := range ladder {
		r, err := rate(clients, window/2)
		if err != nil {
			return lab.Sample{}, err
		}
		if r > most {
			peak, most = clients, r
		}
	}
	var rates [3][]float64
	for range peaks {
		for i, times := range []int{1, 2, 8} {
			r, err := rate(peak*times, window)
			if err != nil {
				return lab.Sample{}, err
			}
			rates[i] = append(rates[i], r)
		}
	}
	for i := range rates {
		slices.Sort(rates[i])
	}
	middle := peaks / 2
	top := rates[0][middle]
	var done load.Done
	if _, _, err := a.watched(func() (err error) {
		done, err = a.open(ctx, 2*top, window, a.alike)
		return err
	}); err != nil {
		return lab.Sample{}, err
	}
	return lab.Sample{Values: []lab.Value{
		{Measure: a.name + measurePeak, Unit: "1/s", Number: top},
		{Measure: a.name + measureClients, Unit: "1", Number: float64(peak)},
		{Measure: a.name + measureTwice, Unit: "×", Number: rates[1][middle] / top},
		{Measure: a.name + measureEight, Unit: "×", Number: rates[2][middle] / top},
		{Measure: a.name + measureOver, Unit: "×", Number: done.Rate() / top},
	}}, nil
}

// inSequence asks 20 times, and then 200 times, one after the other.
func (a *served) inSequence(ctx context.Context) (lab.Sample, error) {
	o := a.order(a.usual)
	o.Count = 20
	if _, err := a.closed(ctx, 1, o); err != nil {
		return lab.Sample{}, err
	}
	o.Count = 200
	var done load.Done
	if _, _, err := a.watched(func() (err error) {
		done, err = a.closed(ctx, 1, o)
		return err
	}); err != nil {
		return lab.Sample{}, err
	}
	s := lab.Sample{Values: []lab.Value{{Measure: a.name + measureSeq, Unit: "1/s", Number: done.Rate()}}}
	for _, took := range done.Latencies {
		s.Values = append(s.Values, lab.Millis(a.name+measureAlone, took))
	}
	return s, nil
}
