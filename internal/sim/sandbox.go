package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// The functions of the simulator. What one gives follows from its input alone.
const (
	fnMix  = "mix"  // a digest of its input
	fnSend = "send" // the same, seen from outside: it has a connection
	fnList = "list" // a short list of numbers, for a foreach
	fnEmit = "emit" // publishes its digest as a buffer, some of them large
	fnEat  = "eat"  // takes the buffer that is its standard input, and digests it
	fnLook = "look" // the same without taking it
)

// functions are those of every app of the simulator.
func functions() map[string]*domain.Function {
	all := map[string]*domain.Function{}
	for _, name := range []string{fnMix, fnSend, fnList, fnEmit, fnEat, fnLook} {
		all[name] = &domain.Function{Name: name, Memory: 1 << 20}
	}
	all[fnSend].Dial = []string{"example.org:80"}
	return all
}

// product is what a function makes of an input.
type product struct {
	output any
	bytes  []byte // of its slot "out"
	takes  bool   // its standard input is gone
}

// digest is a short name of a value.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sim: digest of %v: %v", v, err)) // values come from JSON
	}
	h := fnv.New64a()
	h.Write(b)
	return strconv.FormatUint(h.Sum64(), 36)
}

// compute is what the function does at a step.
func compute(function, path string, input any, stdin []byte) product {
	if stdin != nil {
		input = string(stdin)
	}
	d := digest([]any{function, input})
	switch function {
	case fnList:
		n := int(d[0])%3 + 1
		list := make([]any, n)
		for i := range list {
			list[i] = float64(i) + float64(d[1])
		}
		return product{output: map[string]any{"list": list}}
	case fnEmit:
		b := []byte(d)
		if d[len(d)-1]%2 == 0 {
			b = bytes.Repeat(b, 2000) // too large for a record
		}
		slot := strings.ReplaceAll(path, ".", "/") + "/out"
		return product{output: map[string]any{"$buffer": slot, "size": float64(len(b))}, bytes: b}
	case fnEat:
		return product{output: map[string]any{"d": d}, takes: true}
	}
	return product{output: map[string]any{"d": d, "long": strings.Repeat(d, int(d[0])%2*int(d[1])%2*6000)}}
}

// evaluate gives the values of expressions that are jq programs: digests of
// what they see.
func evaluate(expressions []string, scope any) []any {
	values := make([]any, len(expressions))
	for i, e := range expressions {
		values[i] = digest([]any{e, scope})
	}
	return values
}

// sandboxes is where calls run: for some time, perhaps not to their end.
type sandboxes struct {
	life *life
	open map[*sandbox]bool
}

var _ engine.Sandboxes = (*sandboxes)(nil)

func (s *sandboxes) Domain(o domain.Options) (engine.Domain, error) {
	d := &sandbox{sandboxes: s, o: o, slots: map[string]*slot{}, calls: map[uint64]*call{}}
	s.open[d] = true
	return d, nil
}

func (s *sandboxes) Evaluate(_ context.Context, expressions []string, scope any, done func([]any, error)) {
	values := evaluate(expressions, scope)
	s.life.loop.later(time.Millisecond, func() { done(values, nil) })
}

func (s *sandboxes) Prepare(string, ...*domain.Function) {}

// sandbox is the domain of a run.
type sandbox struct {
	*sandboxes
	o        domain.Options
	slots    map[string]*slot
	calls    map[uint64]*call
	held     int // slots that somebody holds
	finished bool
	closed   bool
}

var _ engine.Domain = (*sandbox)(nil)

type slot struct {
	by    string
	bytes []byte
	taken bool
}

// call is one under way, or done and to be committed or withdrawn.
type call struct {
	domain.Call
	product product
	done    bool
}

func (s *sandbox) Start(c domain.Call) {
	if s.closed || s.finished {
		s.life.report("run %s: call %s starts after its domain was finished", s.o.Run, c.Path)
	}
	s.life.started(s.o.Run, c)
	k := &call{Call: c}
	s.calls[c.ID] = k
	s.life.loop.later(20*time.Millisecond, func() { s.end(k) })
}

// end decides how a call ends.
func (s *sandbox) end(k *call) {
	if s.calls[k.ID] != k || s.finished {
		return
	}
	var failure *flow.Failure
	switch l := s.life.loop; {
	case l.chance(12):
		failure = &flow.Failure{Kind: domain.KindLost, Message: "its host ended", Free: true}
	case l.chance(12) && s.life.mayFail(k.Key):
		failure = &flow.Failure{Kind: domain.KindExit, Message: "exit status 1"}
	}
	k.done = true
	if failure != nil {
		s.o.Done(domain.Result{Call: k.ID, Failure: failure})
		return
	}
	var input any
	var stdin []byte
	if k.Stdin != "" {
		in := s.slots[k.Stdin]
		if in == nil || in.taken {
			s.o.Done(domain.Result{Call: k.ID, Failure: &flow.Failure{Kind: domain.KindRefused, Message: "no buffer " + k.Stdin, Permanent: true}})
			return
		}
		stdin = in.bytes
	} else if err := json.Unmarshal(k.Input, &input); err != nil {
		s.life.report("run %s: call %s: input %q: %v", s.o.Run, k.Path, k.Input, err)
	}
	k.product = compute(k.Function.Name, k.Path, input, stdin)
	out, err := json.Marshal(k.product.output)
	if err != nil {
		s.life.report("run %s: call %s: output: %v", s.o.Run, k.Path, err)
	}
	s.o.Done(domain.Result{Call: k.ID, Output: out})
}

func (s *sandbox) Stop(id uint64) { delete(s.calls, id) }

func (s *sandbox) Commit(id uint64) (domain.Effects, error) {
	k := s.calls[id]
	if k == nil || !k.done {
		s.life.report("run %s: commit of call %d, which is not done", s.o.Run, id)
		return domain.Effects{}, nil
	}
	delete(s.calls, id)
	var e domain.Effects
	if k.product.bytes != nil {
		name := k.Path + "/out"
		if s.slots[name] != nil {
			return e, fmt.Errorf("put %s: already published", name)
		}
		s.slots[name] = &slot{by: k.Path, bytes: k.product.bytes}
		p := domain.Slot{Name: name, By: k.Path, Size: int64(len(k.product.bytes))}
		if p.Size < 1000 {
			p.Inline = k.product.bytes
		}
		e.Puts = append(e.Puts, p)
	}
	if k.product.takes {
		s.slots[k.Stdin].taken = true
		e.Takes = append(e.Takes, k.Stdin)
	}
	return e, nil
}

func (s *sandbox) Withdraw(id uint64) { delete(s.calls, id) }

func (s *sandbox) Discard(path string) {
	for name, v := range s.slots {
		if strings.HasPrefix(v.by, path+"/") {
			delete(s.slots, name)
		}
	}
}

func (s *sandbox) Stuck(int) bool { return false }
func (s *sandbox) Break(int)      {}

func (s *sandbox) Restore(saved []domain.Saved) error {
	for _, v := range saved {
		b := v.Inline
		if b == nil && !v.Taken {
			r, err := v.Open()
			if err != nil {
				return err
			}
			b, err = io.ReadAll(r)
			r.Close()
			if err != nil {
				return err
			}
		}
		s.slots[v.Name] = &slot{by: v.By, bytes: b, taken: v.Taken}
	}
	return nil
}

func (s *sandbox) Hold(name string) (io.Reader, int64, func(), error) {
	v := s.slots[name]
	if v == nil {
		return nil, 0, nil, fmt.Errorf("hold %s: not there", name)
	}
	s.held++
	return bytes.NewReader(v.bytes), int64(len(v.bytes)), func() { s.held-- }, nil
}

func (s *sandbox) Open(name string) (io.Reader, int64, error) {
	v := s.slots[name]
	if v == nil || v.taken {
		return nil, 0, fmt.Errorf("open %s: not there", name)
	}
	return bytes.NewReader(v.bytes), int64(len(v.bytes)), nil
}

func (s *sandbox) Finish() { s.finished = true }

func (s *sandbox) Close() error {
	s.finished, s.closed = true, true
	delete(s.sandboxes.open, s)
	if s.held > 0 {
		s.life.report("run %s: %d slots are still held when its domain closes", s.o.Run, s.held)
	}
	return nil
}

// left names the domains that are open.
func (s *sandboxes) left() []string {
	var runs []string
	for d := range maps.Keys(s.open) {
		runs = append(runs, d.o.Run)
	}
	slices.Sort(runs)
	return runs
}
