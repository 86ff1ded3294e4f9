package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEnterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		d := Demand{App: "a", Function: "f", Max: 1, Queue: 2}
		leave, err := g.Enter(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		go func() {
			time.Sleep(4 * time.Second)
			leave()
			leave() // again: nothing
		}()
		second, err := g.Enter(t.Context(), d)
		if err != nil || time.Since(begun) != 4*time.Second {
			t.Fatalf("after %v: %v", time.Since(begun), err)
		}
		// The measured service time is 4 seconds. Who waits longer than it may, is told when to come back.
		d.Wait = 3 * time.Second
		begun = time.Now()
		_, err = g.Enter(t.Context(), d)
		var full *ErrFull
		if !errors.As(err, &full) || full.RetryAfter != 8*time.Second || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v, %+v", time.Since(begun), err, full)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = g.Enter(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if s := g.Stats(); s.Waiting != 0 || s.Running != 1 || len(s.Functions) != 1 || s.Functions[0].Service != 4*time.Second {
			t.Errorf("%+v", s)
		}
		d.Wait = -1
		go func() {
			time.Sleep(time.Hour)
			second()
		}()
		if third, err := g.Enter(t.Context(), d); err != nil {
			t.Error(err)
		} else {
			third()
		}
		d.Wait, d.Max = 0, 0
		if leave, err := g.Enter(t.Context(), d); err != nil {
			t.Error(err)
		} else {
			leave()
		}
	})
}

func TestRetryAfterGrowsWithTheQueue(t *testing.T) {
	var now time.Duration
	g := New(Options{Now: func() time.Duration { return now }})
	d := Demand{App: "a", Function: "f", Max: 2, Queue: 3}
	var leaves []func()
	come := func() error {
		leave, err := g.Request(d, func() {})
		if err == nil {
			leaves = append(leaves, leave)
		}
		return err
	}
	come()
	now += 10 * time.Second
	leaves[0]()
	for range 5 {
		if err := come(); err != nil {
			t.Fatal(err)
		}
	}
	var full *ErrFull
	if err := come(); !errors.As(err, &full) || full.RetryAfter != 20*time.Second { // 3 wait, 2 at a time, 10 seconds each
		t.Errorf("%v", err)
	}
}

func TestRequest(t *testing.T) {
	g := New(Options{})
	d := Demand{App: "a", Function: "f", Max: 1}
	var told []int
	ask := func(n int) func() {
		leave, err := g.Request(d, func() { told = append(told, n) })
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	first, second, third := ask(1), ask(2), ask(3)
	second()
	first()
	third()
	third()
	if fmt.Sprint(told) != "[1 3]" {
		t.Errorf("told %v", told)
	}
	if s := g.Stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	d.Memory = 10
	if _, err := New(Options{Memory: 5}).Request(d, func() {}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// A raised limit lets in who waits.
func TestConfigure(t *testing.T) {
	g := New(Options{Calls: 1})
	in := 0
	for range 3 {
		if _, err := g.Request(Demand{App: "a", Function: "f"}, func() { in++ }); err != nil {
			t.Fatal(err)
		}
	}
	g.Configure(Options{Calls: 2})
	if in != 2 {
		t.Errorf("%d are in", in)
	}
}

// Many goroutines: nobody waits for ever, and the bounds hold.
func TestGateUnderLoad(t *testing.T) {
	g := New(Options{Memory: 100, Calls: 6, Passes: 3, Waiting: 10_000, Queue: 10_000})
	var inside, memory atomic.Int64
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 1))
			for range 200 {
				d := Demand{App: fmt.Sprint("a", n%3), Function: fmt.Sprint("f", n%5), Max: 2, Memory: random.Int64N(100)}
				if n%2 == 0 {
					ready := make(chan struct{})
					leave, err := g.Request(d, func() { close(ready) })
					if err != nil {
						t.Error(err)
						return
					}
					if random.IntN(4) == 0 {
						leave()
						continue
					}
					<-ready
					inside.Add(1)
					inside.Add(-1)
					leave()
					continue
				}
				leave, err := g.Enter(t.Context(), d)
				if err != nil {
					t.Error(err)
					return
				}
				if i, m := inside.Add(1), memory.Add(d.Memory); i > 6 || m > 100 {
					t.Errorf("%d are in, with %d bytes", i, m)
				}
				inside.Add(-1)
				memory.Add(-d.Memory)
				leave()
			}
		})
	}
	wg.Wait()
	if s := g.Stats(); s.Running != 0 || s.Waiting != 0 || s.Memory != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkEnter(b *testing.B) {
	d := Demand{App: "shop", Function: "resize", Memory: 64 << 20, Max: 64}
	b.Run("alone", func(b *testing.B) {
		g := New(Options{Memory: 8 << 30})
		b.ReportAllocs()
		for b.Loop() {
			leave, err := g.Enter(b.Context(), d)
			if err != nil {
				b.Fatal(err)
			}
			leave()
		}
	})
	b.Run("contended", func(b *testing.B) {
		g := New(Options{Memory: 8 << 30})
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if leave, err := g.Enter(b.Context(), d); err == nil {
					leave()
				}
			}
		})
	})
}
