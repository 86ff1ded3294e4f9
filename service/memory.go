package service

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// Memory is services in plain memory, for tests, and what every other way to run them
// must look like. Requests run one at a time, in the order in which they came, each from one moment at which it waits to the
// next. Nothing fails but what methods return.
//
// Its time stands still, and begins in 2000, until a [Call] has to wait for it, or [Memory.Advance].
// A method that panics panics in the test.
//
// The bounds of a node hold: values, results and arguments of 1 MiB, names and keys of 200 bytes, 4 MiB that are
// written at a time, 32 calls within each other, 65,536 questions of a method. Those of questions and of the journal, 4 MiB, are
// met about where a node does.
type Memory struct {
	services services

	mu       sync.Mutex // guards all below; held while anything runs
	state    map[place][]byte
	now      int64
	requests int
	tasks    []*task                  // requests that have not ended, in their order
	results  map[string]wire.Value    // of those that were accepted
	choose   func(ready []string) int // nil: the first one
}

// place is a key in the state of an object.
type place struct {
	service, object string
	key             wire.Key
}

// NewMemory makes empty services.
func NewMemory(all ...Service) *Memory {
	return &Memory{services: byName(all), state: map[place][]byte{}, results: map[string]wire.Value{}, now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()}
}

// call is Call from outside of methods.
func (m *Memory) call(to wire.Target, args [][]byte) wire.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	if why := m.limited(call{to, args}); why != "" {
		return wire.Value{Code: wire.Refused, Text: why}
	}
	t := m.add(to, args, m.now)
	for {
		m.settle()
		if t.ended {
			return t.result
		}
		if !m.advance() {
			return wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%v waits for %s, and nobody is left to say it", to, t.waitsFor())}
		}
	}
}

// Accept begins a request that nobody waits for, and returns its ID when it has ended
// or waits.
func Accept[R any](m *Memory, r Request[R]) (id string, err error) {
	if r.err != nil {
		return "", r.err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if why := m.limited(call{r.to, r.args}); why != "" {
		return "", &Error{Text: why, Refused: true}
	}
	t := m.add(r.to, r.args, m.now)
	t.accepted = true
	m.settle()
	return t.id, nil
}

// Result is what a request that was accepted has ended with.
func Result[R any](m *Memory, request string) (r R, ended bool, err error) {
	m.mu.Lock()
	v, ended := m.results[request]
	m.mu.Unlock()
	if ended {
		r, err = decoded[R](v)
	}
	return r, ended, err
}

// Order has choose say, instead of the order in which they came, which request goes on
// next: for tests that look for what concurrent requests can come to. choose is given
// those that can, in that order, and at the end "" if time can pass until something
// happens. It returns an index, or -1 for none: Advance(0) asks again.
func (m *Memory) Order(choose func(ready []string) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.choose = choose
}

// Resolve gives a promise of a request its value; the first one stands. What waits
// for it goes on before Resolve returns.
func (m *Memory) Resolve(request, name string, v any) error {
	return m.resolve(request, name, valueOf(v, nil))
}

// Reject has a promise fail.
func (m *Memory) Reject(request, name string, err error) error {
	return m.resolve(request, name, valueOf(nil, err))
}

func (m *Memory) resolve(request, name string, v wire.Value) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.tasks, func(t *task) bool { return t.id == request })
	if i < 0 {
		return fmt.Errorf("resolve %s: request %s is not there, or has ended", name, request)
	}
	if _, known := m.tasks[i].promises[name]; !known {
		m.tasks[i].promises[name] = v
	}
	m.settle()
	return nil
}

// Advance lets time pass, with all that happens in it.
func (m *Memory) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until := m.now + int64(d)
	m.settle()
	for {
		if at, ok := m.next(); !ok || at > until {
			break
		}
		m.advance()
		m.settle()
	}
	m.now = max(m.now, until)
}

// Close ends the requests that are left, which leave nothing behind. Who looks at many orders closes each memory.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tasks {
		t.stop()
	}
	m.tasks = nil
}

// State lists all that is stored, one line each, in order: SERVICE/OBJECT FIELD[ENTRY] JSON.
func (m *Memory) State() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for p, data := range m.state {
		lines = append(lines, fmt.Sprintf("%s/%s %v %s", p.service, p.object, p.key, data))
	}
	slices.Sort(lines)
	return lines
}

// add takes in a request.
func (m *Memory) add(to wire.Target, args [][]byte, due int64) *task {
	m.requests++
	t := &task{memory: m, id: fmt.Sprint("request-", m.requests), own: to, due: due, promises: map[string]wire.Value{}}
	t.resume, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			if p := recover(); p != nil && p != any(aborted{}) {
				panic(p)
			}
		}()
		t.main(to, args)
	})
	m.tasks = append(m.tasks, t)
	return t
}

// settle runs requests until all that are left wait.
func (m *Memory) settle() {
	for {
		t := m.pick()
		if t == nil {
			return
		}
		t.resume()
		if t.ended {
			m.tasks = slices.DeleteFunc(m.tasks, func(other *task) bool { return other == t })
			if t.accepted {
				m.results[t.id] = t.result
			}
		}
	}
}

// pick finds the request that goes on.
func (m *Memory) pick() *task {
	for {
		var ready []*task
		for _, t := range m.tasks {
			if t.due <= m.now && (t.waits == nil || t.ready()) {
				if m.choose == nil {
					return t
				}
				ready = append(ready, t)
			}
		}
		if m.choose == nil {
			return nil
		}
		var names []string
		for _, t := range ready {
			names = append(names, t.id)
		}
		if _, ok := m.next(); ok {
			names = append(names, "")
		}
		if len(names) == 0 {
			return nil
		}
		switch i := m.choose(names); {
		case i < 0:
			return nil
		case i < len(ready):
			return ready[i]
		}
		m.advance()
	}
}

// next is the next time at which something happens.
func (m *Memory) next() (at int64, ok bool) {
	for _, t := range m.tasks {
		times := []int64{t.due}
		for _, h := range t.waits {
			times = append(times, h.due)
		}
		for _, d := range times {
			if d > m.now && (!ok || d < at) {
				at, ok = d, true
			}
		}
	}
	return at, ok
}

func (m *Memory) advance() bool {
	at, ok := m.next()
	if ok {
		m.now = at
	}
	return ok
}

// task is a request.
type task struct {
	memory   *Memory
	id       string
	own      wire.Target // its method
	accepted bool
	due      int64 // when it begins
	resume   func() (struct{}, bool)
	stop     func()
	yield    func(struct{}) bool // lets others run

	segment
	depth    int    // of calls
	looks    string // it only reads, and why
	undoes   []call // compensations of the segments before
	handles  []*promised
	effects  int
	runs     int // of methods
	log      int // bytes of questions and answers in this segment
	journal  int // bytes of those in the segments before
	promises map[string]wire.Value
	waits    []*promised
	any      bool
	ended    bool
	result   wire.Value
}

// call is a method with its arguments.
type call struct {
	to   wire.Target
	args [][]byte
}

// promised is what a handle stands for.
type promised struct {
	task   *task
	value  *wire.Value // of a call that was part of a segment
	call   call
	begins int64 // of a call that begins when the segment has ended
	child  *task
	name   string // of a promise
	due    int64  // of a timer
}

func (p *promised) get() (wire.Value, bool) {
	switch {
	case p.value != nil:
		return *p.value, true
	case p.child != nil:
		return p.child.result, p.child.ended
	case p.name != "":
		v, ok := p.task.promises[p.name]
		return v, ok
	case p.due != 0:
		return wire.Value{}, p.task.memory.now >= p.due
	}
	return wire.Value{}, false
}

func (t *task) ready() bool {
	n := 0
	for _, p := range t.waits {
		if _, ok := p.get(); ok {
			n++
		}
	}
	return n == len(t.waits) || t.any && n > 0
}

func (t *task) waitsFor() string {
	var names []string
	for _, p := range t.waits {
		if _, ok := p.get(); !ok {
			names = append(names, cmp.Or(p.name, "a call"))
		}
	}
	return strings.Join(names, ", ")
}

// main is the request: its method, again where it continues.
func (t *task) main(to wire.Target, args [][]byte) {
	if t.memory.services.mode(to) == snapshot {
		t.looks = fmt.Sprintf("%v is a snapshot, and only reads", to)
	}
	for {
		v, next := t.method(to, args)
		if next == nil {
			t.finish(v)
			return
		}
		args = next
		t.flush()
		t.log, t.journal = 0, 0
	}
}

func (t *task) finish(v wire.Value) {
	if v.Code != wire.OK {
		t.rollback(t.start())
	}
	t.flush()
	t.ended, t.result = true, v
	if v.Code != wire.OK {
		for _, c := range slices.Backward(t.undoes) {
			t.memory.add(c.to, c.args, t.memory.now)
		}
	}
}

// flush ends a segment: what it has done stands, and what it has sent begins.
func (t *task) flush() {
	t.segment.number++
	t.epochs++
	t.written, t.size = nil, 0
	for _, p := range t.sends {
		p.child = t.memory.add(p.call.to, p.call.args, p.begins)
	}
	t.sends = nil
	t.undoes = append(t.undoes, t.compensations...)
	t.compensations = nil
}

// pause waits.
func (t *task) pause(waits []*promised, anyOf bool) {
	t.keeps()
	t.flush()
	t.waits, t.any = waits, anyOf
	for !t.ready() {
		if !t.yield(struct{}{}) {
			panic(aborted{})
		}
	}
	t.waits = nil
}

// segment is what a request has done since it last waited.
type segment struct {
	number        int
	written       []written
	size          int // bytes of it
	sends         []*promised
	compensations []call
	tx            *transaction
	epochs        int // that something was taken back, or others had their turn
}

// written is what a place was before it was written.
type written struct {
	at   place
	data []byte // nil: nothing
	size int    // of the write, in bytes
}

// transaction is a part of a segment that can come to nothing.
type transaction struct {
	start mark
	doom  string // why it can only come to nothing
}

// mark is a moment of a segment; one of an earlier segment is the beginning of this one.
type mark struct{ number, written, sends, compensations int }

func (s *segment) start() mark { return mark{number: s.number} }

func (s *segment) mark() mark {
	return mark{s.number, len(s.written), len(s.sends), len(s.compensations)}
}

func (t *task) rollback(to mark) {
	t.epochs++
	if to.number != t.segment.number {
		to = t.start()
	}
	for _, w := range slices.Backward(t.written[to.written:]) {
		if w.data == nil {
			delete(t.memory.state, w.at)
		} else {
			t.memory.state[w.at] = w.data
		}
		t.size -= w.size
	}
	t.written, t.sends, t.compensations = t.written[:to.written], t.sends[:to.sends], t.compensations[:to.compensations]
}
