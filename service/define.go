package service

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-run/weft/internal/service/wire"
)

// Service is a kind of objects with its methods: what generated code makes, and
// [Main], [Serve] and [NewMemory] take.
type Service struct {
	name    string
	methods map[string]func(*Context, [][]byte) (any, error)
	modes   map[string]mode
	bind    func(*Context) // names the fields of an object that is thrown away
	version int            // of its state; 0: it has none
}

// mode is how a method uses the state.
type mode uint8

const (
	exclusive mode = iota
	shared         // it does not write
	snapshot       // nor does anything that it calls
)

func (m mode) String() string { return [...]string{"exclusive", "shared", "snapshot"}[m] }

// Name is its name outside of Go.
func (s Service) Name() string { return s.name }

// Methods are the names of its methods outside of Go, in order.
func (s Service) Methods() []string { return slices.Sorted(maps.Keys(s.methods)) }

// Shared says that methods do not write. Generated code calls it, for //weft:shared.
func (s Service) Shared(methods ...string) Service { return s.with(shared, methods) }

// Snapshot says that methods, and what they call, only read. Generated code calls it,
// for //weft:snapshot.
func (s Service) Snapshot(methods ...string) Service { return s.with(snapshot, methods) }

func (s Service) with(m mode, methods []string) Service {
	modes := maps.Clone(s.modes)
	if modes == nil {
		modes = map[string]mode{}
	}
	for _, name := range methods {
		if s.methods[name] == nil {
			panic(fmt.Sprintf("service: %s has no method %s", s.name, name))
		}
		modes[name] = m
	}
	s.modes = modes
	return s
}

// Method runs a method of an object.
type Method[S any] func(ctx *Context, object *S, args Args) (any, error)

// Define makes a service of a type, of what gives the fields of an object their
// names, of methods, and of the version of its state, if it has one. Generated code calls it.
func Define[S any](name string, bind func(*Context, *S), methods map[string]Method[S], state ...State[S]) Service {
	s := Service{name: name, methods: map[string]func(*Context, [][]byte) (any, error){}, bind: func(ctx *Context) { bind(ctx, new(S)) }}
	for _, v := range state {
		s.version = v.Version
	}
	for n, m := range methods {
		s.methods[n] = func(ctx *Context, args [][]byte) (any, error) {
			var object S
			bind(ctx, &object)
			for _, v := range state {
				ctx.edition = &edition{wanted: v.Version, migrate: func(from int) error { return v.Migrate(&object, ctx, from) }}
			}
			return m(ctx, &object, Args{ctx, args})
		}
	}
	return s
}

// Args are the arguments of a call.
type Args struct {
	ctx  *Context
	data [][]byte
}

// Decode reads the arguments into variables, as many as there are.
func (a Args) Decode(into ...any) error {
	if len(into) != len(a.data) {
		return fmt.Errorf("call %v: %d arguments, want %d", a.ctx.to, len(a.data), len(into))
	}
	for i, v := range into {
		if err := decode(a.data[i], v); err != nil {
			return fmt.Errorf("call %v: argument %d: %w", a.ctx.to, i+1, err)
		}
	}
	return nil
}

// services finds methods.
type services map[string]Service

func byName(list []Service) services {
	all := services{}
	for _, s := range list {
		if _, twice := all[s.name]; twice {
			panic(fmt.Sprintf("service: two services are called %s", s.name))
		}
		all[s.name] = s
	}
	return all
}

// mode is how a method uses the state.
func (s services) mode(to wire.Target) mode { return s[to.Service].modes[to.Method] }

// method finds a method; without one it gives one that says so.
func (s services) method(to wire.Target) (func(*Context, [][]byte) (any, error), bool) {
	if m := s[to.Service].methods[to.Method]; m != nil {
		return m, true
	}
	return func(*Context, [][]byte) (any, error) {
		return nil, &Error{Text: fmt.Sprintf("there is no method %v", to), Refused: true}
	}, false
}
