package service_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/service"
)

// instances run services behind sockets, as those of a node do.
type instances []service.Service

type instance struct {
	conn *os.File
	done sync.WaitGroup
}

func (i instances) Start(_, _ string, receive func([]byte), gone func(error)) (node.Instance, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	n := &instance{conn: os.NewFile(uintptr(fds[0]), "node")}
	end := os.NewFile(uintptr(fds[1]), "instance")
	n.done.Go(func() {
		defer end.Close()
		service.Serve(end, i...)
	})
	n.done.Go(func() {
		in := bufio.NewReader(n.conn)
		for {
			frame, err := wire.Next(in)
			if err != nil {
				gone(err)
				return
			}
			receive(frame)
		}
	})
	return n, nil
}

func (n *instance) Send(frame []byte) error {
	_, err := n.conn.Write(wire.Wrap(nil, frame))
	return err
}

func (n *instance) Close() {
	n.conn.Close()
	n.done.Wait()
}

// open runs services on a node over a store on disk.
func open(t testing.TB, all ...service.Service) *node.Services {
	t.Helper()
	db, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := node.Open(node.Options{Store: db, Instances: instances(all), Machine: machine.Options{Backoff: time.Millisecond, Mode: modeOf, Catalog: func(_ string, to wire.Target) error {
		if !slices.ContainsFunc(all, func(s service.Service) bool { return s.Name() == to.Service && slices.Contains(s.Methods(), to.Method) }) {
			return fmt.Errorf("there is no method %v", to)
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		db.Close()
	})
	return s
}

// modeOf is the mode of the methods of these tests.
func modeOf(_ string, to wire.Target) machine.Mode {
	switch to.Method {
	case "read":
		return machine.Shared
	case "look":
		return machine.Snapshot
	}
	return machine.Exclusive
}

// on calls a method on a node.
func on[R any](t testing.TB, s *node.Services, r service.Request[R]) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	to, args := r.Parts()
	v, err := s.Invoke(ctx, node.Request{To: to, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if v.Code != wire.OK {
		return "", errors.New(v.Text)
	}
	return string(v.Data), nil
}

// pause is a time that has not passed when a method asks for what it has just set up.
const pause = 100 * time.Millisecond

// thing is an object that does what it is told.
type thing struct {
	Value service.Value[int]
	Map   service.Map[string, []int]
	List  service.List[string]
	Bumps service.Value[int]
}

// op is something that a method does.
type op struct {
	Kind   string
	Key    string
	N      int
	Object string
	Method string // of a call: do, read or look
	Body   []op
}

var errChosen = errors.New("the method fails")

// do returns a line of all that it has seen.
func (t *thing) do(ctx *service.Context, ops []op) (string, error) {
	var seen []string
	see := func(v ...any) { seen = append(seen, fmt.Sprint(v...)) }
	for _, o := range ops {
		switch o.Kind {
		case "get":
			v, ok := t.Value.Lookup()
			see(v, ok)
		case "set":
			t.Value.Set(o.N)
		case "update":
			see(t.Value.Update(func(n int) int { return n*3 + o.N }))
		case "delete":
			t.Value.Delete()
		case "entry":
			v, ok := t.Map.Get(o.Key)
			see(v, ok)
			_ = append(v, o.N) // a copy
		case "put":
			see(t.Map.Update(o.Key, func(v []int) []int { return append(v, o.N) }))
		case "remove":
			t.Map.Delete(o.Key)
		case "scan":
			for k, v := range t.Map.All() {
				see(k, v)
				if o.N == 1 {
					t.Map.Delete(k)
				}
			}
		case "append":
			t.List.Append(o.Key, "<"+o.Key+">")
		case "pop":
			v, ok := t.List.Pop()
			see(v, ok)
		case "list":
			see(t.List.Slice(), t.List.Len())
			if t.List.Len() > 0 {
				t.List.Set(0, "first")
				see(t.List.At(0))
			}
		case "call":
			r, err := service.Call(ctx, act(o.Method, o.Object, o.Body))
			see(r, err, errors.Is(err, errChosen))
		case "go":
			r, err := service.Go(ctx, act(o.Method, o.Object, o.Body)).Wait()
			see(r, err)
		case "all":
			r, err := service.All(ctx, service.Go(ctx, bump(o.Object, o.N)), service.Go(ctx, bump(ctx.Object(), 1)))
			see(r, err)
		case "send":
			service.Send(ctx, bump(o.Object, o.N))
		case "compensate":
			service.Compensate(ctx, bump(o.Object, 10+o.N)) // which never fails: one that does is parked
		case "tx":
			err := service.Tx(ctx, func() error {
				r, err := t.do(ctx, o.Body)
				if see(r); err == nil && o.N == 0 {
					err = errChosen
				}
				return err
			})
			see(err)
		case "run":
			v, err := service.Run(ctx, "effect", func(string) (int, error) {
				if o.N == 1 {
					return 0, errChosen
				}
				return o.N, nil
			})
			see(v, err)
		case "sleep":
			service.Sleep(ctx, pause)
		case "any":
			see(service.Any(ctx, service.After(ctx, time.Hour), service.After(ctx, pause)))
		case "continue":
			if len(o.Body) > 0 && ctx.Object() == o.Object {
				return service.Continue(ctx, act(o.Method, o.Object, o.Body))
			}
		case "missing":
			_, err := service.Call(ctx, service.NewRequest[int]("thing", "", "missing"))
			see(err)
		case "fail":
			if o.N == 0 {
				return "", errChosen
			}
		}
	}
	return strings.Join(seen, " "), nil
}

// act is a request for a method that does what it is told: do, read (shared) or look
// (a snapshot).
func act(method, object string, ops []op) service.Request[string] {
	return service.NewRequest[string]("thing", object, method, ops)
}

func carryOut(ctx *service.Context, t *thing, args service.Args) (any, error) {
	var ops []op
	if err := args.Decode(&ops); err != nil {
		return nil, err
	}
	return t.do(ctx, ops)
}

func bump(object string, n int) service.Request[int] {
	return service.NewRequest[int]("thing", object, "bump", n)
}

func dump(object string) service.Request[string] {
	return service.NewRequest[string]("thing", object, "dump")
}

var things = service.Define("thing", func(ctx *service.Context, t *thing) {
	service.Bind(ctx, "Value", &t.Value)
	service.Bind(ctx, "Map", &t.Map)
	service.Bind(ctx, "List", &t.List)
	service.Bind(ctx, "Bumps", &t.Bumps)
}, map[string]service.Method[thing]{
	"do": carryOut, "read": carryOut, "look": carryOut,
	"bump": func(ctx *service.Context, t *thing, args service.Args) (any, error) {
		var n int
		if err := args.Decode(&n); err != nil {
			return nil, err
		}
		t.Bumps.Set(t.Bumps.Get() + n)
		if n == 2 {
			return nil, errChosen
		}
		return n, nil
	},
	"dump": func(ctx *service.Context, t *thing, args service.Args) (any, error) {
		all := fmt.Sprint(t.Value.Get(), t.List.Slice(), t.Bumps.Get())
		for k, v := range t.Map.All() {
			all += fmt.Sprint(" ", k, v)
		}
		return all, args.Decode()
	},
}).Shared("read").Snapshot("look")

// methods of a thing, do more often than those that only read.
var methods = []string{"do", "do", "do", "read", "look"}

func draw(t *rapid.T, objects []string, object, method string, depth int) []op {
	kinds := []string{"get", "set", "update", "delete", "entry", "put", "remove", "scan", "append", "pop", "list", "send", "all", "fail", "sleep", "run", "any", "missing", "compensate"}
	if method != "do" && rapid.IntRange(0, 4).Draw(t, "honest") > 0 {
		kinds = []string{"get", "entry", "scan", "fail", "missing"}
	}
	if depth < 2 {
		kinds = append(kinds, "call", "call", "go", "tx", "tx", "continue")
	}
	var ops []op
	for range rapid.IntRange(1, 5).Draw(t, "length") {
		o := op{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Key: rapid.SampledFrom([]string{"x", "y", "é<\"\n"}).Draw(t, "key"), N: rapid.IntRange(0, 4).Draw(t, "n"),
			Object: rapid.SampledFrom(objects).Draw(t, "object")}
		if (o.Kind == "sleep" || o.Kind == "any") && rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
			o.Kind = "put"
		}
		switch o.Kind {
		case "call", "go":
			o.Method = rapid.SampledFrom(methods).Draw(t, "method")
			o.Body = draw(t, objects, o.Object, o.Method, depth+1)
		case "tx":
			o.Body = draw(t, objects, object, method, depth+1)
		case "continue":
			o.Object, o.Method, o.Body = object, method, draw(t, objects, object, method, 2)
		}
		ops = append(ops, o)
	}
	return ops
}

// Random methods, one after the other, see and leave the same on a node, through
// sockets and a store on disk, as in plain memory.
func TestNodeIsAsMemory(t *testing.T) {
	s := open(t, things)
	check := 0
	rapid.Check(t, func(rt *rapid.T) {
		check++ // each one has objects of its own
		a, b := fmt.Sprint("a", check), fmt.Sprint("b", check)
		m := service.NewMemory(things)
		for range rapid.IntRange(1, 6).Draw(rt, "requests") {
			object := rapid.SampledFrom([]string{a, b}).Draw(rt, "object")
			method := rapid.SampledFrom(methods).Draw(rt, "method")
			ops := draw(rt, []string{a, b}, object, method, 0)
			want, wantErr := service.Call(m, act(method, object, ops))
			got, gotErr := on(t, s, act(method, object, ops))
			// Of what a snapshot is refused, a node sees what reaches it: not a write that an
			// abort has dropped before the next question.
			if refused := "is a snapshot, and only reads"; method == "look" && strings.Contains(fmt.Sprint(got, gotErr, want, wantErr), refused) {
				continue
			}
			same(rt, fmt.Sprintf("%s.%s: %+v", object, method, ops), got, gotErr, want, wantErr)
		}
		settled(t, s)
		for _, object := range []string{a, b} {
			want, wantErr := service.Call(m, dump(object))
			got, gotErr := on(t, s, dump(object))
			same(rt, "dump "+object, got, gotErr, want, wantErr)
		}
	})
}

// handles are numbered differently.
var handles = regexp.MustCompile(`wait for \[[0-9 ]*\]`)

func same(t *rapid.T, what, got string, gotErr error, want string, wantErr error) {
	t.Helper()
	text := ""
	if wantErr == nil {
		data, err := service.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	all := func(data string, err error) string { return handles.ReplaceAllString(fmt.Sprint(data, " ", err), "") }
	if got, want := all(got, gotErr), all(text, wantErr); got != want {
		t.Fatalf("%s:\nnode   %s\nmemory %s", what, got, want)
	}
}
