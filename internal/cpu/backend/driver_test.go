package backend

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
)

const ms = time.Millisecond

// stand is a driver with a fake backend.
type stand struct {
	*Driver
	t    *testing.T
	fake *fakeBackend
	book *profile.Book
}

func newStand(t *testing.T, name string, cores int) *stand {
	t.Helper()
	s := &stand{t: t, fake: newFakeBackend(), book: profile.NewBook(0)}
	s.Driver = s.driver(s.strategy(name, cores))
	return s
}

func (s *stand) strategy(name string, cores int) policy.Strategy {
	s.t.Helper()
	o := policy.Defaults(cores)
	o.Book = s.book
	p, err := policy.New(name, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *stand) driver(p policy.Strategy) *Driver {
	s.t.Helper()
	d, err := NewDriver(DriverOptions{Strategy: p, Backend: s.fake,
		Watch: WatchOptions{Cores: 1, Share: 1, Look: s.fake.look, Idle: func() time.Duration { return 0 }}})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *stand) arrive(c policy.Call) *Pending {
	s.t.Helper()
	p, err := s.Arrive(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// begin brings a call that must be admitted at once, and runs it.
func (s *stand) begin(id int, function string) (*Pending, *Task) {
	s.t.Helper()
	p := s.arrive(policy.Call{ID: policy.ID(id), Function: function})
	if !admitted(p) {
		s.t.Fatalf("call %d waits", id)
	}
	return p, s.run(p)
}

func (s *stand) run(p *Pending) *Task {
	s.t.Helper()
	task := &Task{o: TaskOptions{PID: int(p.call.ID)}}
	if err := p.Run(task); err != nil {
		s.t.Fatal(err)
	}
	return task
}

func admitted(p *Pending) bool {
	select {
	case <-p.Admitted():
		return true
	default:
		return false
	}
}

// wants compares what the backend was told.
func (s *stand) wants(want ...string) {
	s.t.Helper()
	if got := s.fake.wrote(); !slices.Equal(got, want) {
		s.t.Errorf("told %q, want %q", got, want)
	}
}

func TestDriverWithoutPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.None, 1)
		call, _ := s.begin(1, "f")
		time.Sleep(30 * ms)
		if call.End(0, false) {
			t.Error("to be retired")
		}
		s.wants("add 1 normal", "remove 1")
		if p := s.book.Get("f"); p.Mean() < 20*ms || p.Mean() > 30*ms {
			t.Errorf("learned %v", p.Mean())
		}
		if err := s.Close(); err != nil || !s.fake.closed {
			t.Errorf("%v, closed %v", err, s.fake.closed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDriverDemotesStopsAndContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		defer s.Close()
		first, _ := s.begin(1, "f")
		time.Sleep(14 * ms)
		s.wants("add 1 express")
		time.Sleep(3 * ms)
		s.wants("move 1 batch") // has used its 15 ms, and takes the slot
		second, task := s.begin(2, "f")
		time.Sleep(20 * ms)
		s.wants("add 2 express", "stop 2") // there is one slot
		used, _ := s.fake.look(task, false)
		time.Sleep(time.Second)
		if now, _ := s.fake.look(task, false); now != used {
			t.Errorf("stopped, it used %v after %v", now, used)
		}
		looks := s.Status().Stats.Looks
		first.End(0, false)
		s.wants("remove 1", "move 2 batch", "continue 2")
		if looks > 400 {
			t.Errorf("%d looks in a second", looks)
		}
		second.End(0, true)
		if v := s.Status(); v.Policy.Calls != 0 || v.Policy.Stops != 1 || v.Policy.Demotions != 1 {
			t.Errorf("%+v", v)
		}
	})
}

func TestDriverAdmitsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		defer s.Close()
		for range 20 {
			s.book.Observe("long", time.Second)
		}
		first := s.arrive(policy.Call{ID: 1, Function: "long"})
		second := s.arrive(policy.Call{ID: 2, Function: "long"})
		third := s.arrive(policy.Call{ID: 3, Function: "long"})
		if !admitted(first) || admitted(second) || admitted(third) {
			t.Fatal("not the first alone begins")
		}
		s.run(first)
		third.End(0, true) // gave up while it waited
		time.Sleep(500 * ms)
		if admitted(second) {
			t.Error("the second did not wait")
		}
		first.End(0, false)
		if !admitted(second) || second.Tier() != policy.Batch {
			t.Errorf("the second waits, in %v", second.Tier())
		}
		s.run(second)
		s.wants("add 1 batch", "remove 1", "add 2 batch")
		second.End(0, false)
	})
}

func TestDriverGivesTheSlotOfASleeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		defer s.Close()
		first, a := s.begin(1, "f")
		time.Sleep(20 * ms)
		second, _ := s.begin(2, "f")
		time.Sleep(20 * ms)
		s.wants("add 1 express", "move 1 batch", "add 2 express", "stop 2")
		s.fake.change(a, func(x *fakeTask) { x.asleep = true })
		time.Sleep(100 * ms)
		s.wants("move 2 batch", "continue 2")
		if v := s.Status().Policy; v.Sleeping != 1 {
			t.Errorf("%+v", v)
		}
		s.fake.change(a, func(x *fakeTask) { x.asleep = false })
		time.Sleep(100 * ms)
		got := s.fake.wrote()
		if len(got) == 0 || got[0] != "stop 1" && got[0] != "stop 2" {
			t.Errorf("both run: told %q", got)
		}
		first.End(0, false)
		second.End(0, false)
	})
}

func TestDriverKeepsCommandsUntilThereIsATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.None, 1)
		defer s.Close()
		script := &scripted{}
		s.Replace(script)
		script.next = []policy.Command{{Op: policy.Start, Call: 1, Tier: policy.Express}}
		call := s.arrive(policy.Call{ID: 1})
		script.next = []policy.Command{{Op: policy.Demote, Call: 1, Tier: policy.Batch}, {Op: policy.Stop, Call: 1}}
		call.Flag(0)
		s.wants()
		s.run(call)
		s.wants("add 1 batch", "stop 1")
		script.next = []policy.Command{{Op: policy.Continue, Call: 1, Tier: policy.Normal}, {Op: policy.Stop, Call: 99}}
		call.Due(time.Second)
		s.wants("move 1 normal", "continue 1")
		script.next = []policy.Command{{Op: policy.Adjust, Call: 1, Tier: policy.Normal}}
		call.Flag(policy.HoldsLock)
		s.wants()
		call.End(0, false)
		s.wants("remove 1")
		if want := []string{"Arrived", "Flagged", "Started", "Deadline", "Flagged", "Ended"}; !slices.Equal(script.seen, want) {
			t.Errorf("events %v, want %v", script.seen, want)
		}
	})
}

// scripted gives commands that a test has prepared, and notes the kinds of events.
type scripted struct {
	next    []policy.Command
	seen    []string
	load    float64
	threads int
	at      time.Duration
}

func (s *scripted) Name() string { return "scripted" }

func (s *scripted) Step(_ time.Duration, e policy.Event) []policy.Command {
	switch e := e.(type) {
	case policy.Loaded:
		s.load = e.Percent
		return nil
	case policy.Used:
		s.threads = e.Threads
	case policy.Tick:
		s.at = 0
	}
	s.seen = append(s.seen, fmt.Sprintf("%T", e)[len("policy."):])
	out := s.next
	s.next = nil
	return out
}

func (s *scripted) Next() time.Duration { return s.at }
func (s *scripted) View() policy.View   { return policy.View{} }

func TestDriverTellsTimeLoadAndThreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stand{t: t, fake: newFakeBackend()}
		script := &scripted{at: 50 * ms}
		s.Driver = s.driver(script)
		defer s.Close()
		time.Sleep(100 * ms)
		s.mu.Lock()
		if !slices.Equal(script.seen, []string{"Tick"}) {
			t.Errorf("events %v", script.seen)
		}
		script.next = []policy.Command{{Op: policy.Start, Call: 1, Tier: policy.Normal}}
		s.mu.Unlock()
		call, task := s.begin(1, "f")
		s.fake.change(task, func(x *fakeTask) { x.threads = 3 })
		time.Sleep(300 * ms)
		s.mu.Lock()
		if script.threads != 3 {
			t.Errorf("told of %d threads", script.threads)
		}
		if script.load != 100 { // nothing was idle
			t.Errorf("told of a load of %v", script.load)
		}
		s.mu.Unlock()
		s.fake.change(task, func(x *fakeTask) { x.ended = true }) // and nobody has waited for it
		time.Sleep(300 * ms)
		call.End(0, false)
	})
}

func TestDriverSaysWhatCannotBeUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stand{t: t, fake: newFakeBackend()}
		script := &scripted{next: []policy.Command{{Op: policy.Start, Call: 1, Tier: policy.Batch}}}
		s.Driver = s.driver(script)
		defer s.Close()
		call, task := s.begin(1, "f")
		s.fake.move, s.fake.remove = ErrOneWay, ErrOneWay
		script.next = []policy.Command{{Op: policy.Boost, Call: 1, Tier: policy.Express}}
		call.Flag(0)
		if task.Place().Tier != policy.Batch {
			t.Errorf("it is in %v", task.Place().Tier)
		}
		for range 2 {
			if !call.End(0, false) {
				t.Error("not to be retired")
			}
		}
		if n := s.Status().Stats.OneWay; n != 2 {
			t.Errorf("counted %d", n)
		}
		s.fake.remove = errors.New("broken")
		script.next = []policy.Command{{Op: policy.Start, Call: 2, Tier: policy.Batch}}
		other, _ := s.begin(2, "f")
		if other.End(0, false) {
			t.Error("to be retired for nothing")
		}
		if n := s.Status().Stats.Failed; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestDriverRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.None, 1)
		call, task := s.begin(1, "f")
		if _, err := s.Arrive(policy.Call{ID: 1}); err == nil {
			t.Error("a call arrived twice")
		}
		if err := call.Run(task); err == nil {
			t.Error("a call runs twice")
		}
		dead := s.arrive(policy.Call{ID: 2})
		if err := dead.Run(&Task{}); !errors.Is(err, ErrGone) {
			t.Errorf("a process that has ended runs: %v", err)
		}
		dead.End(0, true)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Arrive(policy.Call{ID: 3}); err == nil {
			t.Error("a call arrived after the end")
		}
		call.End(0, false)
		if _, err := NewDriver(DriverOptions{}); err == nil {
			t.Error("a driver of nothing")
		}
		if _, err := NewDriver(DriverOptions{Strategy: &scripted{}, Backend: s.fake, Watch: WatchOptions{Share: 2}}); err == nil {
			t.Error("a share of 2")
		}
	})
}

func TestDriverReplacesThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.None, 1)
		for range 20 {
			s.book.Observe("long", time.Second)
		}
		var calls []*Pending
		for id := range 3 {
			c, _ := s.begin(id+1, "long")
			calls = append(calls, c)
		}
		time.Sleep(50 * ms)
		s.fake.wrote()
		s.Replace(s.strategy(policy.Weft, 1))
		s.wants("move 1 batch", "stop 2", "stop 3")
		waits := s.arrive(policy.Call{ID: 4, Function: "long"})
		s.Replace(s.strategy(policy.None, 1))
		s.wants("move 1 normal", "continue 2", "continue 3")
		if !admitted(waits) {
			t.Error("a call still waits")
		}
		s.Replace(s.strategy(policy.Weft, 1))
		s.fake.wrote()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if pids := s.fake.stopped(); len(pids) > 0 {
			t.Errorf("%d are still stopped", pids)
		}
		for _, c := range calls {
			c.End(0, false)
		}
	})
}

func TestDriverAdmitsAllWhenItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		for range 20 {
			s.book.Observe("long", time.Second)
		}
		s.arrive(policy.Call{ID: 1, Function: "long"})
		waits := s.arrive(policy.Call{ID: 2, Function: "long"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		<-waits.Admitted()
		if err := waits.Run(&Task{o: TaskOptions{PID: 2}}); err == nil {
			t.Error("a closed driver took a task on")
		}
	})
}

func TestWatchStretches(t *testing.T) {
	o := WatchOptions{Cores: 2, Idle: func() time.Duration { return 0 }}
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	w := newWatch(o)
	var calls []*Pending
	for id := range 100 {
		p := &Pending{call: policy.Call{ID: policy.ID(id)}, added: true, budget: 15 * ms}
		calls = append(calls, p)
		w.begin(p, 0)
	}
	if got := calls[99].seen.next; got != 5*ms || w.stretch() != 1 {
		t.Errorf("without a cost: next at %v, %v times as seldom", got, w.stretch())
	}
	w.cost = 10 * time.Microsecond // 100 every 5 ms are 200 ms a second, 20 times the share
	if got := w.stretch(); got < 19.9 || got > 20.1 {
		t.Errorf("stretched by %v", got)
	}
	w.plan(calls[0], 0)
	if got := calls[0].seen; got.next != 15*ms || got.ask < 99*ms || got.ask > 101*ms {
		t.Errorf("asked at %v, looked at at %v", got.ask, got.next)
	}
	for _, p := range calls[1:] { // what is stopped costs nothing
		p.halted = true
		w.plan(p, 0)
	}
	w.plan(calls[0], 0)
	if got := calls[0].seen.next; len(w.queue) != 1 || got != 5*ms {
		t.Errorf("%d are looked at, next at %v", len(w.queue), got)
	}
	for _, c := range []struct {
		used, budget, want time.Duration
		width              int
		state              State
	}{
		{0, 15 * ms, 5 * ms, 1, Awake},
		{12 * ms, 15 * ms, 3 * ms, 1, Unknown},
		{12 * ms, 15 * ms, 1500 * time.Microsecond, 8, Awake}, // on two cores
		{15 * ms, 15 * ms, ms, 1, Awake},
		{12 * ms, 15 * ms, 5 * ms, 1, Asleep},
		{12 * ms, 0, 5 * ms, 1, Awake},
	} {
		p := calls[0]
		p.budget = c.budget
		p.seen.used, p.seen.width, p.seen.state, p.seen.pace = c.used, c.width, c.state, 5*ms
		w.plan(p, 0)
		if p.seen.next != c.want {
			t.Errorf("%+v: next at %v", c, p.seen.next)
		}
	}
}
