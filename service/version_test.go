package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/service"
)

// editions are the services of each version of an app.
type editions map[string]service.Service

func (e editions) Start(name, version string, receive func([]byte), gone func(error)) (node.Instance, error) {
	return instances{e[version]}.Start(name, version, receive, gone)
}

// purse is an account in its three versions: euros, cents, and cents as text.
type purse struct {
	Balance    service.Value[float64]
	Cents      service.Value[int]
	Text       service.Value[string]
	Migrations service.Map[int, int]
}

func (p *purse) methods(add func(p *purse, n int), get func(p *purse) any) map[string]service.Method[purse] {
	return map[string]service.Method[purse]{
		"add": func(_ *service.Context, p *purse, args service.Args) (any, error) {
			var n int
			if err := args.Decode(&n); err != nil {
				return nil, err
			}
			add(p, n)
			return nil, nil
		},
		"fail": func(_ *service.Context, p *purse, _ service.Args) (any, error) {
			add(p, 1)
			return nil, errors.New("it fails")
		},
		"get": func(_ *service.Context, p *purse, _ service.Args) (any, error) { return get(p), nil },
		"wait": func(ctx *service.Context, p *purse, _ service.Args) (any, error) {
			_, err := service.Promise[int](ctx, "go").Wait()
			if err != nil {
				return nil, err
			}
			add(p, 1)
			return get(p), nil
		},
		"nested": func(ctx *service.Context, p *purse, _ service.Args) (any, error) {
			return service.Call(ctx, service.NewRequest[service.None]("purse", "a", "get"))
		},
	}
}

func bindPurse(ctx *service.Context, p *purse) {
	service.Bind(ctx, "Balance", &p.Balance)
	service.Bind(ctx, "Cents", &p.Cents)
	service.Bind(ctx, "Text", &p.Text)
	service.Bind(ctx, "Migrations", &p.Migrations)
}

// purses are versions 1 to 3, one that changes a type without a migration, and one
// whose migration fails.
func purses() editions {
	p := &purse{}
	cents := func(p *purse, _ *service.Context, from int) error {
		if v, ok := p.Balance.Lookup(); ok {
			p.Cents.Set(int(v * 100))
			p.Balance.Delete()
			p.Migrations.Update(from, func(n int) int { return n + 1 })
		}
		return nil
	}
	inCents := p.methods(func(p *purse, n int) { p.Cents.Update(func(old int) int { return old + 100*n }) }, func(p *purse) any { return p.Cents.Get() })
	return editions{
		"1": service.Define("purse", bindPurse, p.methods(func(p *purse, n int) { p.Balance.Update(func(old float64) float64 { return old + float64(n) }) }, func(p *purse) any { return p.Balance.Get() })),
		"2": service.Define("purse", bindPurse, inCents, service.State[purse]{Version: 2, Migrate: cents}),
		"3": service.Define("purse", bindPurse, p.methods(func(p *purse, n int) { p.Text.Set(p.Text.Get() + strings.Repeat("x", n)) }, func(p *purse) any { return p.Text.Get() }), service.State[purse]{Version: 3, Migrate: func(p *purse, ctx *service.Context, from int) error {
			if from < 2 {
				if err := cents(p, ctx, from); err != nil {
					return err
				}
			}
			if n, ok := p.Cents.Lookup(); ok {
				p.Text.Set(fmt.Sprint(n))
				p.Cents.Delete()
				p.Migrations.Update(from, func(n int) int { return n + 10 })
			}
			return nil
		}}),
		"changed": service.Define("purse", func(ctx *service.Context, p *purse) { service.Bind(ctx, "Balance", &p.Text) }, p.methods(func(p *purse, n int) { p.Text.Set(p.Text.Get()) }, func(p *purse) any { return p.Text.Get() })),
		"fails":   service.Define("purse", bindPurse, inCents, service.State[purse]{Version: 2, Migrate: func(*purse, *service.Context, int) error { return errors.New("no rate today") }}),
		"calls": service.Define("purse", bindPurse, inCents, service.State[purse]{Version: 2, Migrate: func(_ *purse, ctx *service.Context, _ int) error {
			service.Sleep(ctx, time.Hour)
			return nil
		}}),
	}
}

func openPurses(t *testing.T, db store.Store) *node.Services {
	t.Helper()
	s, err := node.Open(node.Options{Store: db, Instances: purses(), Machine: machine.Options{Backoff: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ask calls a method of a purse in a version of its app: the result, or the error behind an !.
func ask(t *testing.T, s *node.Services, version, object, method string, args ...string) string {
	t.Helper()
	r := node.Request{To: wire.Target{Service: "purse", Object: object, Method: method}, Version: version}
	for _, a := range args {
		r.Args = append(r.Args, []byte(a))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := s.Invoke(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if v.Code != wire.OK {
		return "!" + v.Code.String() + ": " + v.Text
	}
	return string(v.Data)
}

// stored lists the state of an object.
func stored(t *testing.T, s *node.Services, object string) (list []string) {
	t.Helper()
	all, _, err := s.Scan(t.Context(), "purse", object, false, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		list = append(list, fmt.Sprintf("%v=%s", p.Key, p.Value))
	}
	slices.Sort(list)
	return list
}

// An object is migrated by the first method that uses its state, once, with what that
// writes or not at all; objects that nobody uses stay as they are.
func TestMigration(t *testing.T) {
	db := memory.New(memory.Options{})
	s := openPurses(t, db)
	for _, object := range []string{"a", "b", "c"} {
		ask(t, s, "1", object, "add", "10")
	}
	if got := ask(t, s, "2", "a", "fail"); got != "!failed: it fails" {
		t.Fatalf("fail: %s", got)
	}
	if got := stored(t, s, "a"); !slices.Equal(got, []string{"Balance=10"}) {
		t.Errorf("after a method that has failed: %q", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				ask(t, s, "2", "a", "add", "1")
				ask(t, s, "2", "a", "get")
			}
		})
	}
	wg.Wait()
	if got, want := stored(t, s, "a"), []string{"#version=2", "Cents=5000", "Migrations[1]=1"}; !slices.Equal(got, want) {
		t.Errorf("a has %q, want %q", got, want)
	}
	if got := stored(t, s, "b"); !slices.Equal(got, []string{"Balance=10"}) {
		t.Errorf("b, which nobody has used, has %q", got)
	}
	s.Close()
	s = openPurses(t, db)
	if got := ask(t, s, "1", "a", "get"); !strings.HasPrefix(got, "!refused: ") || !strings.Contains(got, "the state has version 2, and the code of version 1 of the app knows of none") {
		t.Errorf("old code that knows of no version: %s", got)
	}
	if got := ask(t, s, "1", "a", "add", "1"); !strings.HasPrefix(got, "!refused: ") {
		t.Errorf("old code writes: %s", got)
	}
	if got := ask(t, s, "1", "b", "get"); got != "10" {
		t.Errorf("old code and an object that was not migrated: %s", got)
	}
	for object, want := range map[string][]string{
		"a": {"#version=3", "Migrations[1]=1", "Migrations[2]=10", "Text=\"5000x\""},
		"b": {"#version=3", "Migrations[1]=11", "Text=\"1000x\""},
		"n": {"#version=3", "Text=\"x\""},
	} {
		ask(t, s, "3", object, "add", "1")
		if got := stored(t, s, object); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", object, got, want)
		}
	}
	if got := ask(t, s, "2", "a", "get"); !strings.Contains(got, "the state has version 3, and this code knows version 2") {
		t.Errorf("code of the version before: %s", got)
	}
	if got := ask(t, s, "3", "nobody", "get"); got != `""` || len(stored(t, s, "nobody")) > 0 {
		t.Errorf("an object without state: %s, and has %q", got, stored(t, s, "nobody"))
	}
	if locks := s.Locks(); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}

// Code that does not fit the state is told so, with the field and both types. Nothing
// has happened, no lock is left, and what was accepted is parked.
func TestIncompatibleState(t *testing.T) {
	s := openPurses(t, memory.New(memory.Options{}))
	ask(t, s, "1", "a", "add", "10")
	for version, want := range map[string]string{
		"changed": "!refused: purse/a.get: Balance holds a number, 10, where this code has a string",
		"fails":   "!refused: purse/a.get: migrate the state from version 1 to 2: no rate today",
		"calls":   "!refused: purse/a.get: Migrate reads and writes the state of its object, and does nothing else",
	} {
		if got := ask(t, s, version, "a", "get"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
		if got, want := ask(t, s, version, "b", "nested"), strings.Replace(want, ": ", ": purse/b.nested: ", 1); !strings.HasPrefix(got, want) {
			t.Errorf("%s, called by another one: %s, want %s", version, got, want)
		}
	}
	id, _, err := s.Accept(t.Context(), node.Request{To: wire.Target{Service: "purse", Object: "a", Method: "get"}, Version: "changed"})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, s, id, machine.Parked)
	if got := ask(t, s, "1", "a", "get"); got != "10" {
		t.Errorf("the state is %s", got)
	}
	if locks := s.Locks(); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}

// waitFor waits until a request is in a state, which others see by asking.
func waitFor(t *testing.T, s *node.Services, id string, state machine.State) machine.View {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for _, r := range s.Requests() {
			if r.ID == id && r.State == state {
				return r
			}
		}
	}
	t.Fatalf("request %s is not %v: %+v", id, state, s.Requests())
	return machine.View{}
}

// A request that waits ends on the version that it began on. If a later one has migrated its
// object meanwhile, it is parked, and nothing of it is lost.
func TestMigrationMeetsAnOlderRequest(t *testing.T) {
	db := memory.New(memory.Options{})
	s := openPurses(t, db)
	ids := map[string]string{}
	for _, object := range []string{"a", "b"} {
		id, _, err := s.Accept(t.Context(), node.Request{To: wire.Target{Service: "purse", Object: object, Method: "wait"}, Version: "1", Key: object})
		if err != nil {
			t.Fatal(err)
		}
		ids[object] = id
		waitFor(t, s, id, machine.Waiting)
	}
	ask(t, s, "2", "a", "add", "1")
	s.Close()
	s = openPurses(t, db)
	for object, id := range ids {
		waitFor(t, s, id, machine.Waiting)
		if err := s.Resolve(t.Context(), id, "go", wire.Value{Data: []byte("1")}); err != nil {
			t.Fatal(object, err)
		}
	}
	v, err := s.Invoke(t.Context(), node.Request{To: wire.Target{Service: "purse", Object: "b", Method: "wait"}, Key: "b"})
	if err != nil || string(v.Data) != "1" {
		t.Errorf("b: %+v, %v", v, err)
	}
	if got, want := stored(t, s, "a"), []string{"#version=2", "Cents=100"}; !slices.Equal(got, want) {
		t.Errorf("a has %q, want %q", got, want)
	}
	if locks := s.Locks(); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}
