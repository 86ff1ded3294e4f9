package domain

import (
	"context"
	"slices"
	"time"
)

// Calls of a run share a host, so that buffers stay where they are. A call that is long
// should have a host to itself, since a host is stopped as a whole: so calls that are known
// to be long begin apart when others run, and beside one that has turned out to be
// long no other begins. Those hosts stay with the run, for its next long calls.
const (
	// apartMax bounds the hosts that a run has beside its main one for that. When they are
	// all in use long calls share the main one, where they cannot be stopped.
	apartMax = 8
	// apartWait bounds how long a call waits for such a host before it goes into the main one.
	apartWait = time.Second
)

// suits reports whether a call had better begin there: nothing runs there, or nothing that is
// long, nor is the call itself; the mu of the host's domain is held.
func (h *host) suits(k *call) bool {
	if len(h.calls) == 0 {
		return true
	}
	if k.long || h.sandbox.Long() {
		return false
	}
	for _, other := range h.calls {
		return len(h.calls) > 1 || !other.long // where there are several nothing can be stopped any more
	}
	return true
}

// choose is the host for a call: the main one, if it suits, or another one of the run. Nil says
// that it had better have one more. d.mu is held, and there is a main host.
func (d *Domain) choose(k *call) *host {
	if d.main.suits(k) {
		return d.main
	}
	others := d.parting
	for h := range d.hosts {
		if !h.apart || h.closing {
			continue
		}
		if h.suits(k) && !(h.spent && len(h.calls) == 0) {
			return h
		}
		others++
	}
	if others >= apartMax {
		return d.main
	}
	return nil
}

// split takes the long calls out of those that are about to begin together in a main host
// where nothing runs, but for one that has it to itself; d.mu is held.
func (d *Domain) split(calls []*call) (together, apart []*call) {
	short := slices.ContainsFunc(calls, func(k *call) bool { return !k.long })
	for i, k := range calls {
		if k.long && (short || i > 0) && len(apart)+d.parting < apartMax {
			apart = append(apart, k)
		} else {
			together = append(together, k)
		}
	}
	return together, apart
}

// part has a call begin in one more host; d.mu is held.
func (d *Domain) part(k *call) {
	d.parting++
	d.work.Go(func() { d.startApart(k) })
}

// startApart gets a host for a call that should not begin beside others, or has it begin there
// after all.
func (d *Domain) startApart(k *call) {
	h := d.pool.spare(d.ctx, d.o.Version, d.o.Folders)
	d.mu.Lock()
	defer d.mu.Unlock()
	if h != nil {
		if h.apart = !d.finished && d.join(h, true) == nil; !h.apart {
			d.work.Go(func() { d.pool.give(h, "") })
		}
	}
	d.parting--
	switch {
	case k.stopped || d.finished:
		d.work.Go(func() { d.refuse(k, context.Canceled) })
	case h == nil || !h.apart || !d.try(h, k):
		d.wait(k)
	}
}

// spare is take for a call that can begin elsewhere: nil when there would be no host soon.
func (p *Pool) spare(ctx context.Context, version string, folders []File) *host {
	p.mu.Lock()
	there := len(p.used[version]) > 0 || len(p.ready) > 0 || p.room()
	p.mu.Unlock()
	if !there {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apartWait)
	defer cancel()
	h, err := p.take(ctx, version, false, folders)
	if err != nil {
		return nil
	}
	return h
}
