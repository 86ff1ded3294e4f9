package machine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// access is what a request of an exploration does next: it reads a key, and if it is
// to write that, it appends its own number to what it has read when it returns.
type access struct {
	key   byte
	write bool
}

// scene is a moment of an exploration. It is made again from the moves that led to
// it, since a machine cannot be copied.
type scene struct {
	t       *testing.T
	plans   [][]access
	m       *machine.Machine
	now     int64
	log     [][]machine.Op
	flushed int
	gated   []gated
	actors  []actor
	acked   []string // by request: what it was answered, with a mark in front
	crashed bool
}

// actor is the execution of a request.
type actor struct {
	call  uint64 // 0: there is none
	seq   uint64
	waits bool
	seen  []string
}

const (
	flushMove = 50
	crashMove = 60 // of the log, what was flushed is left
	tornMove  = 61 // all of the log is left
)

func raise(t *testing.T, plans [][]access) *scene {
	s := &scene{t: t, plans: plans, acked: make([]string, len(plans))}
	s.live()
	return s
}

// live begins a life of the node: everybody who was not answered asks (again).
func (s *scene) live() {
	s.m = machine.New(machine.Options{})
	s.actors = make([]actor, len(s.plans))
	for i := range s.plans {
		if s.acked[i] != "" {
			continue
		}
		id := string(rune('0' + i))
		ev := machine.Begun{Request: record.Request{ID: id, Call: record.Call{To: wire.Target{Service: "s", Method: id}}, Keep: true}, Waiter: uint64(i + 1)}
		if data, ok := s.state()[record.Done(id)]; ok {
			r, err := record.DecodeResult(data)
			if err != nil {
				s.t.Fatal(err)
			}
			ev.Result = &r
		}
		s.apply(ev)
	}
}

func (s *scene) state() map[string][]byte {
	state := map[string][]byte{}
	for _, ops := range s.log {
		store(state, ops)
	}
	return state
}

func (s *scene) apply(ev machine.Event) {
	events := []machine.Event{ev}
	for len(events) > 0 {
		s.now++
		effects := s.m.Apply(s.now, events[0])
		events = events[1:]
		for _, e := range effects {
			switch e := e.(type) {
			case machine.Append:
				s.log = append(s.log, e.Ops)
			case machine.Load:
				l := machine.Loaded{Load: e.Load}
				state := s.state()
				for _, k := range e.Keys {
					l.Values = append(l.Values, wire.Value{Data: state[k]})
				}
				events = append(events, l)
			case machine.Send:
				switch m := e.Message.(type) {
				case *wire.Start:
					s.actors[m.Request[0]-'0'] = actor{call: m.Call}
				case *wire.Answer:
					a := &s.actors[slices.IndexFunc(s.actors, func(a actor) bool { return a.call == m.Call })]
					a.waits = false
					a.seen = append(a.seen, string(m.List[0].Data))
				}
			case machine.Free:
				if i := slices.IndexFunc(s.actors, func(a actor) bool { return a.call == e.Call }); i >= 0 {
					s.actors[i] = actor{}
				}
			case machine.Ended: // for who counts
			case machine.Reply:
				s.gated = append(s.gated, gated{len(s.log), func() { s.acked[e.Waiter-1] = "=" + string(e.Value.Data) }})
			default:
				s.t.Fatalf("%v: unexpected %T %+v", s.plans, e, e)
			}
		}
	}
	s.open()
}

func (s *scene) open() {
	for len(s.gated) > 0 && s.gated[0].at <= s.flushed {
		s.gated[0].f()
		s.gated = s.gated[1:]
	}
}

func key(k byte) wire.Key { return wire.Key{Field: string(rune(k))} }

func (s *scene) move(n int) {
	switch n {
	case flushMove:
		s.flushed = len(s.log)
		s.open()
		return
	case crashMove, tornMove:
		if n == crashMove {
			s.log = s.log[:s.flushed:s.flushed]
		}
		s.flushed, s.gated, s.crashed = len(s.log), nil, true
		s.live()
		return
	}
	a := &s.actors[n]
	a.seq++
	a.waits = true
	q := wire.Question{Call: a.call, Seq: a.seq}
	plan := s.plans[n]
	if int(a.seq) <= len(plan) {
		step := plan[a.seq-1]
		s.apply(machine.Asked{Message: &wire.Read{Question: q, Keys: []wire.Key{key(step.key)}, Update: step.write}})
		return
	}
	for i, step := range plan {
		if step.write {
			q.Writes = append(q.Writes, wire.Write{Key: key(step.key), Value: []byte(a.seen[i] + string(rune('0'+n)))})
		}
	}
	s.apply(machine.Asked{Message: &wire.Return{Question: q, Value: wire.Value{Data: []byte(strings.Join(a.seen, ","))}}})
}

func (s *scene) moves() []int {
	var list []int
	for i, a := range s.actors {
		if a.call != 0 && !a.waits {
			list = append(list, i)
		}
	}
	if s.flushed < len(s.log) {
		list = append(list, flushMove)
	}
	if !s.crashed {
		if list = append(list, tornMove); s.flushed < len(s.log) {
			list = append(list, crashMove)
		}
	}
	return list
}

// fingerprint is equal for scenes that go on in the same way.
func (s *scene) fingerprint() string {
	var b strings.Builder
	fmt.Fprint(&b, s.crashed, s.flushed, s.acked)
	for _, a := range s.actors {
		fmt.Fprint(&b, a.call != 0, a.waits, a.seq, a.seen)
	}
	for _, l := range s.m.Locks() {
		fmt.Fprint(&b, l.Request, l.Key, l.Mode, l.Waiting)
	}
	for _, ops := range s.log {
		b.WriteString(parse(s.t, ops).id)
	}
	return b.String()
}

// check holds the log against running the requests one at a time in its order.
func (s *scene) check() {
	state := map[byte]string{}
	happened := map[string]bool{}
	for _, ops := range s.log {
		b := parse(s.t, ops)
		if happened[b.id] {
			s.t.Fatalf("%v: request %s happens twice", s.plans, b.id)
		}
		happened[b.id] = true
		var seen []string
		plan := s.plans[b.id[0]-'0']
		for _, step := range plan {
			seen = append(seen, state[step.key])
		}
		for i, step := range plan {
			if step.write {
				state[step.key] = seen[i] + b.id
			}
		}
		if want := strings.Join(seen, ","); string(b.done.Value.Data) != want {
			s.t.Fatalf("%v: request %s has read %q, one at a time it reads %q", s.plans, b.id, b.done.Value.Data, want)
		}
	}
	for i, a := range s.acked {
		if a != "" && !happened[string(rune('0'+i))] {
			s.t.Fatalf("%v: request %d was answered, and is lost", s.plans, i)
		}
	}
}

// visit makes every scene that requests can get into, and returns how many there
// are. From each one, the end can be reached without a crash.
func visit(t *testing.T, plans [][]access) int {
	schedules := [][]int{nil}
	first := raise(t, plans)
	numbers := map[string]int{first.fingerprint(): 0}
	from := [][]int{nil}
	var ends []int
	for n := 0; n < len(schedules); n++ {
		again := func() *scene {
			s := raise(t, plans)
			for _, m := range schedules[n] {
				s.move(m)
			}
			return s
		}
		s := again()
		s.check()
		if !slices.Contains(s.acked, "") {
			if len(s.m.Requests()) > 0 || len(s.m.Locks()) > 0 {
				t.Fatalf("%v: left are %v, %v", plans, s.m.Requests(), s.m.Locks())
			}
			ends = append(ends, n)
		}
		for i, m := range s.moves() {
			next := s
			if i < len(s.moves())-1 {
				next = again()
			}
			next.move(m)
			id := next.fingerprint()
			at, seen := numbers[id]
			if !seen {
				at = len(schedules)
				numbers[id] = at
				schedules = append(schedules, append(slices.Clone(schedules[n]), m))
				from = append(from, nil)
			}
			if m < crashMove {
				from[at] = append(from[at], n)
			}
			if next == s {
				break
			}
		}
	}
	ending := make([]bool, len(schedules))
	for len(ends) > 0 {
		n := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		if !ending[n] {
			ending[n] = true
			ends = append(ends, from[n]...)
		}
	}
	if n := slices.Index(ending, false); n >= 0 {
		t.Fatalf("%v never end after %v", plans, schedules[n])
	}
	return len(schedules)
}

// Three requests that read and write two of three keys each, upgrades included, in
// every order, with a crash at any moment that loses what was not flushed, or
// nothing: each one ends, has happened once, as if alone, and what was answered
// stays.
func TestEveryOrder(t *testing.T) {
	sample := 251
	if *every {
		sample = 1
	}
	var plans [][]access
	for _, a := range "abc" {
		for _, b := range "abc" {
			for modes := range 4 {
				p := []access{{byte(a), modes&1 > 0}, {byte(b), modes&2 > 0}}
				if a != b || modes == 2 {
					plans = append(plans, p)
				}
			}
		}
	}
	all, configurations, scenes := 0, 0, 0
	config := make([][]access, 3)
	var choose func(i int, next byte)
	choose = func(i int, next byte) {
		if i == len(config) {
			if all++; all%sample == 0 {
				configurations++
				scenes += visit(t, config)
			}
			return
		}
		for _, p := range plans { // keys are named in the order of their first use
			named := next
			for _, a := range p {
				if a.key == named {
					named++
				}
			}
			if !slices.ContainsFunc(p, func(a access) bool { return a.key >= named }) {
				config[i] = p
				choose(i+1, named)
			}
		}
	}
	choose(0, 'a')
	t.Logf("%d of %d configurations, %d scenes", configurations, all, scenes)
}
