package machine_test

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

var every = flag.Bool("every", false, "try many more programs")

// op is an operation of a random method.
type op struct {
	kind   string
	key    wire.Key
	amount int
	to     []wire.Target
	body   []op
}

func (o op) String() string {
	switch o.kind {
	case "tx":
		return fmt.Sprint("tx", o.body, " ", o.amount)
	case "call", "go", "goes", "send", "compensate":
		return fmt.Sprint(o.kind, " ", o.to)
	}
	return fmt.Sprint(o.kind, " ", o.key, " ", o.amount)
}

var errChosen = errors.New("the method fails")

// run carries operations out. acc sums up all that the method has seen, so that a
// wrong value anywhere is a wrong result.
func run(c *servicetest.Context, ops []op, acc *uint64, effect func(key string)) error {
	see := func(n uint64) { *acc = *acc*31 + n + 1 }
	outcome := func(data []byte, err error) {
		if see(number(data)); err != nil {
			see(99)
		}
	}
	for _, o := range ops {
		switch o.kind {
		case "read":
			see(number(c.Get(o.key)))
		case "add":
			n := number(c.Get(o.key))
			see(n)
			c.Put(o.key, bytesOf(n+uint64(o.amount)))
		case "set":
			c.Put(o.key, bytesOf(*acc))
		case "delete":
			c.Delete(o.key)
		case "scan":
			for _, v := range c.Scan("map", "", 10) {
				h := fnv.New64a()
				h.Write([]byte(v.Text))
				see(h.Sum64() + number(v.Data))
			}
		case "call":
			outcome(c.Call(o.to[0], bytesOf(*acc)))
		case "go", "goes":
			var handles []uint64
			for _, to := range o.to {
				handles = append(handles, c.Go(to, bytesOf(*acc)))
			}
			values, err := c.Await(handles...)
			if err != nil {
				return err
			}
			for _, v := range values {
				see(number(v.Data) + uint64(v.Code))
			}
		case "send":
			c.Send(time.Duration(o.amount), o.to[0], bytesOf(*acc))
		case "compensate":
			c.Compensate(o.to[0], bytesOf(*acc))
		case "tx":
			if err := c.Tx(func() error {
				if err := run(c, o.body, acc, effect); err != nil {
					return err
				}
				if o.amount%3 == 0 {
					return errChosen
				}
				return nil
			}); err != nil {
				see(7)
			}
		case "run":
			data, err := c.Run("effect", func(key string) ([]byte, error) {
				effect(key)
				return bytesOf(uint64(o.amount)), nil
			})
			if err != nil {
				return err
			}
			outcome(data, err)
		case "sleep":
			if err := c.Sleep(time.Duration(o.amount) * time.Microsecond); err != nil {
				return err
			}
		case "panic":
			if c.Attempt() <= 1 {
				panic("by choice")
			}
		case "fail":
			if *acc%2 == 0 {
				return errChosen
			}
		}
	}
	return nil
}

// succeeds reports whether a method always does in the end, as a compensation has to: it never chooses
// to fail, and may write.
func succeeds(body []op, mode machine.Mode) bool {
	return mode == machine.Exclusive && !slices.ContainsFunc(body, func(o op) bool { return o.kind == "fail" })
}

// draw makes a method that calls only methods with a higher number; undo are those of them
// that may be compensations.
func draw(t *rapid.T, number, methods, depth int, undo []int) []op {
	kinds := []string{"read", "add", "add", "add", "set", "delete", "scan", "panic", "fail", "sleep", "run"}
	if number+1 < methods {
		kinds = append(kinds, "call", "call", "call", "go", "goes", "send")
	}
	if len(undo) > 0 {
		kinds = append(kinds, "compensate", "compensate")
	}
	if depth == 0 {
		kinds = append(kinds, "tx", "tx")
	}
	var ops []op
	for range rapid.IntRange(1, 4).Draw(t, "length") {
		o := op{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), amount: rapid.IntRange(0, 5).Draw(t, "amount"), key: wire.Key{Field: "field"}}
		if e := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "entry"); e != "" {
			o.key = wire.Key{Field: "map", Item: true, Entry: e}
		}
		if o.kind == "run" || o.kind == "sleep" { // less often: they end the segment
			if rapid.Bool().Draw(t, "rarely") {
				o.kind = "add"
			}
		}
		switch o.kind {
		case "compensate":
			o.to = []wire.Target{target(rapid.SampledFrom(undo).Draw(t, "compensation"))}
		case "call", "go", "send":
			o.to = []wire.Target{target(rapid.IntRange(number+1, methods-1).Draw(t, "callee"))}
		case "goes":
			for range rapid.IntRange(2, 3).Draw(t, "callees") {
				o.to = append(o.to, target(rapid.IntRange(number+1, methods-1).Draw(t, "callee")))
			}
		case "tx":
			o.body = draw(t, number, methods, depth+1, undo)
		}
		ops = append(ops, o)
	}
	return ops
}

func target(n int) wire.Target {
	return wire.Target{Service: "s" + strconv.Itoa(n%2), Method: "m" + strconv.Itoa(n)}
}

// Whatever methods do, in whatever order things happen, and wherever the node dies,
// the state and all answers are those of the segments one at a time, every request
// ends, and no lock is left.
func TestRandomPrograms(t *testing.T) {
	checks := 1
	if *every {
		checks = 30
	}
	for range checks {
		rapid.Check(t, randomProgram)
	}
}

func randomProgram(t *rapid.T) {
	const count = 4
	programs := make([][]op, count)
	methods := map[string]servicetest.Method{}
	var w *world
	modes := map[wire.Target]machine.Mode{}
	for i := range programs {
		modes[target(i)] = rapid.SampledFrom([]machine.Mode{machine.Exclusive, machine.Exclusive, machine.Shared, machine.Snapshot}).Draw(t, "mode")
	}
	var undo []int
	for i := count - 1; i >= 0; i-- {
		if programs[i] = draw(t, i, count, 0, undo); succeeds(programs[i], modes[target(i)]) {
			undo = append(undo, i)
		}
	}
	for i, p := range programs {
		to := target(i)
		methods[to.Service+"."+to.Method] = func(c *servicetest.Context) ([]byte, error) {
			acc := number(c.Arg(0)) % 1000
			err := run(c, p, &acc, func(key string) {
				if key == "serial" {
					return
				}
				w.ran[key]++
				id, _, _ := strings.Cut(key, "/")
				state := w.state(w.flushed)
				if state[record.Open(c.Request())] == nil {
					t.Fatalf("%s has a side effect, and its request %s (%s) is not on disk", key, id, c.Request())
				}
			})
			return bytesOf(acc), err
		}
	}
	o := machine.Options{Concurrency: rapid.IntRange(1, 4).Draw(t, "concurrency"), Idle: rapid.IntRange(1, 3).Draw(t, "idle"), Attempts: 1 << 30, Backoff: time.Microsecond, Limit: time.Hour}
	whole := rapid.SampledFrom([]string{"", "s0", "s1"}).Draw(t, "whole")
	o.Switches = func(service, _ string) machine.Switches { return machine.Switches{Whole: service == whole} }
	o.Mode = func(_ string, to wire.Target) machine.Mode { return modes[to] }
	w = newWorld(t, rapid.Uint64().Draw(t, "seed"), o, methods)
	w.crashes = rapid.IntRange(0, 4).Draw(t, "crashes")
	for i := range rapid.IntRange(1, 5).Draw(t, "clients") {
		w.client("c"+strconv.Itoa(i), record.Call{To: target(rapid.IntRange(0, 1).Draw(t, "method")), Args: [][]byte{bytesOf(uint64(i))}})
	}
	w.live(100_000)
	check(w)
}
