package machine_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// world is a node in one event loop: a machine, a store that forgets what was not
// flushed, instances, and clients who repeat what was not answered. What happens
// next is chosen by chance.
type world struct {
	t       fataler
	rng     *rand.Rand
	o       machine.Options
	m       *machine.Machine
	now     int64
	methods map[string]servicetest.Method // by service.method

	log     [][]machine.Op // since the beginning
	flushed int
	gated   []gated
	execs   map[uint64]*exec
	ended   []machine.Ended
	loads   []machine.Loaded
	loaded  int            // bytes that were loaded at a time, at most
	views   map[string]int // that are open: what part of the log they show
	moments map[string]int // of views, the last of each
	clients []*client
	doomed  []uint64 // executions that are to be killed
	still   bool     // the disk does nothing
	crashes int
	parked  map[string]string // nil: nothing may be parked
	ran     map[string]int    // side effects, by key
	next    uint64            // waiter
	waiters map[uint64]*client
}

// gated is what leaves when the log is on disk up to a position.
type gated struct {
	at int
	f  func()
}

// client wants one thing of the node, and repeats it until it is answered.
type client struct {
	event   func(waiter uint64) machine.Event
	id      string
	asked   bool
	answers []wire.Value
}

// exec is an execution in an instance.
type exec struct {
	out    chan wire.Message
	in     chan *wire.Answer
	toNode []wire.Message
	toward []*wire.Answer
	start  *wire.Start
	begun  bool
	over   bool
	sent   []wire.Message // to be sent twice
}

func newWorld(t fataler, seed uint64, o machine.Options, methods map[string]servicetest.Method) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), o: o, methods: methods, execs: map[uint64]*exec{}, ran: map[string]int{}, views: map[string]int{}, moments: map[string]int{}, waiters: map[uint64]*client{}, now: 1000}
	w.m = machine.New(o)
	return w
}

// step lets an instance run until it waits for an answer or has ended.
func (e *exec) step(t fataler, methods map[string]servicetest.Method) {
	if !e.begun {
		e.begun = true
		e.out, e.in = make(chan wire.Message), make(chan *wire.Answer)
		method := methods[e.start.To.Service+"."+e.start.To.Method]
		go func() {
			last := servicetest.Serve(e.start, method, func(m wire.Message) *wire.Answer {
				quiet := wire.Silent(m)
				e.out <- m
				if quiet {
					return nil
				}
				return <-e.in
			})
			e.out <- last
		}()
	} else {
		a := e.toward[0]
		e.toward = e.toward[1:]
		e.in <- a
	}
	for {
		m := <-e.out
		if m == nil {
			e.over = true
			return
		}
		frame := wire.Encode(nil, m)
		m, err := wire.Decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		e.toNode = append(e.toNode, m)
		switch m.(type) {
		case *wire.Return, *wire.Continue:
			e.over = true
			return
		}
		if !wire.Silent(m) {
			return
		}
	}
}

// abort ends an instance's execution.
func (e *exec) abort() {
	if e.begun && !e.over {
		e.in <- &wire.Answer{Value: wire.Value{Code: wire.Aborted}}
		if m := <-e.out; m != nil {
			panic(fmt.Sprintf("an aborted execution says %+v", m))
		}
		e.over = true
	}
}

// apply feeds an event and carries the effects out.
func (w *world) apply(ev machine.Event) {
	w.now++
	for _, e := range w.m.Apply(w.now, ev) {
		switch e := e.(type) {
		case machine.Append:
			w.log = append(w.log, e.Ops)
		case machine.Load:
			state := w.state(w.look(e.View))
			l := machine.Loaded{Load: e.Load}
			size := 0
			for _, k := range e.Keys {
				v := wire.Value{Code: wire.Absent}
				if data, ok := state[k]; ok {
					v = wire.Value{Data: data}
				}
				if e.Bytes > 0 && size > e.Bytes {
					v = wire.Value{Code: wire.Pending}
				}
				size += machine.Size(v)
				l.Values = append(l.Values, v)
			}
			w.loaded = max(w.loaded, size)
			w.loads = append(w.loads, l)
		case machine.Scan:
			state := w.state(w.look(e.View))
			l := machine.Loaded{Load: e.Load}
			size := 0
			for _, k := range sortedKeys(state) {
				if rest, ok := strings.CutPrefix(k, e.Prefix); ok && rest > e.After && len(l.Values) < e.Limit && size <= e.Bytes {
					l.Values = append(l.Values, wire.Value{Text: rest, Data: state[k]})
					size += machine.Size(l.Values[len(l.Values)-1])
				}
			}
			w.loads = append(w.loads, l)
		case machine.Close:
			if _, open := w.views[e.View]; !open {
				w.t.Fatalf("the view of %s is closed, and was not open", e.View)
			}
			delete(w.views, e.View)
		case machine.Send:
			deliver := func() {
				switch m := e.Message.(type) {
				case *wire.Start:
					w.execs[m.Call] = &exec{start: m}
				case *wire.Answer:
					if x := w.execs[m.Call]; x != nil {
						x.toward = append(x.toward, m)
					}
				}
			}
			if e.Durable {
				w.gated = append(w.gated, gated{len(w.log), deliver})
				w.open()
			} else {
				deliver()
			}
		case machine.Free:
			if x := w.execs[e.Call]; x != nil {
				x.abort()
				delete(w.execs, e.Call)
			}
		case machine.Ended:
			w.ended = append(w.ended, e)
		case machine.Kill:
			w.doomed = append(w.doomed, e.Call)
		case machine.Reply:
			answer := gated{len(w.log), func() {
				if c := w.waiters[e.Waiter]; c != nil {
					if e.Value.Code == wire.Refused && strings.Contains(e.Value.Text, "is not there") {
						c.asked = false
						return
					}
					c.answers = append(c.answers, e.Value)
				}
			}}
			if e.Volatile {
				answer.f()
				break
			}
			w.gated = append(w.gated, answer)
			w.open()
		case machine.Park:
			if w.parked == nil {
				w.t.Fatalf("request %s is parked: %s", e.Request, e.Why)
			}
			w.parked[e.Request] = e.Why
		}
	}
}

// look is what part of the log is read from.
func (w *world) look(view string) int {
	if view == "" {
		return len(w.log)
	}
	if _, open := w.views[view]; !open {
		w.views[view] = len(w.log)
		w.moments[view] = len(w.log)
	}
	return w.views[view]
}

func (w *world) kill(call uint64) {
	if x := w.execs[call]; x != nil {
		x.abort()
		delete(w.execs, call)
		w.apply(machine.Lost{Call: call, Why: "killed"})
	}
}

// open lets go what has waited for the disk.
func (w *world) open() {
	for len(w.gated) > 0 && w.gated[0].at <= w.flushed {
		f := w.gated[0].f
		w.gated = w.gated[1:]
		f()
	}
}

// state is what the store holds after a part of the log.
func (w *world) state(n int) map[string][]byte {
	state := map[string][]byte{}
	for _, ops := range w.log[:n] {
		store(state, ops)
	}
	return state
}

func store(state map[string][]byte, ops []machine.Op) {
	for _, op := range ops {
		switch {
		case op.Prefix:
			for k := range state {
				if strings.HasPrefix(k, op.Key) {
					delete(state, k)
				}
			}
		case op.Delete:
			delete(state, op.Key)
		default:
			state[op.Key] = op.Value
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ask sends what a client wants.
func (w *world) ask(c *client) {
	w.next++
	c.asked = true
	w.waiters[w.next] = c
	w.apply(c.event(w.next))
}

// result is what the node looks up before it begins a request.
func (w *world) result(id string) *record.Result {
	data, ok := w.state(len(w.log))[record.Done(id)]
	if !ok {
		return nil
	}
	r, err := record.DecodeResult(data)
	if err != nil {
		w.t.Fatal(err)
	}
	return &r
}

// crash kills the node: of what was not flushed a beginning is left.
func (w *world) crash() {
	w.log = w.log[:w.flushed+w.rng.IntN(len(w.log)-w.flushed+1)]
	w.flushed = len(w.log)
	w.gated, w.loads, w.doomed = nil, nil, nil
	for call, x := range w.execs {
		x.abort()
		delete(w.execs, call)
	}
	clear(w.waiters)
	clear(w.views)
	for _, c := range w.clients {
		c.asked = false
	}
	w.m = machine.New(w.o)
	state := w.state(len(w.log))
	for _, k := range sortedKeys(state) {
		id, ok := strings.CutPrefix(k, record.OpenPrefix)
		if !ok {
			continue
		}
		r, err := record.DecodeRequest(id, state[k])
		if err != nil {
			w.t.Fatal(err)
		}
		ev := machine.Recovered{Request: r, Promises: map[string]wire.Value{}}
		for n := range r.Chunks {
			if _, ok := state[record.Chunk(id, n)]; !ok {
				w.t.Fatalf("the journal of %s has no chunk %d of %d", id, n, r.Chunks)
			}
		}
		for _, p := range sortedKeys(state) {
			if name, ok := strings.CutPrefix(p, record.Promises(id)); ok {
				res, err := record.DecodeResult(state[p])
				if err != nil {
					w.t.Fatal(err)
				}
				ev.Promises[name] = res.Value
			}
		}
		w.apply(ev)
	}
}

// move lets something happen, and reports whether there was anything.
func (w *world) move() bool {
	type choice struct {
		weight int
		f      func()
	}
	var choices []choice
	can := func(weight int, f func()) { choices = append(choices, choice{weight, f}) }
	for _, call := range sortedCalls(w.execs) {
		x := w.execs[call]
		if !x.over && (!x.begun || len(x.toward) > 0) {
			can(8, func() { x.step(w.t, w.methods) })
		}
		if len(x.toNode) > 0 {
			can(8, func() {
				m := x.toNode[0]
				x.toNode = x.toNode[1:]
				x.sent = append(x.sent, m)
				w.apply(machine.Asked{Message: m})
			})
		}
		if len(x.sent) > 0 && w.rng.IntN(20) == 0 {
			can(1, func() { w.apply(machine.Asked{Message: x.sent[w.rng.IntN(len(x.sent))]}) })
		}
		if w.crashes > 0 && w.rng.IntN(60) == 0 {
			can(1, func() { w.kill(call) })
		}
	}
	for i, l := range w.loads {
		can(8, func() {
			w.loads = slices.Delete(w.loads, i, i+1)
			w.apply(l)
		})
	}
	if len(w.doomed) > 0 {
		can(8, func() {
			call := w.doomed[0]
			w.doomed = w.doomed[1:]
			w.kill(call)
		})
	}
	if w.flushed < len(w.log) && !w.still {
		can(4, func() {
			w.flushed = len(w.log)
			w.open()
		})
	}
	for _, c := range w.clients {
		switch {
		case !c.asked && len(c.answers) == 0:
			can(3, func() { w.ask(c) })
		case w.rng.IntN(50) == 0:
			can(1, func() { w.ask(c) })
		}
	}
	if at, ok := w.m.Next(); ok && (len(choices) == 0 || w.rng.IntN(30) == 0) {
		can(1, func() {
			w.now = max(w.now, at)
			w.apply(machine.Ticked{})
		})
	}
	if w.crashes > 0 && w.rng.IntN(40) == 0 {
		can(2, func() {
			w.crashes--
			w.crash()
		})
	}
	if len(choices) == 0 {
		return false
	}
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := w.rng.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			c.f()
			break
		}
	}
	return true
}

func sortedCalls(m map[uint64]*exec) []uint64 {
	var list []uint64
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// settled reports whether everybody is answered and nothing is left to do.
func (w *world) settled() bool {
	return !slices.ContainsFunc(w.clients, func(c *client) bool { return len(c.answers) == 0 }) && len(w.m.Requests()) == 0
}

// live runs until everything has ended.
func (w *world) live(moves int) {
	for range moves {
		if w.settled() {
			break
		}
		if !w.move() {
			break
		}
	}
	if !w.settled() {
		w.t.Errorf("not everything has ended: %+v", w.m.Requests())
	}
	for _, x := range w.execs {
		x.abort()
	}
	if len(w.views) > 0 {
		w.t.Errorf("views are left: %v", w.views)
	}
	if locks := w.m.Locks(); len(locks) > 0 {
		w.t.Errorf("locks are left: %v", locks)
	}
}

func number(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func bytesOf(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// fataler is what rapid's T and testing's have in common.
type fataler interface {
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}
