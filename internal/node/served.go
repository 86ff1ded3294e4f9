package node

import (
	"context"
	"errors"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/trigger"
)

// deployed is a version of an app that has been asked for.
type deployed struct {
	program *engine.Program
	routes  *trigger.Routes
	lane    *domain.Lane
}

// Program implements engine.Catalog.
func (s *Server) Program(ctx context.Context, name, version string) (*engine.Program, error) {
	d, err := s.deployed(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return d.program, nil
}

// deployed is a version of an app, ready for calls.
func (s *Server) deployed(ctx context.Context, name, version string) (*deployed, error) {
	a, v, err := s.Apps.Get(name, version)
	if err != nil {
		return nil, err
	}
	s.serving.Lock()
	d := s.ready[a]
	s.serving.Unlock()
	if d != nil {
		return d, nil
	}
	p, err := s.program(ctx, a, v.ID, nil)
	if err != nil {
		return nil, err
	}
	d = &deployed{program: p}
	if d.routes, err = routes(a); err != nil {
		return nil, err
	}
	s.serving.Lock()
	defer s.serving.Unlock()
	if other := s.ready[a]; other != nil {
		return other, nil
	}
	d.lane = s.pool.Lane(domain.LaneOptions{Version: p.Hosts, Folders: p.Folders, Quota: s.cfg.Quota})
	s.ready[a] = d
	s.keep(d)
	return d, nil
}

// keep has as many hosts ready for a version as its functions ask for.
func (s *Server) keep(d *deployed) {
	ready, idle := 0, time.Duration(0)
	var functions []*domain.Function
	for name, f := range d.program.App.Functions {
		ready, idle = max(ready, f.Instances.Ready), max(idle, f.Instances.Idle)
		if f.Instances.Ready > 0 {
			functions = append(functions, d.program.Functions[name])
		}
	}
	if ready > 0 {
		s.pool.Keep(d.program.Hosts, functions, ready)
	}
	if idle > 0 {
		s.pool.KeepFor(d.program.Hosts, idle)
	}
}

// prepare implements registry.Options.Prepare: it builds what would otherwise
// be built while somebody waits.
func (s *Server) prepare(ctx context.Context, a *app.App, v registry.Version) error {
	if _, err := routes(a); err != nil {
		return err
	}
	_, err := s.program(ctx, a, v.ID, nil)
	return err
}

// changed implements registry.Options.Changed: the active version of an app is
// kept ready, others are not, and those that are gone leave nothing.
func (s *Server) changed(name string) {
	active, _, err := s.Apps.Get(name, "")
	s.serving.Lock()
	for a, d := range s.ready {
		if a.Name != name || a == active {
			continue
		}
		s.pool.Keep(d.program.Hosts, nil, 0)
		if _, _, err := s.Apps.Get(name, d.program.Version); errors.Is(err, registry.ErrNotFound) {
			s.release(a, d)
		}
	}
	s.serving.Unlock()
	s.schedule(name)
	if err == nil {
		s.warm(name)
	}
}

// schedule has the cron triggers of an app's active version fire, and no others
// of it.
func (s *Server) schedule(name string) {
	a, _, err := s.Apps.Get(name, "")
	if errors.Is(err, registry.ErrNotFound) {
		err = s.cron.Forget(s.ctx, name)
	} else if err == nil {
		var list []trigger.Job
		if list, err = jobs(a); err == nil {
			err = s.cron.Set(s.ctx, name, list)
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.cfg.Logger.Error("cron triggers do not fire", "app", name, "error", err)
	}
}

// release lets go of a version. Calls that are under way end as they would.
// The caller holds serving.
func (s *Server) release(a *app.App, d *deployed) {
	delete(s.ready, a)
	s.retired = append(s.retired, d)
	s.Node.forget(a)
	s.pool.Keep(d.program.Hosts, nil, 0)
	s.pool.Drop(d.program.Hosts)
}

// Refresh has the versions of an app made anew for the calls to come: a secret
// has changed.
func (s *Server) Refresh(name string) {
	s.serving.Lock()
	for a, d := range s.ready {
		if a.Name == name {
			s.release(a, d)
		}
	}
	s.serving.Unlock()
	s.warm(name)
}

// warm has the active version of an app ready, if it asks for that.
func (s *Server) warm(name string) {
	s.background.Go(func() {
		if _, err := s.deployed(s.ctx, name, ""); err != nil && s.ctx.Err() == nil && !errors.Is(err, registry.ErrNotFound) {
			s.cfg.Logger.Error("app cannot run", "app", name, "error", err)
		}
	})
}
