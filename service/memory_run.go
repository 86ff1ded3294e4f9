package service

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// memoryRun is a run of a method in memory.
type memoryRun struct {
	*task
	to     wire.Target
	number int    // of the run, in its request
	within int    // transactions that the method is in by itself
	broken string // why it can only fail
	wrong  string // why it will, once a node knows what it has written
	unsent int    // bytes that were written since the last question

	questions int
	known     map[wire.Key]bool // keys that need not be asked for
	knownAt   int               // the epoch in which they need not

	migrates bool // it may write though it only reads
}

var _ engine = (*memoryRun)(nil)

// method runs a method. next are the arguments with which it continues.
func (t *task) method(to wire.Target, args [][]byte) (v wire.Value, next [][]byte) {
	t.runs++
	run := &memoryRun{task: t, to: to, number: t.runs}
	ctx := &Context{engine: run, to: to, request: t.id, attempt: 1, mode: t.memory.services.mode(to)}
	defer func() {
		ctx.engine = nil
		switch p := recover().(type) {
		case nil:
			v = run.returns(v)
		case continued:
			if v = run.continues(p.args); v.Code == wire.OK {
				next = p.args
			}
		case refusal:
			v = run.returns(wire.Value{Code: wire.Failed, Text: p.text})
		case parked:
			if t.depth > 0 { // it ends the request
				panic(p)
			}
			v = wire.Value{Code: wire.Refused, Text: p.text}
		case incompatible:
			if t.depth > 0 { // it ends the request
				panic(incompatible{fmt.Sprintf("%v: %s", to, p.text)})
			}
			v = wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%v: %s", to, p.text)}
		default:
			panic(p)
		}
	}()
	method, found := t.memory.services.method(to)
	v = valueOf(method(ctx, args))
	if !found {
		v.Code = wire.Refused
	}
	return v, nil
}

// nested runs a method that another one waits for: it is a part of the segment.
func (t *task) nested(c call) wire.Value {
	if why := t.memory.limited(c); why != "" {
		return wire.Value{Code: wire.Refused, Text: why}
	}
	if t.depth+1 >= depthMax {
		return wire.Value{Code: wire.Refused, Text: fmt.Sprintf("call %v: %d calls within each other are the most", c.to, depthMax)}
	}
	start, log := t.mark(), t.log
	t.depth++
	v, next := t.method(c.to, c.args)
	t.depth--
	if t.segment.number == start.number {
		t.log = log // it is run again
	}
	if t.mark() != start {
		t.epochs++ // it has written
	}
	if next != nil {
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("%v was called by a method: only the method that the request is for continues", c.to)}
	}
	if v.Code != wire.OK {
		t.rollback(start)
		t.fail("%v has failed: %s", c.to, v.Text)
	}
	if t.tx != nil && t.tx.doom != "" {
		v = wire.Value{Code: wire.Refused, Text: t.tx.doom}
	}
	return v
}

// fail has the transaction that is open come to nothing, if there is one.
func (t *task) fail(format string, args ...any) {
	if t.tx != nil && t.tx.doom == "" {
		t.tx.doom = fmt.Sprintf(format, args...)
	}
}

// live unwinds what is in a transaction that comes to nothing.
func (t *task) live() {
	if t.tx != nil && t.tx.doom != "" {
		panic(refusal{t.tx.doom})
	}
}

// live unwinds a method that can only fail, too.
func (r *memoryRun) live() {
	if r.task.live(); r.broken != "" {
		panic(refusal{r.broken})
	}
}

// more refuses what does more than to read, in a snapshot.
func (r *memoryRun) more(what string, args ...any) {
	if r.looks != "" {
		r.live()
		r.broken = fmt.Sprintf(what, args...) + ": " + r.looks
		r.live()
	}
}

// mayWait refuses what waits in a transaction.
func (t *task) mayWait(what string) {
	t.fail("%s: a transaction holds locks, and does not wait", what)
	t.live()
}

func (r *memoryRun) place(k wire.Key) place { return place{r.to.Service, r.to.Object, k} }

func (r *memoryRun) read(keys []wire.Key, _ bool) []wire.Value {
	var asked []wire.Key
	for _, k := range keys {
		if r.unknown(k) {
			asked = append(asked, k)
		}
	}
	r.task.live()
	if len(asked) > 0 {
		r.asks(0)
	}
	for _, k := range asked {
		if len(k.Field) > nameMax || len(k.Entry) > nameMax {
			panic(refusal{tooLong("read", k)})
		}
	}
	values := make([]wire.Value, len(keys))
	for i, k := range keys {
		data, ok := r.memory.state[r.place(k)]
		if values[i].Data = data; !ok {
			values[i].Code = wire.Absent
		}
		if slices.Contains(asked, k) {
			r.log += size(values[i]) + len(k.Entry)
		}
	}
	return values
}

func (r *memoryRun) write(w wire.Write) {
	r.migrates = r.migrates || w.Key == versionKey
	if r.task.live(); !r.migrates {
		r.more("write %v", w.Key)
	}
	at := r.place(w.Key)
	bytes := len(at.service) + len(at.object) + len(w.Key.Field) + len(w.Key.Entry) + len(w.Value)
	r.written = append(r.written, written{at, r.memory.state[at], bytes})
	r.size += bytes
	r.unknown(w.Key)
	if w.Deleted {
		delete(r.memory.state, at)
	} else {
		r.memory.state[at] = w.Value
	}
	r.checks(w)
}

func (r *memoryRun) scan(field, after string, limit int) []wire.Value {
	r.asks(0)
	var list []wire.Value
	for p, data := range r.memory.state {
		if p == r.place(p.key) && p.key.Field == field && p.key.Item && p.key.Entry > after {
			list = append(list, wire.Value{Text: p.key.Entry, Data: data})
		}
	}
	slices.SortFunc(list, func(a, b wire.Value) int { return strings.Compare(a.Text, b.Text) })
	list = list[:min(len(list), limit)]
	r.log += size(list...)
	return list
}

func (r *memoryRun) invoke(to wire.Target, args [][]byte) wire.Value {
	r.asks(length(args))
	v := r.nested(call{to, args})
	r.log += size(v)
	if v.Code == wire.Refused && r.within > 0 {
		panic(refusal{v.Text})
	}
	return v
}

// later prepares what begins when the segment has ended.
func (r *memoryRun) later(delay time.Duration, c call) *promised {
	if why := r.memory.limited(c); why != "" {
		r.spoils(why)
	}
	p := &promised{task: r.task, call: c, begins: r.memory.now + int64(delay)}
	r.sends = append(r.sends, p)
	return p
}

func (r *memoryRun) handle(p *promised) (handle uint64) {
	r.handles = append(r.handles, p)
	return uint64(len(r.handles))
}

func (r *memoryRun) launch(to wire.Target, args [][]byte) (handle uint64) {
	if r.asks(length(args)); r.tx == nil && r.looks == "" {
		return r.handle(r.later(0, call{to, args}))
	}
	v := r.nested(call{to, args})
	r.log += size(v)
	return r.handle(&promised{value: &v})
}

func (r *memoryRun) send(delay time.Duration, to wire.Target, args [][]byte) {
	r.asks(length(args))
	r.more("send %v", to)
	r.later(delay, call{to, args})
}

func (r *memoryRun) timer(d time.Duration) (handle uint64) {
	r.asks(0)
	return r.handle(&promised{task: r.task, due: r.memory.now + int64(d)})
}

func (r *memoryRun) promise(name string) (handle uint64) {
	r.asks(len(name))
	if name == "" || len(name) > nameMax {
		r.spoils(fmt.Sprintf("promise %q: a name has 1 to %d bytes", name[:min(len(name), 32)], nameMax))
	}
	return r.handle(&promised{task: r.task, name: name})
}

func (r *memoryRun) await(anyOf bool, handles []uint64) []wire.Value {
	r.asks(8 * len(handles))
	if len(handles) == 0 {
		panic(refusal{"wait: for nothing"})
	}
	var waits []*promised
	ready := 0
	for _, h := range handles {
		p := r.handles[h-1]
		if p.value == nil && r.tx != nil {
			r.mayWait(fmt.Sprint("wait for ", handles))
		}
		if p.value == nil && r.looks != "" {
			panic(refusal{fmt.Sprintf("wait for %v: %s", handles, r.looks)})
		}
		if _, ok := p.get(); ok {
			ready++
		}
		waits = append(waits, p)
	}
	first := waits[0]
	at := slices.Index(r.sends, first)
	switch {
	case ready == len(waits) || anyOf && ready > 0:
	case len(waits) == 1 && at >= 0: // it becomes a part of the segment
		r.sends = slices.Delete(r.sends, at, at+1)
		v := r.nested(first.call)
		first.value = &v
	default:
		r.pause(waits, anyOf)
	}
	values := make([]wire.Value, len(waits))
	for i, p := range waits {
		v, ok := p.get()
		if values[i] = v; !ok {
			values[i] = wire.Value{Code: wire.Pending}
		}
	}
	if n := size(values...); n > answerMax && len(values) > 1 {
		panic(refusal{fmt.Sprintf("wait for %v: %d results of %d bytes together, at most %d: wait for fewer at a time", handles, len(values), n, answerMax)})
	}
	r.log += size(values...)
	return values
}

func (r *memoryRun) transact(part func() error) error {
	outer := r.tx
	if outer == nil {
		r.tx = &transaction{start: r.mark()}
	}
	r.counts(0)
	r.within++
	err := attempt(part)
	r.within--
	if err != nil {
		r.wrong = "" // it is dropped
	}
	r.counts(0)
	if err != nil && outer != nil {
		r.fail("%v has aborted its part of the transaction", r.to)
	}
	tx := r.tx
	if err == nil && tx.doom != "" {
		err = &Error{Text: tx.doom}
	}
	if outer == nil {
		r.tx = nil
		if err != nil {
			r.rollback(tx.start)
		}
	}
	return err
}

func (r *memoryRun) run(name string, effect func(key string) wire.Value) wire.Value {
	r.asks(len(name))
	r.mayWait("run " + name)
	if r.looks != "" {
		panic(refusal{"run " + name + ": " + r.looks})
	}
	r.keeps()
	r.flush()
	r.effects++
	v := effect(fmt.Sprintf("%s:%s:%d", r.id, name, r.effects))
	if n := len(v.Data) + len(v.Text); n > valueMax {
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("a result of %d bytes, at most %d", len(v.Data), valueMax)}
	}
	r.log += size(v)
	return v
}

func (r *memoryRun) compensate(to wire.Target, args [][]byte) {
	r.asks(length(args))
	if why := r.memory.limited(call{to, args}); why != "" {
		r.spoils(why)
	}
	r.more("compensate %v", to)
	r.compensations = append(r.compensations, call{to, args})
}

func (r *memoryRun) resume(args [][]byte) {
	if r.within > 0 {
		panic(errContinue)
	}
	if r.depth == 0 {
		r.more("continue")
	}
	panic(continued{append([][]byte{}, args...)})
}

func (r *memoryRun) now() int64 { return r.memory.now }
func (r *memoryRun) epoch() int { return r.epochs }

// seed is another one for each run of a method.
func (r *memoryRun) seed() uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, r.id, " ", r.number)
	return h.Sum64()
}
