package domain

import (
	"slices"
	"time"

	"github.com/weft-run/weft/internal/sandbox"
)

// What is kept alive, and for how long:
//
//	clean hosts              PoolOptions.Hosts of them, always
//	hosts of an app version  after a run; up to PoolOptions.Reuse for PoolOptions.Idle or as KeepFor says,
//	                         more of them for surplusFor; as many as Keep says for ever; the last used is used first
//	beyond PoolOptions.Max   the one that is idle for the longest makes room, those of Keep last
//	grown or full hosts      end when they come back
const surplusFor = 5 * time.Second

const (
	// tickEvery is how often the pool looks for what has been idle for too long.
	tickEvery = time.Second
	// keptEvery is after how many ticks the fork servers that Keep has asked for are
	// looked after: they end when they are idle, or by themselves.
	keptEvery = 10
	// growthEvery is after how many runs or invocations a host's memory is looked at.
	growthEvery = 1024
	// growthMax is by how much a host may have grown since the first look, in bytes.
	// What functions use is given back when they end: growth is fragmentation.
	growthMax = 128 << 20
	// definedMax is how many functions a host may know. New ones come with new values
	// of secrets, for example.
	definedMax = 1024
	// likelyMax bounds the functions of a version that are prepared ahead of need.
	likelyMax = 256
)

// keep is a minimum of hosts that are ready for an app version.
type keep struct {
	functions []*Function
	n         int
	filling   bool
}

// counts are the pool's since it began.
type counts struct{ warm, clean, cold, prepared, evicted, expired, retired uint64 }

// Stats is the state of a pool.
type Stats struct {
	Ready    int   // clean hosts
	Idle     int   // hosts that have served an app version and wait for more
	Busy     int   // hosts that serve a run or invocations
	Starting int   // hosts being started
	Memory   int64 // bytes: proportional set size of all of them, estimated from some

	// For runs and lanes of app versions:
	Warm     uint64 // times that a host was there which had served the version
	Clean    uint64 // times that a clean one was there
	Cold     uint64 // times that one had to be started first
	Prepared uint64 // functions that were made known to a host ahead of need
	Evicted  uint64 // idle hosts that made room for others
	Expired  uint64 // hosts that were idle for too long
	Retired  uint64 // hosts that had grown too much
}

// Stats measures a few hosts, which takes about a millisecond each.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	c := p.counts
	s := Stats{
		Ready: len(p.ready), Starting: p.making,
		Warm: c.warm, Clean: c.clean, Cold: c.cold, Prepared: c.prepared, Evicted: c.evicted, Expired: c.expired, Retired: c.retired,
	}
	sample := slices.Clone(p.ready[:min(len(p.ready), sampleMax)])
	for _, used := range p.used {
		s.Idle += len(used)
		sample = append(sample, used[:min(len(used), max(0, sampleMax-len(sample)))]...)
	}
	for _, n := range p.busy {
		s.Busy += n
	}
	p.mu.Unlock()
	var total, measured int64
	for _, h := range sample {
		if m, err := h.process.Memory(); err == nil {
			total += m.PSS
			measured++
		}
	}
	if measured > 0 {
		s.Memory = total / measured * int64(s.Ready+s.Idle+s.Busy)
	}
	return s
}

// sampleMax is how many hosts Stats measures.
const sampleMax = 4

// Keep has n hosts ready for an app version from now on, with these functions
// known to them; with n 0 it has none. Of functions that are processes it has the
// fork servers ready.
func (p *Pool) Keep(version string, functions []*Function, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n <= 0 || p.closed {
		delete(p.kept, version)
		return
	}
	if !slices.ContainsFunc(functions, func(f *Function) bool { return f.Process == nil }) {
		n = 0
	}
	p.kept[version] = &keep{functions: slices.Clone(functions), n: min(n, p.o.Max)}
	p.prepareProcesses(functions)
	p.fillKept(version)
}

// KeepFor sets how long hosts of an app version are kept without work, instead of
// PoolOptions.Idle; 0 takes that back.
func (p *Pool) KeepFor(version string, idle time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle <= 0 {
		delete(p.idle, version)
		return
	}
	p.idle[version] = idle
}

// fillKept starts what Keep asks for and is not there; p.mu is held.
func (p *Pool) fillKept(version string) {
	k := p.kept[version]
	if k == nil || k.filling || p.closed || len(p.used[version])+p.busy[version] >= k.n {
		return
	}
	k.filling = true
	p.work.Go(func() {
		h, err := p.take(p.ctx, "", true, nil)
		if err == nil {
			p.mu.Lock()
			functions := p.kept[version]
			p.mu.Unlock()
			if functions != nil {
				p.prepare(h, functions.functions)
			}
			p.give(h, version)
		}
		p.mu.Lock()
		k.filling = false
		if err == nil {
			p.fillKept(version)
		}
		p.mu.Unlock()
	})
}

// prepare makes functions known to a host that nobody else uses. What cannot be
// prepared shows when it is called.
func (p *Pool) prepare(h *host, functions []*Function) {
	n := 0
	for _, f := range functions {
		if _, ok := h.defined[f]; ok || f.Process != nil || len(f.Listen) > 0 || len(h.defined) >= definedMax {
			continue
		}
		if _, err := p.define(h, f, nil); err != nil {
			break
		}
		n++
	}
	p.mu.Lock()
	p.counts.prepared += uint64(n)
	p.mu.Unlock()
}

// Prepare says that calls of these functions are likely soon: the hosts of the
// version that are at work, and one that waits for it, load them ahead of need,
// and hosts that serve it later do so at once. Naming them again costs next to
// nothing. It does not block.
func (p *Pool) Prepare(version string, functions ...*Function) {
	if version == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.likely[version]
	var fresh []*Function
	for _, f := range functions {
		if !slices.Contains(known, f) && !slices.Contains(fresh, f) && len(known)+len(fresh) < likelyMax {
			fresh = append(fresh, f)
		}
	}
	if len(fresh) == 0 || p.closed {
		return
	}
	p.prepareProcesses(fresh)
	p.likely[version] = append(slices.Clip(known), fresh...)
	var domains []*Domain
	for d := range p.domains[version] {
		domains = append(domains, d)
	}
	var idle *host
	if used := p.used[version]; len(used) > 0 {
		idle = used[len(used)-1]
		p.used[version] = used[:len(used)-1]
		p.coming[version]++
	}
	p.work.Go(func() {
		for _, d := range domains {
			d.prepare(fresh)
		}
		if idle != nil {
			p.prepare(idle, fresh)
			p.give(idle, version)
			p.returning(version, -1)
		}
	})
}

// enlist has Prepare know a domain that has a main host, and returns what it has
// named before.
func (p *Pool) enlist(d *Domain) []*Function {
	p.mu.Lock()
	defer p.mu.Unlock()
	version := d.o.Version
	if version == "" || p.closed {
		return nil
	}
	if p.domains[version] == nil {
		p.domains[version] = map[*Domain]struct{}{}
	}
	p.domains[version][d] = struct{}{}
	return p.likely[version]
}

func (p *Pool) delist(d *Domain) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.domains[d.o.Version]
	if delete(all, d); len(all) == 0 {
		delete(p.domains, d.o.Version)
	}
}

// prepare makes functions known to the domain's main host.
func (d *Domain) prepare(functions []*Function) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(functions) > 0 && d.main != nil && !d.finished {
		d.pool.prepare(d.main, functions)
	}
}

// Drop says that an app version is not served any longer: its idle hosts end.
func (p *Pool) Drop(version string) {
	p.mu.Lock()
	hosts := p.used[version]
	delete(p.used, version)
	delete(p.kept, version)
	delete(p.likely, version)
	delete(p.idle, version)
	p.mu.Unlock()
	for _, h := range hosts {
		h.kill()
		p.ended(h)
	}
}

// reaper is the pool's clock.
func (p *Pool) reaper() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.reap(p.tick.Add(1))
		case <-p.ctx.Done():
			return
		}
	}
}

// reap ends what has been idle for too long at this tick.
func (p *Pool) reap(now int64) {
	ticks := func(d time.Duration) int64 { return int64(d / tickEvery) }
	p.mu.Lock()
	var old []*host
	for version, used := range p.used {
		least := 0
		if k := p.kept[version]; k != nil {
			least = k.n
		}
		idle := p.o.Idle
		if d, ok := p.idle[version]; ok {
			idle = d
		}
		for len(used) > least && (now-used[0].since > ticks(idle) || len(used) > p.o.Reuse && now-used[0].since > ticks(surplusFor)) {
			old = append(old, used[0])
			used = used[1:]
		}
		if p.used[version] = used; len(used) == 0 {
			delete(p.used, version)
			if p.busy[version] == 0 && p.coming[version] == 0 && p.kept[version] == nil {
				delete(p.likely, version)
			}
		}
	}
	p.counts.expired += uint64(len(old))
	for version, k := range p.kept {
		p.fillKept(version)
		if now%keptEvery == 0 {
			p.prepareProcesses(k.functions)
		}
	}
	lanes := make([]*Lane, 0, len(p.lanes))
	for l := range p.lanes {
		lanes = append(lanes, l)
	}
	p.mu.Unlock()
	for _, h := range old {
		h.kill()
		p.ended(h)
	}
	for _, l := range lanes {
		l.reap(now - max(1, ticks(l.o.Linger)))
	}
}

// evict takes out the host that has been idle for the longest: one beyond what
// Keep asks for, if there is one; p.mu is held.
func (p *Pool) evict() *host {
	for _, spare := range []bool{true, false} {
		oldest := ""
		for version, used := range p.used {
			if len(used) == 0 || spare && p.kept[version] != nil && len(used) <= p.kept[version].n {
				continue
			}
			if oldest == "" || used[0].since < p.used[oldest][0].since {
				oldest = version
			}
		}
		if oldest != "" {
			h := p.used[oldest][0]
			p.used[oldest] = p.used[oldest][1:]
			h.gone = true
			p.alive--
			return h
		}
	}
	return nil
}

// grown reports whether a host has grown too much since it was measured first.
// Whoever has the host asks.
func (h *host) grown() bool {
	m, err := sandbox.Resident(h.process.PID())
	if err != nil {
		return false
	}
	if h.base == 0 {
		h.base = m
	}
	return m-h.base > growthMax
}

// grown reports whether the domain's main host has; it then serves nobody after
// this domain.
func (d *Domain) grown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.main == nil || !d.main.grown() {
		return false
	}
	d.main.spent = true
	return true
}
