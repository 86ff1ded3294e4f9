package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drive is a policy with calls that have names: "shop/resize#3".
type drive struct {
	*policy
	calls map[string]*ticket
	order []string // of entering
}

func newDrive(o Options) *drive {
	o.EnsureDefaults()
	return &drive{policy: newPolicy(o), calls: map[string]*ticket{}}
}

func (d *drive) note(in []*ticket) {
	for _, t := range in {
		for name, other := range d.calls {
			if other == t {
				d.order = append(d.order, name)
			}
		}
	}
}

func (d *drive) come(name string, demand Demand) error {
	of, _, _ := strings.Cut(name, "#")
	demand.App, demand.Function, _ = strings.Cut(of, "/")
	t := &ticket{}
	d.calls[name] = t
	in, err := d.arrive(&demand, t)
	d.note(in)
	if err != nil {
		delete(d.calls, name)
	} else if t.state == entered {
		d.order = append(d.order, name)
	}
	return err
}

func (d *drive) depart(name string) {
	t := d.calls[name]
	delete(d.calls, name)
	if d.leave(t) {
		d.note(d.admit(nil))
	}
}

func TestRules(t *testing.T) {
	const full, tooLarge = "full", "too large"
	for _, test := range []struct {
		name  string
		o     Options
		steps string // "+app/f#1", "+app/f#1:MEMORY", "+app/f#1 max N queue N" comes, "-app/f#1" goes; "=full" after one that is refused
		want  string // in order of entering
	}{
		{"no bounds", Options{}, "+a/f#1,+a/f#2,+b/f#1", "a/f#1 a/f#2 b/f#1"},
		{"first come, first served within a function", Options{}, "+a/f#1 max 1,+a/f#2 max 1,+a/f#3 max 1,-a/f#1,-a/f#2", "a/f#1 a/f#2 a/f#3"},
		{"a function's bound holds up no other", Options{}, "+a/f#1 max 1,+a/f#2 max 1,+a/g#1,+b/f#1", "a/f#1 a/g#1 b/f#1"},
		{"the queue is bounded", Options{}, "+a/f#1 max 1 queue 1,+a/f#2 max 1 queue 1,+a/f#3 max 1 queue 1=full,-a/f#1", "a/f#1 a/f#2"},
		{"calls of runs always may wait", Options{Waiting: 1}, "+a/f#1 max 1,+a/f#2 max 1 queue -1,+a/f#3 max 1 queue -1,+a/f#4 max 1=full,-a/f#1,-a/f#2", "a/f#1 a/f#2 a/f#3"},
		{"the node's queue is bounded", Options{Waiting: 2, Calls: 1}, "+a/f#1,+a/f#2,+b/f#1,+c/f#1=full", "a/f#1"},
		{"who waits can leave", Options{}, "+a/f#1 max 1,+a/f#2 max 1,+a/f#3 max 1,-a/f#2,-a/f#1", "a/f#1 a/f#3"},
		{"apps take turns", Options{Calls: 1}, "+a/f#1,+a/f#2,+a/f#3,+a/f#4,+b/f#1,+b/f#2,+c/f#1,-a/f#1,-a/f#2,-b/f#1,-c/f#1,-a/f#3,-b/f#2", "a/f#1 a/f#2 b/f#1 c/f#1 a/f#3 b/f#2 a/f#4"},
		{"functions of an app take turns", Options{Calls: 1}, "+a/f#1,+a/f#2,+a/f#3,+a/g#1,-a/f#1,-a/f#2,-a/g#1", "a/f#1 a/f#2 a/g#1 a/f#3"},
		{"an app's quota of calls", Options{App: Quota{Calls: 2}}, "+a/f#1,+a/g#1,+a/h#1,+b/f#1,-a/g#1", "a/f#1 a/g#1 b/f#1 a/h#1"},
		{"an app's own quota", Options{App: Quota{Calls: 1}, Apps: map[string]Quota{"b": {}}}, "+a/f#1,+a/g#1,+b/f#1,+b/f#2", "a/f#1 b/f#1 b/f#2"},
		{"memory", Options{Memory: 100}, "+a/f#1:60,+a/g#1:60,+b/f#1:40,-a/f#1", "a/f#1 b/f#1 a/g#1"},
		{"more memory than there is", Options{Memory: 100}, "+a/f#1:101=too large,+a/f#2:100", "a/f#2"},
		{"more memory than the app may have", Options{Memory: 100, App: Quota{Memory: 50}}, "+a/f#1:51=too large,+a/f#2:50,+a/f#3:1,+b/f#1:50,-a/f#2:50", "a/f#2 b/f#1 a/f#3"},
		{"a large call is passed by a few", Options{Memory: 100, Passes: 2},
			"+a/s#1:50,+b/s#1:10,+c/l#1:90,+a/s#2:10,+a/s#3:10,+a/s#4:10,-b/s#1:10,-a/s#2:10,-a/s#3:10,-a/s#1:50,-c/l#1:90", "a/s#1 b/s#1 a/s#2 a/s#3 c/l#1 a/s#4"},
		{"what needs no memory passes always", Options{Memory: 100, Passes: 1}, "+a/s#1:50,+c/l#1:90,+a/s#2:10,+a/s#3:10,+a/z#1,+a/z#2", "a/s#1 a/s#2 a/z#1 a/z#2"},
		{"a large call that leaves gives its claim up", Options{Memory: 100, Passes: 1}, "+a/s#1:50,+c/l#1:90,+a/s#2:10,+a/s#3:10,-c/l#1:90", "a/s#1 a/s#2 a/s#3"},
		{"a raised bound lets in who waits", Options{}, "+a/f#1 max 1,+a/f#2 max 1,+a/f#3 max 3", "a/f#1 a/f#2 a/f#3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDrive(test.o)
			for step := range strings.SplitSeq(test.steps, ",") {
				step, outcome, _ := strings.Cut(step, "=")
				head, rest, _ := strings.Cut(step[1:], " ")
				head, memory, _ := strings.Cut(head, ":")
				if step[0] == '-' {
					d.depart(head)
					continue
				}
				var demand Demand
				fmt.Sscan(memory, &demand.Memory)
				fmt.Sscanf(rest, "max %d queue %d", &demand.Max, &demand.Queue)
				err := d.come(head, demand)
				got := ""
				if busy := (*ErrFull)(nil); errors.As(err, &busy) {
					got = full
					if busy.RetryAfter < time.Second || busy.Error() == "" {
						t.Errorf("%s: %v", step, busy)
					}
				} else if errors.Is(err, ErrTooLarge) {
					got = tooLarge
				}
				if got != outcome {
					t.Errorf("%s: %v", step, err)
				}
			}
			if got := strings.Join(d.order, " "); got != test.want {
				t.Errorf("entered: %s\nwant:    %s", got, test.want)
			}
		})
	}
}

// check compares a policy with what its calls add up to.
func (d *drive) check(t *rapid.T) {
	var running, waiting int
	var memory int64
	per := map[*function][2]int{}
	apps := map[*app][3]int64{}
	for _, c := range d.calls {
		n, a := per[c.f], apps[c.f.of]
		if c.state == entered {
			running++
			memory += c.bytes
			n[0]++
			a[0]++
			a[1] += c.bytes
		} else {
			waiting++
			n[1]++
			a[2]++
		}
		per[c.f], apps[c.f.of] = n, a
	}
	if running != d.running || waiting != d.waiting || memory != d.node.used {
		t.Fatalf("%d run, %d wait, %d bytes; the policy says %d, %d, %d", running, waiting, memory, d.running, d.waiting, d.node.used)
	}
	if d.o.Calls > 0 && running > d.o.Calls || d.o.Memory > 0 && memory > d.o.Memory {
		t.Fatalf("%d calls with %d bytes are in, over the bound of the node", running, memory)
	}
	for a, n := range apps {
		if int(n[0]) != a.running || n[1] != a.memory.used || int(n[2]) != a.waiting {
			t.Fatalf("app %s: %v, the policy says %d, %d, %d", a.name, n, a.running, a.memory.used, a.waiting)
		}
		if a.calls > 0 && a.running > a.calls || a.memory.limit > 0 && a.memory.used > a.memory.limit {
			t.Fatalf("app %s is over its quota", a.name)
		}
	}
	kept := d.node.claim != nil && d.node.passed >= d.o.Passes
	for f, n := range per {
		if n[0] != f.running || n[1] != len(f.queue) || f.max > 0 && f.running > f.max {
			t.Fatalf("function %v: %v, the policy says %d, %d, bound %d", f.name, n, f.running, len(f.queue), f.max)
		}
		if len(f.queue) == 0 {
			continue
		}
		if head := f.queue[0]; d.fits(head) {
			t.Fatalf("function %v: its next call fits and waits", f.name)
		}
		if !f.listed && (f.max <= 0 || f.running < f.max) {
			t.Fatalf("function %v: it gets no turn with %d of %d running", f.name, f.running, f.max)
		}
	}
	if kept && (d.node.claim.state != waits || running == 0) {
		t.Fatalf("memory is kept for a call that is not there, or by nobody")
	}
}

// Whatever comes and goes: bounds hold, nobody who fits waits, functions are first
// come, first served, and when no more come all get in.
func TestEverybodyGetsIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			Memory: rapid.SampledFrom([]int64{0, 100}).Draw(t, "memory"), Calls: rapid.SampledFrom([]int{0, 3}).Draw(t, "calls"),
			App:    Quota{Calls: rapid.SampledFrom([]int{0, 2}).Draw(t, "app calls"), Memory: rapid.SampledFrom([]int64{0, 100}).Draw(t, "app memory")},
			Passes: rapid.IntRange(1, 4).Draw(t, "passes"), Queue: 8,
		}
		d := newDrive(o)
		bounds := map[string]int{}
		var arrived []string
		for n := range rapid.IntRange(1, 80).Draw(t, "steps") {
			if len(d.calls) > 0 && rapid.Bool().Draw(t, "one goes") {
				names := slices.Sorted(func(yield func(string) bool) {
					for name := range d.calls {
						if !yield(name) {
							return
						}
					}
				})
				name := rapid.SampledFrom(names).Draw(t, "who")
				if d.calls[name].state == waits {
					arrived = slices.DeleteFunc(arrived, func(s string) bool { return s == name })
				}
				d.depart(name)
				d.check(t)
				continue
			}
			of := rapid.SampledFrom([]string{"a/f", "a/g", "b/f", "c/f", "c/g"}).Draw(t, "function")
			if _, ok := bounds[of]; !ok {
				bounds[of] = rapid.IntRange(0, 2).Draw(t, "bound")
			}
			name := fmt.Sprintf("%s#%03d", of, n)
			if d.come(name, Demand{Max: bounds[of], Memory: rapid.SampledFrom([]int64{0, 1, 30, 100}).Draw(t, "bytes")}) == nil {
				arrived = append(arrived, name)
			}
			d.check(t)
		}
		for len(d.calls) > 0 {
			gone := false
			for name, c := range d.calls {
				if c.state == entered {
					d.depart(name)
					d.check(t)
					gone = true
					break
				}
			}
			if !gone {
				t.Fatalf("%d calls wait for ever", len(d.calls))
			}
		}
		last := map[string]string{}
		for _, name := range d.order {
			of, _, _ := strings.Cut(name, "#")
			if name <= last[of] {
				t.Fatalf("%s entered after %s", name, last[of])
			}
			last[of] = name
		}
		if len(d.order) != len(arrived) {
			t.Fatalf("%d entered of %d", len(d.order), len(arrived))
		}
		if len(d.ring) > 0 && d.admit(nil) != nil || d.node.claim != nil {
			t.Fatal("something is left")
		}
	})
}

// Small calls that never stop coming do not keep a large one out.
func TestLargeCallsDoNotStarve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		passes := rapid.IntRange(1, 20).Draw(t, "passes")
		d := newDrive(Options{Memory: 100, Passes: passes, Queue: 1000})
		n := 0
		more := func() {
			n++
			if err := d.come(fmt.Sprintf("%c/s#%06d", 'a'+rune(rapid.IntRange(0, 3).Draw(t, "app")), n), Demand{Memory: 10}); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			more()
		}
		if err := d.come("z/large#1", Demand{Memory: 95}); err != nil {
			t.Fatal(err)
		}
		for left := 0; d.calls["z/large#1"].state == waits; left++ {
			if left > passes+10 {
				t.Fatalf("it still waits after %d calls have left", left)
			}
			more()
			for name, c := range d.calls {
				if c.state == entered {
					d.depart(name)
					break
				}
			}
		}
	})
}

func TestLoweredLimits(t *testing.T) {
	d := newDrive(Options{Memory: 100})
	d.come("a/f#1", Demand{Memory: 60})
	d.come("a/f#2", Demand{Memory: 80})
	o := d.o
	o.Memory = 50
	d.set(o)
	if err := d.come("a/g#1", Demand{Memory: 51}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	d.depart("a/f#1")
	if got := strings.Join(d.order, " "); got != "a/f#1 a/f#2" { // alone, although it is larger
		t.Errorf("entered: %s", got)
	}
}

// What is kept takes room from calls, up to a quarter, and holds up none for ever.
func TestKeep(t *testing.T) {
	g := New(Options{Memory: 100, App: Quota{Memory: 60}})
	resize, ok := g.Keep("a", 15)
	if !ok {
		t.Fatal("there is no room on an empty node")
	}
	if _, ok := g.Keep("a", 1); ok {
		t.Error("more than a quarter of what the app may have")
	}
	other, ok := g.Keep("b", 10)
	if !ok {
		t.Error("there is no room for another app")
	}
	if _, ok := g.Keep("c", 1); ok {
		t.Error("more than a quarter of what the node may have")
	}
	inside := map[string]bool{}
	enter := func(app, name string, bytes int64) func() {
		t.Helper()
		leave, err := g.Request(Demand{App: app, Function: name, Memory: bytes}, func() { inside[name] = true })
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	first := enter("a", "first", 40)
	second := enter("a", "second", 10) // 15 + 40 + 10 > 60
	if !inside["first"] || inside["second"] {
		t.Errorf("inside: %v", inside)
	}
	if s := g.Stats(); s.Memory != 65 {
		t.Errorf("%d of memory are in use", s.Memory)
	}
	if _, ok := g.Keep("a", 0); ok {
		t.Error("before a call that waits for memory")
	}
	resize(10)
	if !inside["second"] {
		t.Error("what is given back lets nobody in")
	}
	first()
	second()
	third := enter("a", "third", 60) // alone
	if !inside["third"] {
		t.Error("what is kept holds up a call for ever")
	}
	third()
	resize(0)
	other(0)
	if s := g.Stats(); s.Memory != 0 {
		t.Errorf("%d of memory are left", s.Memory)
	}
}

func TestForgetting(t *testing.T) {
	d := newDrive(Options{})
	d.come("busy/f#1", Demand{Max: 1})
	d.come("busy/f#2", Demand{Max: 1})
	for i := range 3 * functionsMax {
		name := fmt.Sprintf("a%d/f#1", i)
		d.come(name, Demand{})
		d.depart(name)
	}
	if n := len(d.functions); n > functionsMax {
		t.Errorf("%d functions are remembered", n)
	}
	d.depart("busy/f#1")
	if d.calls["busy/f#2"].state != entered {
		t.Error("a call that waits was forgotten")
	}
}

func TestHold(t *testing.T) {
	g := New(Options{Memory: 100, App: Quota{Memory: 60}})
	inside := map[string]bool{}
	enter := func(name string, bytes int64) func() {
		t.Helper()
		leave, err := g.Request(Demand{App: "a", Function: name, Memory: bytes}, func() { inside[name] = true })
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	first := enter("first", 40)
	if g.Crowded("a") {
		t.Error("crowded with room")
	}
	release := g.Hold("a", 50) // there is no room
	if s := g.Stats(); s.Memory != 90 || !g.Crowded("a") || g.Crowded("b") {
		t.Errorf("%d of memory are in use; crowded: %v, another app: %v", s.Memory, g.Crowded("a"), g.Crowded("b"))
	}
	second := enter("second", 10)
	if inside["second"] || !g.Crowded("a") {
		t.Error("a call takes memory that is held")
	}
	first()
	if !inside["second"] {
		t.Error("what is held holds up a call for ever")
	}
	third := enter("third", 10)
	if inside["third"] {
		t.Error("a second call takes memory that is held")
	}
	release()
	if !inside["third"] || g.Crowded("a") {
		t.Error("what is given back lets nobody in")
	}
	second()
	third()
	if s := g.Stats(); s.Memory != 0 {
		t.Errorf("%d of memory are left", s.Memory)
	}
}
