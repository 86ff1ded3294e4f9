package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/service"
)

// sent is a request of a client, with what has come of it and when.
type sent struct {
	object, method string
	ops            []op
	begun, ended   int64 // on a clock that all clients share
	got            string
}

func (s *sent) request(names map[string]string) service.Request[string] {
	return act(s.method, names[s.object], renamed(s.ops, names))
}

// renamed are the same operations on other objects.
func renamed(ops []op, names map[string]string) []op {
	all := slices.Clone(ops)
	for i := range all {
		all[i].Object, all[i].Body = names[all[i].Object], renamed(all[i].Body, names)
	}
	return all
}

// together draws operations of requests that come at the same time: those that take no time.
func together(t *rapid.T, depth int, method string) []op {
	kinds := []string{"get", "entry", "scan", "fail", "missing"}
	if method == "do" {
		kinds = []string{"get", "set", "update", "update", "delete", "entry", "put", "put", "remove", "scan", "append", "pop", "list", "send", "all", "fail", "missing"}
	}
	if depth < 2 {
		kinds = append(kinds, "call", "tx")
	}
	var ops []op
	for range rapid.IntRange(1, 4).Draw(t, "length") {
		o := op{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Key: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key"), N: rapid.IntRange(0, 4).Draw(t, "n"),
			Object: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "object"), Method: method}
		switch o.Kind {
		case "call":
			if method == "do" {
				o.Method = rapid.SampledFrom([]string{"do", "do", "read"}).Draw(t, "method")
			}
			o.Body = together(t, depth+1, o.Method)
		case "tx":
			o.Body = together(t, depth+1, method)
		}
		ops = append(ops, o)
	}
	return ops
}

var clients = rapid.Custom(func(t *rapid.T) [][]*sent {
	all := make([][]*sent, 3)
	for i := range all {
		for range rapid.IntRange(1, 2).Draw(t, "requests") {
			s := &sent{object: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "object"), method: rapid.SampledFrom([]string{"do", "do", "do", "read", "look"}).Draw(t, "method")}
			s.ops = together(t, 0, s.method)
			all[i] = append(all[i], s)
		}
	}
	return all
})

// Random requests of several clients at once see and leave on a node what they do in memory, one
// segment after the other, in some order.
func TestNodeIsAsMemoryInSomeOrder(t *testing.T) {
	const rounds = 40
	s := open(t, things)
	for round := range rounds {
		all := clients.Example(round)
		names := map[string]string{"a": fmt.Sprint("a", round), "b": fmt.Sprint("b", round), "": ""}
		var clock atomic.Int64
		var done sync.WaitGroup
		for _, list := range all {
			done.Go(func() {
				for _, r := range list {
					r.begun = clock.Add(1)
					r.got = outcome(invoked(s, r.request(names)))
					r.ended = clock.Add(1)
				}
			})
		}
		done.Wait()
		settled(t, s)
		o := &orders{sent: slices.Concat(all...), budget: 20_000}
		for _, object := range []string{"a", "b"} {
			text, err := on(t, s, dump(names[object]))
			o.left = append(o.left, outcome(text, err))
		}
		o.names = names
		if !o.search(nil) {
			var lines []string
			for _, r := range o.sent {
				lines = append(lines, fmt.Sprintf("%d-%d %s.%s %+v: %s", r.begun, r.ended, r.object, r.method, r.ops, r.got))
			}
			t.Fatalf("round %d: no order of segments gives this (%d tries left):\n%s\n%s", round, o.budget, strings.Join(lines, "\n"), strings.Join(o.left, "\n"))
		}
	}
}

// invoked calls a method on a node.
func invoked[R any](s *node.Services, r service.Request[R]) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	to, args := r.Parts()
	v, err := s.Invoke(ctx, node.Request{To: to, Args: args})
	if err == nil && v.Code != wire.OK {
		err = errors.New(v.Text)
	}
	return string(v.Data), err
}

// settled waits until no request is left.
func settled(t testing.TB, s *node.Services) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(s.Requests()) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("requests are left: %+v", s.Requests())
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// outcome is what a request has come to.
func outcome(text string, err error) string {
	if err != nil {
		text = "error: " + err.Error()
	}
	return handles.ReplaceAllString(text, "")
}

// orders looks for an order of segments in which memory does what was seen.
type orders struct {
	sent   []*sent
	left   []string // in the objects
	names  map[string]string
	budget int
}

// search tries the orders that begin in a way: which one of those that can goes on, each time.
func (o *orders) search(path []int) bool {
	if o.budget--; o.budget < 0 {
		return false
	}
	ready, over := o.replay(path)
	for i := range ready {
		if o.search(append(slices.Clone(path), i)) {
			return true
		}
	}
	return over
}

// replay runs memory in an order, and returns how many ways there are to go on, 0 if what was seen is something else, and whether
// it has come to the end and left what was left.
func (o *orders) replay(path []int) (ready int, over bool) {
	m := service.NewMemory(things)
	defer m.Close()
	ids := make([]string, len(o.sent))
	ended := make([]bool, len(o.sent))
	for n := 0; ; n++ {
		for i, r := range o.sent {
			if ids[i] == "" || ended[i] {
				continue
			}
			var got json.RawMessage
			var err error
			if got, ended[i], err = service.Result[json.RawMessage](m, ids[i]); ended[i] && outcome(string(got), err) != r.got {
				return 0, false
			}
		}
		m.Order(func([]string) int { return -1 })
		for i, r := range o.sent {
			late := func(j int) bool { return o.sent[j].ended < r.begun && !ended[j] }
			if ids[i] == "" && !slices.ContainsFunc(numbered(len(o.sent)), late) {
				ids[i], _ = service.Accept(m, r.request(o.names))
			}
		}
		next := -1
		if n < len(path) {
			next = path[n]
		}
		m.Order(func(list []string) int {
			if next >= 0 {
				ready = 0
			} else if ready == 0 {
				ready = len(list)
			}
			i := next
			next = -1
			return i
		})
		ready = 0
		m.Advance(0)
		if n == len(path) {
			break
		}
	}
	if ready > 0 || slices.Contains(ended, false) {
		return ready, false
	}
	m.Order(nil)
	for i, object := range []string{"a", "b"} {
		text, err := service.Call(m, dump(o.names[object]))
		data, _ := service.Encode(text)
		if outcome(string(data), err) != o.left[i] {
			return 0, false
		}
	}
	return 0, true
}

func numbered(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
