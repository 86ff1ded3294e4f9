package chaos

import (
	"context"
	"fmt"
	"net/http"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
)

// check looks at a server that lives on in peace: every run is there, once, with
// its output, and so it is in a server that a backup was restored for.
func (l *life) check(ctx context.Context) {
	c, err := l.node.Client(1)
	if err != nil {
		l.fault("%v", err)
		return
	}
	defer c.CloseIdle()
	l.compare(ctx, c, "server")
	for _, p := range l.all() {
		n := p.executed(p.run.ID)
		p.recount(n)
		for _, times := range n {
			l.count.executions.Add(int64(times))
		}
	}
	if s, err := c.Stats(ctx); err != nil || s.Runs.Active != 0 || s.Calls.Running != 0 || s.Calls.Waiting != 0 || s.Sandboxes.Busy != 0 {
		l.fault("with all runs at their end there are %+v, %+v, %+v, %v", s.Runs, s.Calls, s.Sandboxes, err)
	}
	if err := l.restore(ctx, c); err != nil {
		l.fault("%v", err)
	}
}

// unended are the keys of the runs that have not ended.
func (l *life) unended() []string {
	var keys []string
	for _, p := range l.all() {
		if id, status, over := p.where(); !over {
			keys = append(keys, fmt.Sprintf("%s (%s %s)", p.key, id, status))
		}
	}
	return keys
}

// compare holds the runs of a server against those that were asked for.
func (l *life) compare(ctx context.Context, c *client.Client, where string) {
	wanted := map[string]*patron{}
	for _, p := range l.all() {
		wanted[p.run.ID] = p
	}
	for after := ""; ; {
		runs, next, err := c.Runs(ctx, engine.Filter{After: after, Limit: 200})
		if err != nil {
			l.fault("%s: list runs: %v", where, err)
			return
		}
		for _, r := range runs {
			p := wanted[r.ID]
			if p == nil {
				l.fault("%s: run %s of key %q is there, and nobody was told of it", where, r.ID, r.Key)
				continue
			}
			delete(wanted, r.ID)
			d, err := c.Run(ctx, r.ID)
			switch {
			case err != nil:
				p.fault("%s: %v", where, err)
			case d.Status != p.run.Status || d.Key != p.key || d.Version != p.run.Version:
				p.fault("%s: it had ended as %s, and is %s, key %s, of version %s", where, p.run.Status, d.Status, d.Key, d.Version)
			case d.Status == engine.Succeeded:
				p.c = c
				p.note(d.Run)
				p.verify(ctx)
			}
		}
		if after = next; after == "" {
			break
		}
	}
	for id, p := range wanted {
		p.fault("%s: run %s was accepted, and is not among the runs", where, id)
	}
	if _, err := c.Run(ctx, "01arz3ndektsv4rrffq69g"); client.Status(err) != http.StatusNotFound {
		l.fault("%s: a run that is none: %v", where, err)
	}
}

// restore takes a backup, and looks at a server that has only that.
func (l *life) restore(ctx context.Context, c *client.Client) (err error) {
	r, err := c.Backup(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	other, err := NewNode(l.o.Binary, l.node.path("other"))
	if err != nil {
		return err
	}
	if err := node.Restore(ctx, r, other.path("data")); err != nil {
		return err
	}
	if err := other.Start(); err != nil {
		return err
	}
	defer other.Kill() // it lives on only if something was wrong
	if err := other.Ready(ctx, readyTime); err != nil {
		return err
	}
	oc, err := other.Client(1)
	if err != nil {
		return err
	}
	defer oc.CloseIdle()
	l.compare(ctx, oc, "restored server")
	if err := other.Stop(drainTime); err != nil {
		return err
	}
	l.node.mu.Lock()
	l.node.pids = append(l.node.pids, other.Pids()...)
	l.node.mu.Unlock()
	return nil
}
