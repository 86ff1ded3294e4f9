package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/trigger"
)

// How long versions are served:
//
//	the active one of an app  always
//	another one               from its first use until nobody has asked for it for spareTime; sparesMax of them wait for that
//	one that is deleted       until the calls that it has have ended
//
// What a version has in memory goes when the last one who has it lets go:
// invocations are counted, runs have the program. Images are closed by the
// garbage collector.
const (
	spareTime = 5 * time.Minute
	sparesMax = 2
)

// edition is a version of an app.
type edition struct{ app, version string }

// deployed is a version of an app that is served.
type deployed struct {
	program *engine.Program
	routes  *trigger.Routes
	lane    *domain.Lane

	users   int       // invocations that have it; guarded by Server.serving, as all below
	asked   time.Time // when somebody wanted it last
	retired bool      // nobody gets it any more; the last user closes the lane
}

// making is a version that is being made ready for calls.
type making struct {
	done  chan struct{} // closed when it is, or err says why not
	err   error
	stale bool // it is made of what has changed meanwhile; guarded by Server.serving
}

// Program implements engine.Catalog.
func (s *Server) Program(ctx context.Context, name, version string) (*engine.Program, error) {
	d, err := s.deployed(ctx, name, version)
	if errors.Is(err, registry.ErrNotFound) {
		err = gone{err}
	}
	if err != nil {
		return nil, err
	}
	return d.program, nil
}

// gone says of a version that is not deployed what the engine wants to know.
type gone struct{ error }

func (g gone) Unwrap() error        { return g.error }
func (g gone) Is(target error) bool { return target == engine.ErrGone }

// deployed is a version of an app, ready for calls; version "" is the active one.
func (s *Server) deployed(ctx context.Context, name, version string) (*deployed, error) {
	return s.find(ctx, name, version, 0)
}

// borrow is deployed for somebody who uses its lane, and calls giveBack then.
func (s *Server) borrow(ctx context.Context, name, version string) (*deployed, error) {
	return s.find(ctx, name, version, 1)
}

// find looks for a version and makes it ready if need be, for some users.
func (s *Server) find(ctx context.Context, name, version string, users int) (*deployed, error) {
	for {
		a, v, err := s.Apps.Get(name, version)
		if err != nil {
			return nil, err
		}
		of := edition{name, v.ID}
		s.serving.Lock()
		if d := s.ready[of]; d != nil {
			d.asked = time.Now()
			d.users += users
			s.serving.Unlock()
			return d, nil
		}
		m := s.make(of, a)
		s.serving.Unlock()
		if err := m.wait(ctx); err != nil {
			_, _, known := s.Apps.Get(name, v.ID)
			switch {
			case !errors.Is(known, registry.ErrNotFound):
				return nil, err
			case version != "":
				return nil, known // it was deleted while it was made ready
			} // else another one is active by now, or the app is gone
		}
	}
}

// wait returns when it is known whether the version can be served.
func (m *making) wait(ctx context.Context) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveBack ends the use of a version.
func (s *Server) giveBack(d *deployed) {
	s.serving.Lock()
	d.users--
	last := d.retired && d.users == 0
	s.serving.Unlock()
	if last {
		d.lane.Close()
	}
}

// make begins to make a version ready, once for all who want it, and goes on if
// they leave. The caller holds serving.
func (s *Server) make(of edition, a *app.App) *making {
	if m := s.making[of]; m != nil {
		return m
	}
	m := &making{done: make(chan struct{})}
	if s.ctx.Err() != nil { // Close is waiting for what has begun
		m.err = engine.ErrDraining
		close(m.done)
		return m
	}
	s.making[of] = m
	s.background.Go(func() {
		d, err := s.load(of, a)
		s.serving.Lock()
		defer s.serving.Unlock()
		if !m.stale {
			delete(s.making, of)
		}
		switch {
		case err != nil:
			m.err = err
		case m.stale: // who waits begins anew
			d.lane.Close()
		default:
			s.ready[of] = d
			s.settle(of.app)
		}
		close(m.done)
	})
	return m
}

// load makes a version ready.
func (s *Server) load(of edition, a *app.App) (*deployed, error) {
	d := &deployed{asked: time.Now()}
	var err error
	if d.routes, err = routes(a); err != nil {
		return nil, err
	}
	if d.program, err = s.build(s.ctx, a, of.version, nil); err != nil {
		return nil, err
	}
	d.lane = s.pool.Lane(domain.LaneOptions{App: of.app, Edition: of.version, Version: d.program.Hosts, Folders: d.program.Folders, Quota: s.cfg.Quota})
	return d, nil
}

// prepare implements registry.Options.Prepare: it makes what would otherwise be
// made while somebody waits.
func (s *Server) prepare(ctx context.Context, a *app.App, v registry.Version) error {
	of := edition{a.Name, v.ID}
	s.serving.Lock()
	s.preparing[of] = true // it is not deployed yet, and is not taken for one that is deleted
	m := s.make(of, a)
	s.serving.Unlock()
	err := m.wait(ctx)
	if err == nil {
		err = s.fits(ctx, of)
	}
	s.serving.Lock()
	delete(s.preparing, of)
	if err != nil {
		s.settle(of.app) // nobody is to find it ready
	}
	s.serving.Unlock()
	return err
}

// changed implements registry.Options.Changed.
func (s *Server) changed(name string) {
	s.serving.Lock()
	s.settle(name)
	s.serving.Unlock()
	s.schedule(name)
	s.warm(name)
	s.forgetProfiles(name)
}

// settle has of an app what it is to have: hosts for its active version, none
// for others, and no more of the others than there may be. The caller holds
// serving.
func (s *Server) settle(name string) {
	active := ""
	if a, err := s.Apps.App(name); err == nil {
		active = a.Active
	}
	type spare struct {
		edition
		*deployed
	}
	var spares []spare
	now := time.Now()
	for of, d := range s.ready {
		if of.app != name || of.version == active {
			continue
		}
		switch _, _, err := s.Apps.Get(name, of.version); {
		case errors.Is(err, registry.ErrNotFound) && !s.preparing[of]:
			s.release(of, d)
			if s.Services != nil {
				s.Services.Dismiss(of.app, of.version)
			}
		case d.users == 0 && s.using(name, of.version) == 0:
			spares = append(spares, spare{of, d})
		}
	}
	slices.SortFunc(spares, func(a, b spare) int { return b.asked.Compare(a.asked) })
	for i, d := range spares {
		if i >= sparesMax || now.Sub(d.asked) > spareTime {
			s.release(d.edition, d.deployed)
		}
	}
	current := s.ready[edition{name, active}]
	for of, d := range s.ready {
		if of.app == name && d != current && (current == nil || d.program.Hosts != current.program.Hosts) {
			s.pool.Keep(d.program.Hosts, nil, 0)
		}
	}
	if current != nil {
		s.keep(current.program)
	}
}

// keep has as many hosts ready for the active version of an app as its functions
// ask for.
func (s *Server) keep(p *engine.Program) {
	ready, idle := wanted(p.App, s.Node.cfg.Idle)
	var functions []*domain.Function
	for name, f := range p.App.Functions {
		if f.Instances.Ready > 0 {
			functions = append(functions, p.Functions[name])
		}
	}
	s.pool.Keep(p.Hosts, functions, ready)
	s.pool.KeepFor(p.Hosts, idle)
}

// wanted is how many hosts the functions of an app want to be ready, and how long
// an unused one is to stay. Every host serves all functions of the app, so it is
// the one that wants most who decides; one that does not say for how long wants
// what the node says.
func wanted(a *app.App, standard time.Duration) (ready int, idle time.Duration) {
	for _, f := range a.Functions {
		ready = max(ready, f.Instances.Ready)
		if f.Instances.Idle > 0 {
			idle = max(idle, f.Instances.Idle)
		} else {
			idle = max(idle, standard)
		}
	}
	return ready, idle
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

// release lets go of a version. Calls that are under way end as they would. The
// caller holds serving.
func (s *Server) release(of edition, d *deployed) {
	delete(s.ready, of)
	d.retired = true
	if d.users == 0 {
		d.lane.Close()
	}
	s.dropProcesses(d.program)
	for _, other := range s.ready {
		if other.program.Hosts == d.program.Hosts { // the code is the same, and so are the hosts
			return
		}
	}
	s.pool.Drop(d.program.Hosts)
}

// Refresh has the versions of an app made anew for the calls to come: a secret
// has changed.
func (s *Server) Refresh(name string) {
	s.serving.Lock()
	for of, m := range s.making {
		if of.app == name {
			m.stale = true
			delete(s.making, of)
		}
	}
	for of, d := range s.ready {
		if of.app == name {
			s.release(of, d)
		}
	}
	s.serving.Unlock()
	s.Services.Renew(name)
	s.warm(name)
}

// warm has the active version of an app made ready, if there is one.
func (s *Server) warm(name string) {
	a, v, err := s.Apps.Get(name, "")
	if errors.Is(err, registry.ErrNotFound) {
		return
	}
	if err != nil {
		s.cfg.Logger.Error("app cannot run", "app", name, "error", err)
		return
	}
	s.serving.Lock()
	defer s.serving.Unlock()
	of := edition{name, v.ID}
	if s.ready[of] != nil || s.ctx.Err() != nil {
		return
	}
	m := s.make(of, a)
	s.background.Go(func() {
		if err := m.wait(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Error("app cannot run", "app", name, "version", v.ID, "error", err)
		}
	})
}

// review lets go of what nobody has asked for lately.
func (s *Server) review() {
	s.serving.Lock()
	defer s.serving.Unlock()
	apps := map[string]bool{}
	for of, d := range s.ready {
		apps[of.app] = true
		for _, f := range d.program.Functions {
			if f.Process != nil {
				build.Use(f.Process.Dir)
			}
		}
	}
	for name := range apps {
		s.settle(name)
	}
}
