package service_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/service"
)

// script makes a service of one method that is a function.
func script(run func(ctx *service.Context, t *thing) (any, error)) service.Service {
	return service.Define("script", func(ctx *service.Context, t *thing) {
		service.Bind(ctx, "Value", &t.Value)
		service.Bind(ctx, "List", &t.List)
	}, map[string]service.Method[thing]{
		"run": func(ctx *service.Context, t *thing, _ service.Args) (any, error) { return run(ctx, t) },
		"pair": func(_ *service.Context, _ *thing, args service.Args) (any, error) {
			return nil, args.Decode(new(struct{ B int }))
		},
	})
}

func scripted[R any](object string) service.Request[R] {
	return service.NewRequest[R]("script", object, "run")
}

func TestMemoryTime(t *testing.T) {
	const day = 24 * time.Hour
	m := service.NewMemory(things, script(func(ctx *service.Context, t *thing) (any, error) {
		begin := service.Now(ctx)
		service.SendAfter(ctx, 2*day, bump("x", 5))
		service.Sleep(ctx, day)
		t.Value.Set(1)
		service.Sleep(ctx, 3*day)
		return service.Now(ctx).Sub(begin), nil
	}))
	if d, err := service.Call(m, scripted[time.Duration]("a")); d != 4*day || err != nil {
		t.Errorf("it took %v, %v", d, err)
	}
	want := []string{"script/a Value 1", "thing/x Bumps 5"}
	if got := m.State(); !slices.Equal(got, want) {
		t.Errorf("state: %q, want %q", got, want)
	}
	if _, err := service.Accept(m, scripted[time.Duration]("b")); err != nil {
		t.Fatal(err)
	}
	m.Advance(day - 1)
	if n := len(m.State()); n != 2 {
		t.Errorf("a day has passed too early: %q", m.State())
	}
	m.Advance(1)
	if got := m.State(); !slices.Contains(got, "script/b Value 1") || !slices.Contains(got, "thing/x Bumps 5") {
		t.Errorf("after a day: %q", got)
	}
	m.Advance(day)
	if got := m.State(); !slices.Contains(got, "thing/x Bumps 10") {
		t.Errorf("after two: %q", got)
	}
}

func TestMemoryPromises(t *testing.T) {
	m := service.NewMemory(script(func(ctx *service.Context, t *thing) (any, error) {
		name, err := service.Promise[string](ctx, "name").Wait()
		if err != nil {
			return nil, err
		}
		t.List.Append(name)
		return name, nil
	}))
	if _, err := service.Call(m, scripted[string]("")); err == nil || !strings.Contains(err.Error(), "waits for name") {
		t.Errorf("nobody says it: %v", err)
	}
	first, _ := service.Accept(m, scripted[string](""))
	second, _ := service.Accept(m, scripted[string](""))
	if err := errors.Join(m.Resolve(second, "name", "Ann"), m.Reject(first, "name", errChosen)); err != nil {
		t.Error(err)
	}
	if err := m.Resolve(second, "name", "Bob"); err == nil {
		t.Error("a request that has ended has promises")
	}
	if got, want := m.State(), []string{`script/ List 1`, `script/ List[0] "Ann"`}; !slices.Equal(got, want) {
		t.Errorf("state: %q, want %q", got, want)
	}
}

// What a run of a method gets by chance, no other one does, of the same request neither.
func TestChance(t *testing.T) {
	all := script(func(ctx *service.Context, _ *thing) (any, error) {
		if ctx.Object() == "" {
			one, err := service.Call(ctx, scripted[string]("x"))
			if err != nil {
				return nil, err
			}
			other, err := service.Call(ctx, scripted[string]("x"))
			return one + other, err
		}
		return service.UUID(ctx) + service.UUID(ctx), nil
	})
	m, s := service.NewMemory(all), open(t, all)
	for name, call := range map[string]func() (string, error){
		"memory": func() (string, error) { return service.Call(m, scripted[string]("")) },
		"node": func() (string, error) {
			text, err := on(t, s, scripted[string](""))
			return strings.Trim(text, `"`), err
		},
	} {
		seen := map[string]bool{}
		for range 3 {
			ids, err := call()
			if err != nil || len(ids) != 4*36 {
				t.Fatalf("%s: %q, %v", name, ids, err)
			}
			for ; ids != ""; ids = ids[36:] {
				if id := ids[:36]; id[14] != '4' || seen[id] {
					t.Errorf("%s: %s, after %v", name, id, seen)
				}
				seen[ids[:36]] = true
			}
		}
	}
}

// What a method writes on its way out, when it begins anew, stands.
func TestContinueWritesWhatIsDeferred(t *testing.T) {
	all := script(func(ctx *service.Context, t *thing) (any, error) {
		if n := t.Value.Get(); n > 20 {
			return n, nil
		}
		t.Value.Set(t.Value.Get() + 1)
		defer func() { t.Value.Set(t.Value.Get() + 10) }()
		return service.Continue(ctx, scripted[int](ctx.Object()))
	})
	if n, err := service.Call(service.NewMemory(all), scripted[int]("")); n != 22 || err != nil {
		t.Errorf("in memory: %d, %v", n, err)
	}
	if n, err := on(t, open(t, all), scripted[int]("")); n != "22" || err != nil {
		t.Errorf("on a node: %s, %v", n, err)
	}
}

// A loop over a list sees what it has changed, and nothing that it has popped.
func TestLoopsThatChangeAList(t *testing.T) {
	all := script(func(_ *service.Context, t *thing) (any, error) {
		for range 300 {
			t.List.Append("")
		}
		longest, last := 0, 0
		for i, v := range t.List.All() {
			if longest, last = max(longest, len(v)), i; i < 100 {
				t.List.Set(i+1, v+"x")
			} else {
				t.List.Pop()
			}
		}
		return []int{longest, last, t.List.Len()}, nil
	})
	const want = "[100 199 200]"
	if got, err := service.Call(service.NewMemory(all), scripted[[]int]("")); fmt.Sprint(got) != want || err != nil {
		t.Errorf("in memory: %v, %v", got, err)
	}
	if got, err := on(t, open(t, all), scripted[[]int]("")); strings.ReplaceAll(got, ",", " ") != want || err != nil {
		t.Errorf("on a node: %v, %v", got, err)
	}
}

// Failing compensates, the latest first.
func TestMemoryCompensates(t *testing.T) {
	m := service.NewMemory(things, script(func(ctx *service.Context, _ *thing) (any, error) {
		service.Compensate(ctx, act("do", "x", []op{{Kind: "append", Key: "first"}}))
		service.Sleep(ctx, 1)
		service.Compensate(ctx, act("do", "x", []op{{Kind: "append", Key: "second"}}))
		service.Sleep(ctx, 1)
		service.Compensate(ctx, act("do", "x", []op{{Kind: "append", Key: "never"}}))
		return nil, errChosen
	}))
	if _, err := service.Call(m, scripted[string]("")); !errors.Is(err, errChosen) {
		t.Error(err)
	}
	if s, _ := service.Call(m, act("do", "x", []op{{Kind: "list"}})); !strings.HasPrefix(s, "[second <second> first <first>]") {
		t.Errorf("compensated: %s", s)
	}
}

// Misuse says what is wrong.
func TestMisuse(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(ctx *service.Context, t *thing) (any, error)
		want string
	}{
		{"state in a side effect", func(ctx *service.Context, t *thing) (any, error) {
			return service.Run(ctx, "x", func(string) (int, error) { return t.Value.Get(), nil })
		}, "a side effect uses the service"},
		{"chance in a side effect", func(ctx *service.Context, t *thing) (any, error) {
			service.UUID(ctx)
			return service.Run(ctx, "x", func(string) (string, error) { return service.UUID(ctx), nil })
		}, "a side effect uses the service"},
		{"a wait in a transaction", func(ctx *service.Context, t *thing) (any, error) {
			return nil, service.Tx(ctx, func() error { service.Sleep(ctx, 1); return nil })
		}, "does not wait"},
		{"continuing as another one", func(ctx *service.Context, t *thing) (any, error) {
			return service.Continue(ctx, bump("", 1))
		}, "continues as itself"},
		{"a call of a method that is not there", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("script", "", "other"))
		}, "there is no method script.other"},
		{"arguments that are not JSON", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("script", "", "run", func() {}))
		}, "argument 1"},
		{"calls without an end", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, scripted[int](""))
		}, "32 calls within each other"},
		{"too few arguments", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("thing", "", "bump"))
		}, "0 arguments, want 1"},
		{"arguments of another type", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("thing", "", "bump", "x"))
		}, "argument 1: got string, want int"},
		{"arguments with a field of another type", func(ctx *service.Context, t *thing) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("script", "", "pair", map[string]string{"B": "x"}))
		}, "argument 1: field B: got string, want int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := []service.Service{things, script(c.run)}
			if _, err := service.Call(service.NewMemory(all...), scripted[int]("")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("in memory: %v, want %q", err, c.want)
			}
			if _, err := on(t, open(t, all...), scripted[int]("")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("on a node: %v, want %q", err, c.want)
			}
		})
	}
}

// Two requests that read, wait, and write: in one order both have read before one has written, in another one not.
func TestMemoryOrder(t *testing.T) {
	for _, test := range []struct {
		choose func(n int) int
		want   string
	}{
		{func(int) int { return 0 }, "0 0 [script/a Value 1]"},
		{func(n int) int { return n - 1 }, "1 0 [script/a Value 2]"},
	} {
		m := service.NewMemory(script(func(ctx *service.Context, t *thing) (any, error) {
			n := t.Value.Get()
			service.Sleep(ctx, time.Second)
			t.Value.Set(n + 1)
			return n, nil
		}))
		m.Order(func([]string) int { return -1 })
		var ids []string
		for range 2 {
			id, err := service.Accept(m, scripted[int]("a"))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		m.Order(func(ready []string) int { return test.choose(len(ready)) })
		m.Advance(0)
		one, ended, err := service.Result[int](m, ids[0])
		two, also, wrong := service.Result[int](m, ids[1])
		if got := fmt.Sprint(one, two, m.State()); !ended || !also || err != nil || wrong != nil || got != test.want {
			t.Errorf("got %s, %v %v, want %s", got, err, wrong, test.want)
		}
	}
}

// A memory that is closed with requests that wait ends them.
func TestMemoryClose(t *testing.T) {
	left := false
	m := service.NewMemory(script(func(ctx *service.Context, t *thing) (any, error) {
		defer func() { left = true }()
		service.Sleep(ctx, time.Hour)
		return nil, nil
	}))
	id, err := service.Accept(m, scripted[int]("a"))
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if _, ended, _ := service.Result[int](m, id); ended || !left {
		t.Errorf("ended: %v, left: %v", ended, left)
	}
}
