// Package scheduler schedules the calls of a node live: it joins a policy, a backend and
// the profiles of functions, and is what the parts of a node that run calls talk to.
//
//	s, err := scheduler.New(scheduler.Options{Settings: scheduler.Defaults()})
//	c := s.Begin(scheduler.Demand{App: "shop", Version: "3f2a", Function: "resize"})
//	<-c.Admitted()                                  // the policy lets it begin
//	c.Enter(sandbox, 7)                             // on a thread of a process that runs others too, or
//	c.Own(find)                                     // in a process of its own, that find finds
//	retire := c.End(cpu, failed)                    // learned; retire: the process stays demoted
//
// A nil *Scheduler schedules nothing and costs nothing: Begin returns nil, and the methods of
// a nil *Call do nothing. One whose policy is none only counts the calls in a sandbox, for when
// the policy becomes another one.
//
// Most calls are short, and are over before anybody need look at them. So a call gets a
// task, with which it can be measured, demoted and stopped, only when it has lasted for a
// few milliseconds (late.go); until then it costs two steps of the policy. The processes
// of calls are made in the tier where short calls run.
//
//	scheduler.go  what belongs together; changing it live
//	call.go       a call from its arrival to its end
//	sandbox.go    processes that run several calls
//	late.go       calls that last
//	keep.go       profiles in a store
//	view.go       what people see
package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
)

// ErrSetting is wrapped by errors about settings.
var ErrSetting = errors.New("not a setting of the CPU scheduler")

// Settings are what can be changed while calls run.
type Settings struct {
	Policy  string         // one of policy.Names; none: the kernel decides, and nothing is learned
	Backend string         // one of backend.Names
	Options policy.Options // of all policies; Cores and Book are the scheduler's
}

// Defaults are the settings of a machine of cores.
func Defaults(cores int) Settings {
	return Settings{Policy: policy.Weft, Backend: backend.Auto, Options: policy.Defaults(cores)}
}

// Options are what a Scheduler is made with.
type Options struct {
	Settings
	// NodeStays leaves the node's own process where it is; see backend.Options.
	NodeStays bool
	// Log hears what is given up on the way. Default: nobody.
	Log *slog.Logger
	// Make makes a backend. Default: backend.New.
	Make func(name string, o backend.Options) (backend.Backend, []string, error)
	// Watch is how closely calls are looked at; see backend.WatchOptions.
	Watch backend.WatchOptions
	// Attach makes a task. Default: backend.Attach.
	Attach func(o backend.TaskOptions) (*backend.Task, error)
}

// Scheduler is safe for concurrent use. Close it.
type Scheduler struct {
	o      Options
	driver atomic.Pointer[backend.Driver] // nil: policy none
	last   atomic.Uint64                  // id of a call
	late   late

	changing sync.Mutex // held by who makes another driver, and by who uses book without one
	settings Settings   // guarded by changing, and so is what follows
	book     *profile.Book
	notes    []string        // what the backend does without
	hears    []func(on bool) // Watch
	closed   bool
	saved    map[string]uint64 // number of calls in the store, by name

	counting sync.Mutex
	apps     map[string]*share // guarded by counting
}

// New makes a scheduler and starts it.
func New(o Options) (*Scheduler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Make == nil {
		o.Make = backend.New
	}
	if o.Attach == nil {
		o.Attach = backend.Attach
	}
	s := &Scheduler{o: o, book: profile.NewBook(0), apps: map[string]*share{}, saved: map[string]uint64{}}
	s.late.start()
	if err := s.Set(o.Settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Settings are those in force.
func (s *Scheduler) Settings() Settings {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.settings
}

// Change is a change of settings in words. What is empty stays as it is, or, with Anew,
// gets its default.
type Change struct {
	Policy, Backend string
	Parameters      map[string]string // by the names of policy.Options.Set
	Anew            bool
}

// Apply makes a change of settings. The error wraps ErrSetting or policy.ErrParameter
// when the change is wrong, and then nothing has changed; backend.ErrUnavailable when
// this machine lacks what it asks for.
func (s *Scheduler) Apply(c Change) error {
	if s == nil {
		return fmt.Errorf("this node was made without a CPU scheduler: %w", ErrSetting)
	}
	next := s.Settings()
	if c.Anew {
		next = Defaults(next.Options.Cores)
	}
	if c.Policy != "" {
		next.Policy = c.Policy
	}
	if c.Backend != "" {
		next.Backend = c.Backend
	}
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		if err := next.Options.Set(next.Policy, name, c.Parameters[name]); err != nil {
			return err
		}
	}
	return s.Set(next)
}

// Validate reports all that is wrong.
func (s *Settings) Validate() error {
	var errs []error
	if !slices.Contains(policy.Names, s.Policy) {
		errs = append(errs, fmt.Errorf("policy %.60q: there are %v: %w", s.Policy, policy.Names, ErrSetting))
	}
	if !slices.Contains(backend.Names, s.Backend) {
		errs = append(errs, fmt.Errorf("backend %.60q: there are %v: %w", s.Backend, backend.Names, ErrSetting))
	}
	if err := s.Options.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", err, ErrSetting))
	}
	return errors.Join(errs...)
}

// Set puts settings into force. Calls that run go on under another policy; those under
// way when the policy is or was none, or the backend becomes another one, are left to
// the kernel. Where the backend that next asks for cannot be had, the one before stays, or,
// if that is gone too, the policy is none.
func (s *Scheduler) Set(next Settings) error {
	if err := next.Validate(); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return errors.New("CPU scheduler is closed")
	}
	driver, was := s.driver.Load(), s.settings
	if next.Policy == policy.None {
		s.settings = next
		return s.off(driver)
	}
	options := next.Options
	options.Book = s.book
	strategy, err := policy.New(next.Policy, options)
	if err != nil {
		return err
	}
	if driver != nil && was.Backend == next.Backend {
		driver.Replace(strategy)
		s.settings = next
		return nil
	}
	if err := s.off(driver); err != nil {
		s.o.Log.Warn("a CPU backend was not put back", "error", err)
	}
	if err = s.on(strategy, next); err == nil {
		return nil
	}
	s.settings.Policy = policy.None
	if driver == nil {
		return err
	}
	options = was.Options
	options.Book = s.book
	if strategy, old := policy.New(was.Policy, options); old != nil {
		err = errors.Join(err, old)
	} else if old = s.on(strategy, was); old != nil {
		err = errors.Join(err, old)
	}
	return err
}

// on begins a driver; changing is held.
func (s *Scheduler) on(strategy policy.Strategy, next Settings) error {
	b, notes, err := s.o.Make(next.Backend, backend.Options{Cores: next.Options.Cores, NodeStays: s.o.NodeStays, Log: s.o.Log})
	if err != nil {
		return err
	}
	driver, err := backend.NewDriver(backend.DriverOptions{Strategy: strategy, Backend: b, Watch: s.o.Watch, Log: s.o.Log})
	if err != nil {
		return errors.Join(err, b.Close())
	}
	s.notes, s.settings = notes, next
	s.tell(grouped(driver)) // before calls have tasks, whose weights are the driver's
	s.driver.Store(driver)
	return nil
}

// off ends a driver; changing is held.
func (s *Scheduler) off(driver *backend.Driver) error {
	if driver == nil {
		return nil
	}
	s.driver.Store(nil)
	s.notes = nil
	err := driver.Close()
	s.tell(false)
	return err
}

// Watch has f told, at once and whenever it changes, whether tiers are groups: then the
// groups of processes that are Tiered are to have the weight of Express. f must not call the
// scheduler.
func (s *Scheduler) Watch(f func(on bool)) {
	if s == nil {
		return
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	s.hears = append(s.hears, f)
	f(grouped(s.driver.Load()))
}

// tell tells who watches; changing is held.
func (s *Scheduler) tell(on bool) {
	for _, f := range s.hears {
		f(on)
	}
}

// grouped reports whether tiers are groups under a driver.
func grouped(d *backend.Driver) bool {
	return d != nil && d.Traits().Groups
}

// withBook calls f, which may use the book.
func (s *Scheduler) withBook(f func(b *profile.Book)) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if d := s.driver.Load(); d != nil {
		d.Locked(func() { f(s.book) })
		return
	}
	f(s.book)
}

// Close lets every call run and puts everything back.
func (s *Scheduler) Close() error {
	if s == nil {
		return nil
	}
	s.late.close()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.closed = true
	return s.off(s.driver.Load())
}

// Expect is the mean CPU time of a function's calls; for one that is not known, that of
// calls in general.
func (s *Scheduler) Expect(app, version, function string) time.Duration {
	if s == nil || s.driver.Load() == nil {
		return 0
	}
	var mean time.Duration
	s.withBook(func(b *profile.Book) {
		p := b.Estimate(Name(app, version, function))
		mean = p.Mean()
	})
	return mean
}

// Name is what a function's calls are learned under.
func Name(app, version, function string) string { return app + "@" + version + "/" + function }
