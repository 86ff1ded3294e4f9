package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/limit"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// What calls of services fail with, beside *admission.ErrFull.
var (
	// ErrNoMethod says that there is no such service, that it has no such method, or that it is
	// called with a key where it has none or the other way round. It is engine.ErrNotFound too.
	ErrNoMethod = fmt.Errorf("%w", engine.ErrNotFound)
	// ErrOtherCall says that an idempotency key belongs to a call with other arguments.
	ErrOtherCall = errors.New("the idempotency key belongs to another call")
	// ErrCaller says that a service is not for who calls it.
	ErrCaller = errors.New("not allowed")
	// ErrLate says that the deadline of a call has passed, and what has become of it.
	ErrLate = errors.New("too late")
	// ErrArguments says that arguments are larger than they may be together.
	ErrArguments = errors.New("arguments are too large")
)

// MethodError is the error that a method has returned. It stands: the same key gets it
// again.
type MethodError struct{ Text string }

func (e *MethodError) Error() string { return e.Text }

// RefusedError says why a request has come to nothing: its method does not return, say, or
// it is parked.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// Meter counts what a node does.
type Meter interface {
	engine.Meter
	service.Meter
}

// ServiceCall is a call of a service's method from outside.
type ServiceCall struct {
	App, Service string
	Object       string // of a keyed service
	Method       string
	Args         [][]byte      // each is JSON
	Key          string        // an idempotency key; "" for none
	Version      string        // "": the active one
	Delay        time.Duration // of SendService
	Timeout      time.Duration // after which, and the delay, it is ended if it has not ended by itself; 0: never
	By           string        // the name of the token that calls; "" for one that is not known
	Step         bool          // a step of a workflow calls: whether it may was checked with the app file
}

// openServices takes up the requests that services have left.
func (s *Server) openServices() (err error) {
	s.limits = limit.New(limit.Options{Wait: s.cfg.Admission.Wait})
	s.Services, err = service.Open(service.Options{
		Store: s.Store, Instances: instances{s}, Logger: s.cfg.Logger, Failed: s.fail, Meter: s.cfg.Meter, Ended: s.cfg.EndedRequest, Idle: s.cfg.Idle,
		Keep: func(name string) bool {
			appName, _, _ := strings.Cut(name, ".")
			return !s.Gate.Crowded(appName)
		},
		Machine: machine.Options{
			Catalog: s.method, Mode: s.mode, Access: s.access, Switches: s.switches, Bounds: s.bounds, Trace: s.cfg.EndedRequest != nil, ValueMax: s.cfg.ValueMax, Retention: defaultRetention, Segments: max(8, 4*runtime.GOMAXPROCS(0)),
		},
	})
	return err
}

// using counts what has not ended and began on a version of an app.
func (s *Server) using(appName, version string) int {
	n := s.Runs.Using(appName, version)
	if s.Services != nil {
		n += s.Services.Using(appName, version)
	}
	return n
}

// service finds a service by its full name.
func (s *Server) service(full, version string) (*app.Service, error) {
	appName, name, _ := strings.Cut(full, ".")
	a, _, err := s.Apps.Get(appName, version)
	if err != nil {
		return nil, err
	}
	return serviceOf(a, name)
}

func serviceOf(a *app.App, name string) (*app.Service, error) {
	if found := a.Services[name]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("app %s has no service %q%s: %w", a.Name, name, proposal(name, slices.Sorted(maps.Keys(a.Services))), ErrNoMethod)
}

// proposal is a hint within a sentence.
func proposal(name string, known []string) string {
	if hint := flow.Nearest(name, known); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// method implements machine.Options.Catalog.
func (s *Server) method(version string, t wire.Target) error {
	found, err := s.service(t.Service, version)
	if err != nil {
		return err
	}
	return checkMethod(found, t.Object, t.Method)
}

// checkMethod says what is wrong with a call of a service.
func checkMethod(s *app.Service, object, method string) error {
	switch {
	case len(s.Methods) > 0 && !slices.Contains(s.Methods, method):
		return fmt.Errorf("service %s has no method %q%s: %w", s.Name, method, proposal(method, slices.Clone(s.Methods)), ErrNoMethod)
	case s.Keyed && object == "":
		return fmt.Errorf("service %s has an object for each key, and the call of %s names none: %w", s.Name, method, ErrNoMethod)
	case !s.Keyed && object != "":
		return fmt.Errorf("service %s is not keyed, and the call of %s has the key %q: %w", s.Name, method, object, ErrNoMethod)
	}
	return nil
}

// access implements machine.Options.Access.
func (s *Server) access(version, caller string, t wire.Target) error {
	found, err := s.service(t.Service, version)
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(caller, ".")
	if found.Callers != nil && !found.Callers.Services.Has(name) {
		return fmt.Errorf("service %s is not for calls of service %s, as callers in the app file says: %w", found.Name, name, ErrCaller)
	}
	return nil
}

// outside says whether somebody outside may make a call.
func outside(found *app.Service, c ServiceCall) error {
	if found.Callers == nil || c.Step || found.Callers.Outside.Has(c.By) {
		return nil
	}
	who := "from outside"
	if len(found.Callers.Outside.Names) > 0 {
		who = fmt.Sprintf("of %q", c.By)
	}
	return fmt.Errorf("service %s is not for calls %s, as callers in the app file says: %w", found.Name, who, ErrCaller)
}

// mode implements machine.Options.Mode.
func (s *Server) mode(version string, t wire.Target) machine.Mode {
	found, err := s.service(t.Service, version)
	if err != nil {
		return machine.Exclusive
	}
	switch found.Modes[t.Method] {
	case app.ModeShared:
		return machine.Shared
	case app.ModeSnapshot:
		return machine.Snapshot
	}
	return machine.Exclusive
}

// switches implements machine.Options.Switches.
func (s *Server) switches(name, version string) machine.Switches {
	found, err := s.service(name, version)
	if err != nil {
		return machine.Switches{}
	}
	return machine.Switches{Volatile: found.Volatile, Whole: found.ObjectLocks, Flat: found.NoTransactions}
}

// bounds implements machine.Options.Bounds.
func (s *Server) bounds(name, version string) machine.Bounds {
	found, err := s.service(name, version)
	if err != nil {
		return machine.Bounds{}
	}
	return machine.Bounds{Attempts: found.Attempts, Limit: found.Timeout, Retention: found.Retention}
}

// Retention is how long results of a service are kept, and with them idempotency keys.
func Retention(s *app.Service) time.Duration {
	return cmp.Or(s.Retention, defaultRetention)
}

const defaultRetention = 7 * 24 * time.Hour

// request checks a call, and makes it a request; leave is for its end.
func (s *Server) request(ctx context.Context, c ServiceCall) (r service.Request, leave func(), err error) {
	a, v, err := s.Apps.Get(c.App, c.Version)
	if err != nil {
		return r, nil, err
	}
	found, err := serviceOf(a, c.Service)
	if err == nil {
		err = checkMethod(found, c.Object, c.Method)
	}
	if err == nil {
		err = outside(found, c)
	}
	if err != nil {
		return r, nil, err
	}
	size := 0
	for _, arg := range c.Args {
		size += len(arg)
	}
	if size > s.cfg.ValueMax {
		return r, nil, fmt.Errorf("call %s.%s: %w: %d bytes together, at most %d", c.Service, c.Method, ErrArguments, size, s.cfg.ValueMax)
	}
	var deadline time.Time
	if c.Timeout > 0 {
		deadline = time.Now().Add(c.Delay).Add(c.Timeout)
		soon, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		if leave, err = s.enter(soon, found, c); err != nil && ctx.Err() == nil && soon.Err() != nil {
			err = fmt.Errorf("call %s.%s: no room within %v: nothing of it has happened: %w", c.Service, c.Method, c.Timeout, ErrLate)
		}
	} else {
		leave, err = s.enter(ctx, found, c)
	}
	if err != nil {
		return r, nil, err
	}
	return service.Request{To: wire.Target{Service: c.App + "." + c.Service, Object: c.Object, Method: c.Method}, Args: c.Args, Key: c.Key, Version: v.ID, Delay: c.Delay, Deadline: deadline}, leave, nil
}

// enter waits until the limits of a service have room for a request. Those of steps are
// accepted already, and wait for as long as it takes.
func (s *Server) enter(ctx context.Context, found *app.Service, c ServiceCall) (leave func(), err error) {
	name := c.App + "." + c.Service
	leave, err = s.limits.Enter(ctx, c.Step, limit.Place{Name: name + "/" + c.Object, Rule: limit.Rule(found.Limits.Key)}, limit.Place{Name: name, Rule: limit.Rule(found.Limits.Limit)})
	var full *limit.FullError
	if errors.As(err, &full) {
		what := c.Service
		if full.Place != name {
			what += "/" + c.Object
		}
		return nil, &admission.ErrFull{App: c.App, Function: what, Why: full.Why, RetryAfter: full.RetryAfter}
	}
	return leave, err
}

// CallService calls a method and returns its result, as its code has encoded it, which is
// JSON from the SDKs. What it returns is on disk, with all of its effects. Besides what is
// wrong with the call, the error is *MethodError, *RefusedError, ErrLate, or that of ctx, after
// which it may have happened: ask again under the same key.
func (s *Server) CallService(ctx context.Context, c ServiceCall) ([]byte, error) {
	r, leave, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	defer leave()
	v, err := s.Services.Invoke(ctx, r)
	if err != nil {
		return nil, err
	}
	return v.Data, s.outcome(c, v)
}

// SendService has a method called, and returns the request's ID when it is certain to be.
func (s *Server) SendService(ctx context.Context, c ServiceCall) (id string, err error) {
	r, leave, err := s.request(ctx, c)
	if err != nil {
		return "", err
	}
	leave() // nobody waits for it
	id, v, err := s.Services.Accept(ctx, r)
	if err != nil {
		return "", err
	}
	return id, s.outcome(c, v)
}

// outcome is the error that a request has ended with.
func (s *Server) outcome(c ServiceCall, v wire.Value) error {
	switch v.Code {
	case wire.OK:
		return nil
	case wire.Failed:
		return &MethodError{v.Text}
	case wire.Busy:
		return &admission.ErrFull{App: c.App, Function: c.Service, Why: v.Text, RetryAfter: time.Second}
	case wire.Late:
		return fmt.Errorf("%s: %w", v.Text, ErrLate)
	case wire.Conflict:
		return fmt.Errorf("call %s.%s: %w", c.Service, c.Method, ErrOtherCall)
	}
	return &RefusedError{v.Text}
}
