package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/workload"
)

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
	product workload.Product
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
	k.product = workload.Compute(k.Function.Name, k.Path, k.Attempt, input, stdin)
	if k.product.Fails {
		s.o.Done(domain.Result{Call: k.ID, Failure: &flow.Failure{Kind: workload.KindExit, Message: "exit status 1"}})
		return
	}
	out, err := json.Marshal(k.product.Output)
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
	if k.product.Bytes != nil {
		name := workload.SlotAt(k.Path)
		if s.slots[name] != nil {
			return e, fmt.Errorf("put %s: already published", name)
		}
		s.slots[name] = &slot{by: k.Path, bytes: k.product.Bytes}
		p := domain.Slot{Name: name, By: k.Path, Size: int64(len(k.product.Bytes))}
		if p.Size < 1000 {
			p.Inline = k.product.Bytes
		}
		e.Puts = append(e.Puts, p)
	}
	if k.product.Takes {
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
