package scheduler

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/store/memory"
)

// quiet is a scheduler that commands nothing.
func quiet(t testing.TB, change func(s *Settings)) *Scheduler {
	t.Helper()
	settings := Defaults(2)
	settings.Backend = backend.NameNone
	if change != nil {
		change(&settings)
	}
	s, err := New(Options{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestNoSchedulerDoesNothing(t *testing.T) {
	var none *Scheduler
	off := quiet(t, func(s *Settings) { s.Policy = policy.None })
	for _, s := range []*Scheduler{none, off} {
		c := s.Begin(Demand{App: "a", Function: "f"})
		if c.scheduled() || !c.Then(func() { t.Error("told later") }) || c.Apart() || c.End(time.Second, false) {
			t.Errorf("a call is scheduled: %+v", c)
		}
		c.Enter(s.Sandbox(Process{PID: 1}), 1)
		c.Leave()
		c.Owes(true)
		c.Own(func() (Process, bool) { t.Error("looked for its process"); return Process{}, false })
		if st := s.Status(); st.Settings.Policy != policy.None || len(st.Profiles) != 0 || st.Fairness != 1 {
			t.Errorf("status %+v", st)
		}
	}
	if err := none.Apply(Change{Policy: policy.Weft}); !errors.Is(err, ErrSetting) {
		t.Errorf("none was changed: %v", err)
	}
}

func TestABackendThatIsNotThereChangesNothing(t *testing.T) {
	s, err := New(Options{Settings: Settings{Policy: policy.ALPS, Backend: backend.NameNone, Options: policy.Defaults(2)},
		Make: func(name string, o backend.Options) (backend.Backend, []string, error) {
			if name == backend.NameFIFO {
				return nil, nil, backend.ErrUnavailable
			}
			return backend.New(name, o)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Apply(Change{Policy: policy.SFS, Backend: backend.NameFIFO}); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("%v, want that it is not available", err)
	}
	if st := s.Status().Settings; st.Policy != policy.ALPS || st.Backend != backend.NameNone {
		t.Errorf("the settings are %s, %s", st.Policy, st.Backend)
	}
	c := s.Begin(Demand{App: "a", Function: "f"})
	if c == nil {
		t.Fatal("nothing is scheduled any more")
	}
	c.End(time.Millisecond, false)
}

// A call that began while the policy was none is counted in its sandbox, so that nobody there
// is stopped while it runs.
func TestCallsOfNoPolicyAreCounted(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		s := quiet(t, func(s *Settings) { s.Policy = policy.None })
		p := Process{PID: cmd.Process.Pid}
		b := s.Sandbox(p)
		if mixed {
			b = s.Worker(func() (Process, bool) { return p, true })
		}
		defer b.Close()
		begin := func(number uint64) *Call {
			c := s.Begin(Demand{App: "a", Function: "long"})
			<-c.Admitted()
			c.Enter(b, number)
			return c
		}
		old, left := begin(1), begin(2)
		if err := s.Apply(Change{Policy: policy.Weft}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			s.Begin(Demand{App: "a", Function: "long"}).End(time.Second, false)
		}
		long := begin(3)
		if !b.attachTo(long, func(*backend.TaskOptions) bool { return true }) {
			t.Fatal("it has no task")
		}
		may := func() bool { return s.Status().Calls[0].Call.Flags&policy.Unstoppable == 0 }
		if may() {
			t.Error("it may be stopped beside two that nobody schedules")
		}
		left.Leave()
		if may() {
			t.Error("it may be stopped beside one that nobody schedules")
		}
		if old.End(time.Second, false) || !may() {
			t.Error("it may not be stopped alone")
		}
		left.End(0, true)
		long.End(0, true)
		if p := s.Status().Profiles; len(p) != 1 || p[0].Calls != 12 {
			t.Errorf("a call that nobody scheduled was learned: %+v", p)
		}
	}
}

// A known long call waits while another one has the slot, and is told when it may begin;
// one that ends before is not.
func TestACallIsToldWhenItMayBegin(t *testing.T) {
	s := quiet(t, func(s *Settings) { s.Options.Weft.Slots = 1 })
	long := Demand{App: "a", Function: "long"}
	for range 12 {
		s.Begin(long).End(time.Second, false)
	}
	first, second, third := s.Begin(long), s.Begin(long), s.Begin(long)
	if !first.Then(nil) || !first.Apart() {
		t.Fatal("the first one waits, or is not long")
	}
	told := make(chan string, 2)
	if second.Then(func() { told <- "second" }) || third.Then(func() { told <- "third" }) {
		t.Fatal("another one does not wait")
	}
	second.End(0, true)
	first.End(time.Second, false)
	if who := <-told; who != "third" {
		t.Errorf("the %s one was told", who)
	}
	third.End(time.Second, false)
	if n := len(s.Status().Calls); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

func TestProfilesAreKept(t *testing.T) {
	st := memory.New(memory.Options{})
	defer st.Close()
	s := quiet(t, nil)
	for range 12 {
		s.Begin(Demand{App: "a", Version: "1", Function: "f"}).End(3*time.Millisecond, false)
		s.Begin(Demand{App: "a", Version: "2", Function: "f"}).End(30*time.Millisecond, false)
		s.Begin(Demand{App: "b", Version: "1", Function: "f"}).End(time.Millisecond, true) // not learned
	}
	if err := s.Save(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), st, "a", func(version string) bool { return version == "2" }); err != nil {
		t.Fatal(err)
	}
	next := quiet(t, nil)
	if err := next.Load(st); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Scheduler{s, next} {
		if p := x.Status().Profiles; len(p) != 1 || p[0].Function != "a@2/f" || p[0].Calls != 12 || !p[0].Known {
			t.Errorf("profiles %+v", p)
		}
	}
}

// A call with a process of its own gets its task when the process is found, and may be
// stopped from then on, unless it owes a slot.
func TestACallIsFoundInItsProcess(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s := quiet(t, nil)
	c := s.Begin(Demand{App: "a", Function: "f"})
	short := s.Begin(Demand{App: "a", Function: "f"})
	short.Own(func() (Process, bool) { t.Error("looked for a call that has ended"); return Process{}, false })
	short.End(time.Millisecond, false)
	looks := 0 // before it is there
	found := make(chan struct{}, 100)
	c.Owes(true)
	c.Own(func() (Process, bool) {
		if looks++; looks < 3 {
			return Process{}, false
		}
		found <- struct{}{}
		return Process{PID: cmd.Process.Pid}, true
	})
	current := func() backend.Current { return s.Status().Calls[0] }
	if n := current(); n.Watched || n.Call.Flags != policy.Unstoppable|policy.OwesSlot {
		t.Errorf("before it is found: %+v", n)
	}
	<-found
	for end := time.Now().Add(time.Minute); !current().Watched || current().Call.Flags != policy.OwesSlot; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after it was found: %+v", current())
		}
	}
	c.Owes(false)
	if n := current(); n.Call.Flags != 0 {
		t.Errorf("it owes nothing: %+v", n)
	}
	c.End(0, false)
}

func TestJain(t *testing.T) {
	for _, test := range []struct {
		speeds []float64
		want   float64
	}{{nil, 1}, {[]float64{0.5}, 1}, {[]float64{0.3, 0.3}, 1}, {[]float64{1, 0, 0, 0}, 0.25}} {
		var apps []App
		for _, x := range test.speeds {
			apps = append(apps, App{Speed: x})
		}
		if got := jain(apps); got < test.want-1e-9 || got > test.want+1e-9 {
			t.Errorf("%v: %v, want %v", test.speeds, got, test.want)
		}
	}
}

// BenchmarkShortCall is what a call costs that is over before anybody looks at it.
func BenchmarkShortCall(b *testing.B) {
	s := quiet(b, nil)
	box := s.Sandbox(Process{PID: 1})
	d := Demand{App: "a", Version: "1", Function: "f"}
	b.ReportAllocs()
	for b.Loop() {
		c := s.Begin(d)
		<-c.Admitted()
		c.Apart()
		c.Enter(box, 1)
		c.End(100*time.Microsecond, false)
	}
}
