package domain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// one runs a call of a function in a domain of its own, and returns its host.
func one(t *testing.T, p *Pool, version string, f *Function) string {
	t.Helper()
	d, results := newDomain(t, p, func(o *Options) { o.Version = version })
	d.Start(callOf(1, f, "a"))
	r := next(t, results)
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	before := p.idling(version)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the return of the host", func() bool { return p.idling(version) == before+1 })
	return r.Host
}

// several has n runs of a version at the same time, so that as many hosts are
// idle afterwards.
func several(t *testing.T, p *Pool, version string, f *Function, n int) (hosts []string) {
	t.Helper()
	var open []*Domain
	for range n {
		d, results := newDomain(t, p, func(o *Options) { o.Version = version })
		d.Start(callOf(1, f, "a"))
		r := next(t, results)
		if r.Failure != nil {
			t.Fatal(r.Failure)
		}
		hosts = append(hosts, r.Host)
		open = append(open, d)
	}
	for i, d := range open { // the first comes back first
		d.Close()
		eventually(t, "the return of the host", func() bool { return p.idling(version) == i+1 })
	}
	return hosts
}

func TestIdleHostsExpire(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Reuse, o.Idle = 2, time.Minute })
	f := hello(t, p)
	hosts := several(t, p, "v", f, 4)
	now := p.tick.Load()
	p.reap(now + 2)
	if n := p.idling("v"); n != 4 {
		t.Errorf("%d hosts are left after 2 seconds, want 4", n)
	}
	p.reap(now + 10) // more than are to be reused
	if n := p.idling("v"); n != 2 {
		t.Errorf("%d hosts are left after 10 seconds, want 2", n)
	}
	if got := one(t, p, "v", f); got != hosts[3] {
		t.Errorf("the next run was in %s, the last used host is %s", got, hosts[3])
	}
	p.reap(now + 100)
	if n := p.idling("v"); n != 0 {
		t.Errorf("%d hosts are left after 100 seconds", n)
	}
	if s := p.Stats(); s.Expired != 4 || s.Idle != 0 || s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}

func TestKeepFor(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Idle = time.Minute })
	f := hello(t, p)
	one(t, p, "v", f)
	one(t, p, "w", f)
	p.KeepFor("w", 5*time.Second)
	p.reap(p.tick.Load() + 30)
	if v, w := p.idling("v"), p.idling("w"); v != 1 || w != 0 {
		t.Errorf("after 30 seconds %d and %d hosts are left, want 1 and 0", v, w)
	}
	p.KeepFor("w", 0)
	one(t, p, "w", f)
	p.reap(p.tick.Load() + 30)
	if n := p.idling("w"); n != 1 {
		t.Errorf("after 30 seconds %d hosts are left, want 1", n)
	}
}

func TestKeep(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Idle = time.Minute })
	f, g := hello(t, p), hello(t, p)
	p.Keep("v", []*Function{f, g}, 3)
	eventually(t, "three hosts", func() bool { return p.idling("v") == 3 })
	p.mu.Lock()
	for _, h := range p.used["v"] {
		if len(h.defined) != 2 {
			t.Errorf("%s knows %d functions", h.name, len(h.defined))
		}
	}
	p.mu.Unlock()
	p.reap(p.tick.Load() + 1000)
	if n := p.idling("v"); n != 3 {
		t.Errorf("%d hosts are left, three are to be kept", n)
	}
	one(t, p, "v", f)
	if s := p.Stats(); s.Warm != 1 || s.Clean != 0 || s.Cold != 0 || s.Prepared != 6 || s.Memory <= 0 {
		t.Errorf("%+v", s)
	}
	p.Keep("v", nil, 0)
	p.reap(p.tick.Load() + 1000)
	if n := p.idling("v"); n != 0 {
		t.Errorf("%d hosts are left, none is to be kept", n)
	}
	p.Keep("w", []*Function{f}, 1)
	eventually(t, "a host", func() bool { return p.idling("w") == 1 })
	p.Drop("w")
	p.reap(p.tick.Load() + 1)
	if n := p.idling("w"); n != 0 {
		t.Errorf("%d hosts of a version that is dropped", n)
	}
}

func TestPrepare(t *testing.T) {
	p := newPool(t)
	f, g, h := hello(t, p), hello(t, p), hello(t, p)
	known := func(d *Domain) int {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.main == nil {
			return 0
		}
		return len(d.main.defined)
	}
	d, results := newDomain(t, p)
	d.Start(callOf(1, f, "a"))
	next(t, results)
	p.Prepare("v", g, f)
	eventually(t, "the preparation", func() bool { return known(d) == 2 })
	p.Prepare("v", f, g)
	p.Prepare("w", f)
	other, results2 := newDomain(t, p)
	other.Start(callOf(1, f, "a"))
	if r := next(t, results2); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	eventually(t, "the preparation of another run", func() bool { return known(other) == 2 })
	d.Start(callOf(2, g, "b"))
	if r := next(t, results); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	d.Close()
	other.Close()
	eventually(t, "the return of the hosts", func() bool { return p.idling("v") == 2 })
	p.Prepare("v", h) // one that is idle
	eventually(t, "the preparation of an idle host", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		used := p.used["v"]
		return len(used) == 2 && len(used[1].defined) == 3 && len(used[0].defined) == 2
	})
	if s := p.Stats(); s.Prepared != 3 {
		t.Errorf("%+v", s)
	}
	p.Drop("v")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.domains) != 0 || len(p.likely["v"]) != 0 {
		t.Errorf("%d versions have domains, %d functions are likely", len(p.domains), len(p.likely["v"]))
	}
}

// At the bound an idle host makes room, and without one a run waits; a call that
// has to be alone does not.
func TestBoundOnHosts(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Hosts, o.Max = 1, 3 })
	f := hello(t, p)
	for i := range 5 {
		one(t, p, fmt.Sprint("v", i), f)
	}
	if s := p.Stats(); s.Evicted < 2 || s.Ready+s.Idle > 3 {
		t.Errorf("%+v", s)
	}
	var open []*Domain
	for i := range 3 {
		d, results := newDomain(t, p, func(o *Options) { o.Version = fmt.Sprint("w", i) })
		d.Start(callOf(1, f, "a"))
		if r := next(t, results); r.Failure != nil {
			t.Fatal(r.Failure)
		}
		open = append(open, d)
	}
	d, results := newDomain(t, p, func(o *Options) { o.Version = "x" })
	d.Start(callOf(1, f, "a"))
	alone := callOf(2, f, "b")
	alone.Alone = true
	d.Start(alone)
	if r := next(t, results); r.Call != 2 || r.Failure != nil {
		t.Errorf("call %d: %+v", r.Call, r.Failure)
	}
	d.Withdraw(2)
	select {
	case r := <-results:
		t.Errorf("a fourth host was used: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	open[0].Close()
	if r := next(t, results); r.Call != 1 || r.Failure != nil {
		t.Errorf("call %d: %+v", r.Call, r.Failure)
	}
}

// Many takers and few hosts: all of them are served, and the count is right.
func TestTakersShare(t *testing.T) {
	p := newPool(t, func(o *PoolOptions) { o.Max = 3 })
	f := hello(t, p)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			results := make(chan Result, 1)
			d, err := p.Domain(Options{Run: "r", Version: fmt.Sprint("v", i%3), Done: func(r Result) { results <- r }})
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			d.Start(callOf(1, f, "a"))
			if r := next(t, results); r.Failure != nil {
				t.Error(r.Failure)
			}
		})
	}
	wg.Wait()
	eventually(t, "the end of surplus hosts", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := len(p.ready)
		for _, used := range p.used {
			n += len(used)
		}
		return p.making == 0 && len(p.busy) == 0 && p.alive == n && n <= 3
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for range 4 { // one more than there may be
		h, err := p.take(ctx, "z", false, nil)
		if err == nil {
			defer p.give(h, "")
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}

// Calls that begin before there is a host wait for the same one.
func TestFirstCallsShareAHost(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p)
	for id := uint64(1); id <= 16; id++ {
		d.Start(callOf(id, f, fmt.Sprint("a", id)))
	}
	hosts := map[string]bool{}
	for range 16 {
		r := next(t, results)
		if r.Failure != nil {
			t.Error(r.Failure)
		}
		hosts[r.Host] = true
	}
	if s := p.Stats(); len(hosts) != 1 || s.Clean+s.Cold != 1 {
		t.Errorf("%d hosts, %+v", len(hosts), s)
	}
}
