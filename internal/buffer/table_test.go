package buffer

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	mapA    = Attempt{"map[0]", 1}
	mapB    = Attempt{"map[1]", 1}
	reducer = Attempt{"reduce", 1}
	other   = Attempt{"other", 1}
)

func inline(s string) Value { return Value{Holder: &Inline{Bytes: []byte(s)}, Len: int64(len(s))} }

func text(v Value) string {
	if v.Holder == nil {
		return ""
	}
	return string(v.Holder.(*Inline).Bytes)
}

func mustPut(t *testing.T, b *Table, a Attempt, name, value string) {
	t.Helper()
	if err := b.Put(a, name, inline(value)); err != nil {
		t.Fatal(err)
	}
}

func mustCommit(t *testing.T, b *Table, a Attempt) []Attempt {
	t.Helper()
	ready, err := b.Commit(a)
	if err != nil {
		t.Fatal(err)
	}
	return ready
}

// wantBorrow checks what a name means to an attempt: "=value", or a kind of error.
func wantBorrow(t *testing.T, b *Table, a Attempt, name string, want any) {
	t.Helper()
	v, err := b.Borrow(a, name, 0)
	switch want := want.(type) {
	case string:
		if err != nil || text(v) != want {
			t.Errorf("%s borrows %s: %q, %v; want %q", a.Path, name, text(v), err, want)
		}
	case error:
		if !errors.Is(err, want) {
			t.Errorf("%s borrows %s: %q, %v; want %v", a.Path, name, text(v), err, want)
		}
	}
}

func TestNamesResolve(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "a-x")
	mustPut(t, b, mapA, "/wide", "wide")
	mustPut(t, b, mapA, "only", "a-only")
	mustPut(t, b, mapB, "x", "b-x")
	mustCommit(t, b, mapA)
	mustCommit(t, b, mapB)
	mustPut(t, b, reducer, "x", "r-x")
	mustPut(t, b, reducer, "/mine", "r-mine")
	if _, err := b.Import("outer/map[3]/deep", inline("deep")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a    Attempt
		name string
		want any
	}{
		{other, "map[0]/x", "a-x"},
		{other, "map[1]/x", "b-x"},
		{other, "map[2]/x", ErrNotFound},
		{other, "map/x", ErrNotFound},
		{other, "/wide", "wide"},
		{other, "wide", "wide"},
		{other, "only", "a-only"},
		{other, "/only", ErrNotFound},
		{other, "x", ErrAmbiguous},
		{mapB, "x", "b-x"}, // own step first, also when its attempt has ended
		{other, "map[0]/wide", ErrNotFound},
		{other, "nothing", ErrNotFound},
		{reducer, "x", "r-x"},
		{reducer, "reduce/x", "r-x"},
		{reducer, "mine", "r-mine"},
		{reducer, "/mine", "r-mine"},
		{other, "/mine", ErrNotFound},
		{other, "mine", ErrNotFound},
		{other, "reduce/x", ErrNotFound},
		{other, "deep", "deep"},
		{other, "outer/map[3]/deep", "deep"},
		{other, "map[3]/deep", ErrNotFound},
		{Attempt{"outer/sink", 1}, "map[3]/deep", "deep"},
		{Attempt{"outer/inner/sink", 1}, "map[3]/deep", "deep"},
		{Attempt{"outer/sink", 1}, "map[0]/x", "a-x"},
		{Attempt{"another/sink", 1}, "map[3]/deep", ErrNotFound},
		{other, "", ErrName},
		{other, "a//x", ErrName},
		{other, "../x", ErrNotFound}, // well formed, and nothing is called so
	} {
		wantBorrow(t, b, c.a, c.name, c.want)
	}
	_, err := b.Borrow(other, "x", 0)
	if want := "borrow x: ambiguous name: 2 slots (map[0]/x, map[1]/x); name the step"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestOwnRunWideSlotCountsAsACandidate(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "a-x")
	mustCommit(t, b, mapA)
	mustPut(t, b, other, "/x", "mine")
	wantBorrow(t, b, other, "x", ErrAmbiguous)
	wantBorrow(t, b, reducer, "x", "a-x")
}

func TestPutTakesOwnNamesOnly(t *testing.T) {
	b := NewTable(0)
	for _, name := range []string{"map[1]/x", "", "/", "a b", "x/", strings.Repeat("x", 129)} {
		if err := b.Put(mapA, name, inline("v")); !errors.Is(err, ErrName) {
			t.Errorf("put %q: %v", name, err)
		}
	}
	if _, err := b.Import("x", inline("v")); !errors.Is(err, ErrName) {
		t.Errorf("import of a plain name: %v", err)
	}
	if b.Charged() != 0 {
		t.Error("a refused put is charged")
	}
	if n, err := mapA.Slot("x"); err != nil || n.String() != "map[0]/x" {
		t.Error(n, err)
	}
	if n, err := mapA.Slot("/x"); err != nil || n.String() != "/x" {
		t.Error(n, err)
	}
}

func TestVisibleToOthersAfterCommit(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "v")
	wantBorrow(t, b, mapA, "x", "v")
	_, err := b.Take(other, "map[0]/x", 0)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "map[0] has put it and is still running") {
		t.Errorf("before: %v", err)
	}
	mustCommit(t, b, mapA)
	wantBorrow(t, b, other, "map[0]/x", "v")
	_, err = b.Take(other, "map[7]/x", 0)
	if want := "take map[7]/x: not published: put it in a step that this one needs, or wait for it"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestTakeHasOneConsumer(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "v")
	mustCommit(t, b, mapA)
	take := func(a Attempt) error { _, err := b.Take(a, "map[0]/x", 0); return err }

	if err := take(reducer); err != nil {
		t.Fatal(err)
	}
	if err := take(reducer); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "by this attempt") {
		t.Errorf("again: %v", err)
	}
	if err := take(other); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "by reduce, which is running") {
		t.Errorf("another: %v", err)
	}
	wantBorrow(t, b, other, "map[0]/x", ErrTaken)
	wantBorrow(t, b, other, "x", ErrTaken)

	b.Withdraw(reducer)
	wantBorrow(t, b, other, "map[0]/x", "v")
	retry := Attempt{"reduce", 2}
	if err := take(retry); err != nil {
		t.Fatalf("the retry: %v", err)
	}
	mustCommit(t, b, retry)
	if err := take(other); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "reduce has taken it") {
		t.Errorf("after commit: %v", err)
	}
	wantBorrow(t, b, other, "x", ErrNotFound)
	if len(b.Released()) != 0 {
		t.Error("a holder went while it was borrowed")
	}
	mustCommit(t, b, other)
	if r := b.Released(); len(r) != 1 {
		t.Errorf("released %v", r)
	}
	if err := b.Put(Attempt{"map[0]", 2}, "x", inline("again")); !errors.Is(err, ErrExists) {
		t.Errorf("a taken name is published again: %v", err)
	}
	if b.Charged() != 0 {
		t.Errorf("%d bytes are charged for nothing", b.Charged())
	}
}

func TestTakeOfOnesOwnPut(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "v")
	if _, err := b.Take(mapA, "x", 0); err != nil {
		t.Fatal(err)
	}
	wantBorrow(t, b, mapA, "x", ErrTaken)
	mustCommit(t, b, mapA)
	wantBorrow(t, b, other, "map[0]/x", ErrNotFound)
	if len(b.Released()) != 1 || b.Charged() != 0 {
		t.Error("it is still held")
	}
}

func TestDuplicateNames(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "/x", "a")
	if err := b.Put(mapA, "/x", inline("again")); !errors.Is(err, ErrExists) {
		t.Errorf("twice by one attempt: %v", err)
	}
	mustPut(t, b, mapB, "/x", "b") // map[0]'s is not visible
	mustPut(t, b, mapB, "y", "b")
	mustCommit(t, b, mapA)
	if err := b.Put(other, "/x", inline("o")); !errors.Is(err, ErrExists) ||
		err.Error() != "put /x: already published: by map[0]; a name is published once in a run" {
		t.Errorf("a visible name: %v", err)
	}
	if _, err := b.Commit(mapB); !errors.Is(err, ErrExists) {
		t.Errorf("commit of a duplicate: %v", err)
	}
	wantBorrow(t, b, other, "map[1]/y", ErrNotFound) // nothing of it became visible
	b.Withdraw(mapB)
	if got := len(b.Released()); got != 2 {
		t.Errorf("%d holders released", got)
	}
	wantBorrow(t, b, other, "/x", "a")
	if _, err := b.Import("/x", inline("i")); !errors.Is(err, ErrExists) {
		t.Errorf("import: %v", err)
	}
}

func TestWithdrawnPutsMayComeAgain(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "first")
	b.Withdraw(mapA)
	if r := b.Released(); len(r) != 1 || string(r[0].(*Inline).Bytes) != "first" {
		t.Errorf("released %v", r)
	}
	retry := Attempt{"map[0]", 2}
	mustPut(t, b, retry, "x", "second")
	mustCommit(t, b, retry)
	wantBorrow(t, b, other, "map[0]/x", "second")
	b.Withdraw(mapA) // an attempt that has ended, or never was
	if ready, err := b.Commit(Attempt{"never", 1}); ready != nil || err != nil {
		t.Error(ready, err)
	}
}

func TestTypes(t *testing.T) {
	b := NewTable(0)
	typed := inline("v")
	typed.Type = 0xABC
	if err := b.Put(mapA, "typed", typed); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, mapA, "untyped", "v")
	mustCommit(t, b, mapA)
	for _, c := range []struct {
		name string
		typ  uint64
		ok   bool
	}{{"typed", 0, true}, {"typed", 0xABC, true}, {"typed", 0xABD, false}, {"untyped", 0, true}, {"untyped", 0xABC, true}} {
		if _, _, err := b.Peek(other, c.name, c.typ); (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrType) {
			t.Errorf("%s as %x: %v", c.name, c.typ, err)
		}
	}
	_, err := b.Take(other, "typed", 1)
	if want := "take typed: type mismatch: map[0]/typed was put as 0000000000000abc and is read as 0000000000000001; " +
		"build both sides with the same type"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if n, typ, err := b.Len(other, "typed"); n != 1 || typ != 0xABC || err != nil {
		t.Error(n, typ, err)
	}
	if _, err := b.Take(other, "typed", 0xABC); err != nil {
		t.Errorf("a mismatch consumed the slot: %v", err)
	}
	if name, _, err := b.Peek(Attempt{}, "untyped", 0); err != nil || name.String() != "map[0]/untyped" {
		t.Error(name, err)
	}
}

func TestQuota(t *testing.T) {
	b := NewTable(100)
	big := &Inline{Bytes: make([]byte, 60)}
	if err := b.Alloc(mapA, big); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(mapA, "big", Value{Holder: big, Len: 50}); err != nil || b.Charged() != 60 {
		t.Fatalf("publishing what was allocated is charged again: %d, %v", b.Charged(), err)
	}
	err := b.Put(mapA, "more", Value{Holder: &Inline{Bytes: make([]byte, 41)}, Len: 41})
	if want := "put more: over the quota of the run: 41 bytes asked for, 60 of 100 held; " +
		"take or release what is no longer read, or raise the quota"; !errors.Is(err, ErrQuota) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	wantBorrow(t, b, mapA, "more", ErrNotFound)
	if err := b.Alloc(mapB, &Inline{Bytes: make([]byte, 41)}); !errors.Is(err, ErrQuota) {
		t.Errorf("alloc: %v", err)
	}
	if _, err := b.Import("/i", Value{Holder: &Inline{Bytes: make([]byte, 41)}}); !errors.Is(err, ErrQuota) {
		t.Errorf("import: %v", err)
	}
	if err := b.Charge(mapB, 30); err != nil || b.Charged() != 90 {
		t.Error(b.Charged(), err)
	}
	if err := b.Charge(mapB, 11); !errors.Is(err, ErrQuota) {
		t.Errorf("private pages: %v", err)
	}
	if err := b.Charge(mapB, -1000); err != nil || b.Charged() != 60 {
		t.Errorf("%d charged, %v", b.Charged(), err)
	}
	if err := b.Charge(mapB, 40); err != nil {
		t.Error(err)
	}
	b.Withdraw(mapB)
	if b.Charged() != 60 {
		t.Errorf("%d charged after the attempt with private pages ended", b.Charged())
	}
	mustCommit(t, b, mapA)
	if _, err := b.Take(reducer, "big", 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(reducer, "forwarded", Value{Holder: big, Len: 50}); err != nil || b.Charged() != 60 {
		t.Errorf("passing on by reference is charged: %d, %v", b.Charged(), err)
	}
	mustCommit(t, b, reducer)
	if b.Charged() != 60 || len(b.Released()) != 0 {
		t.Error("a forwarded value was let go")
	}
	if _, err := b.Take(other, "forwarded", 0); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, b, other)
	if r := b.Released(); b.Charged() != 0 || len(r) != 1 || r[0] != Holder(big) {
		t.Errorf("%d charged, released %v", b.Charged(), r)
	}
}

func TestReleaseOfOneHold(t *testing.T) {
	b := NewTable(0)
	v := inline("v")
	if err := b.Put(mapA, "x", v); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, b, mapA)
	wantBorrow(t, b, other, "x", "v")
	if _, err := b.Take(other, "x", 0); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if !b.Release(other, v.Holder) {
			t.Errorf("two holds, %d released", n)
		}
	}
	if b.Release(other, v.Holder) || b.Release(reducer, v.Holder) {
		t.Error("released what was not held")
	}
	if len(b.Released()) != 0 {
		t.Error("a retry may still need it")
	}
	mustCommit(t, b, other)
	if len(b.Released()) != 1 || len(b.Released()) != 0 {
		t.Error("not released, or twice")
	}
}

func TestHoldOfWhatIsChargedElsewhere(t *testing.T) {
	b := NewTable(10)
	v := Value{Holder: &Inline{Bytes: make([]byte, 100)}, Len: 100}
	b.Hold(mapA, v.Holder)
	b.Hold(mapA, v.Holder)
	b.Hold(mapA, nil)
	if err := b.Put(mapA, "on", v); err != nil || b.Charged() != 0 {
		t.Errorf("passing it on: %d charged, %v", b.Charged(), err)
	}
	b.Withdraw(mapA)
	if r := b.Released(); len(r) != 1 || r[0] != v.Holder || b.Charged() != 0 {
		t.Errorf("released %v, %d charged", r, b.Charged())
	}
	b.Drop()
	b.Hold(mapA, v.Holder)
	if len(b.Released()) != 0 {
		t.Error("held after the end")
	}
}

func TestEmptyValue(t *testing.T) {
	b := NewTable(1)
	if err := b.Put(mapA, "empty", Value{}); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, b, mapA)
	if v, err := b.Take(other, "empty", 0); err != nil || v.Len != 0 {
		t.Error(v, err)
	}
	mustCommit(t, b, other)
	if len(b.Released()) != 0 {
		t.Error("released nothing as something")
	}
}

func TestDrop(t *testing.T) {
	b := NewTable(0)
	mustPut(t, b, mapA, "x", "1")
	mustCommit(t, b, mapA)
	mustPut(t, b, mapB, "x", "2")
	if err := b.Alloc(mapB, &Inline{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(other, "never"); err != nil {
		t.Fatal(err)
	}
	b.Drop()
	if got := len(b.Released()); got != 3 || b.Charged() != 0 || b.Waiting() != nil {
		t.Errorf("%d released, %d charged, %v wait", got, b.Charged(), b.Waiting())
	}
	_, errImport := b.Import("/x", inline("v"))
	_, errWait := b.Wait(other, "x")
	_, errBorrow := b.Borrow(other, "x", 0)
	for what, err := range map[string]error{
		"put": b.Put(mapA, "y", inline("v")), "alloc": b.Alloc(mapA, &Inline{}), "charge": b.Charge(mapA, 1),
		"import": errImport, "wait": errWait, "borrow": errBorrow,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
	b.Withdraw(mapB)
	if ready, err := b.Commit(mapA); ready != nil || err != nil {
		t.Error(ready, err)
	}
	b.Drop()
}

func TestWait(t *testing.T) {
	b := NewTable(0)
	wait := func(a Attempt, name string, want bool) {
		t.Helper()
		if got, err := b.Wait(a, name); got != want || err != nil {
			t.Errorf("%s waits for %s: %v, %v", a.Path, name, got, err)
		}
	}
	ready := func(got []Attempt, want ...Attempt) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("ready %v, want %v", got, want)
		}
	}
	wait(reducer, "map[0]/x", false)
	wait(other, "x", false) // any
	wait(mapB, "/x", false)
	if got := b.Waiting(); !slices.Equal(got, []Wait{{mapB, "/x"}, {other, "x"}, {reducer, "map[0]/x"}}) {
		t.Errorf("waiting: %v", got)
	}
	mustPut(t, b, mapA, "x", "v")
	mustPut(t, b, mapA, "y", "v")
	wait(mapA, "x", true) // its own
	ready(mustCommit(t, b, mapA), other, reducer)
	wait(other, "x", true)

	// A wait for a name that is taken lasts until its fate is known.
	if _, err := b.Take(reducer, "map[0]/y", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(reducer, "map[0]/y"); !errors.Is(err, ErrTaken) {
		t.Errorf("waiting for what oneself has taken: %v", err)
	}
	wait(other, "map[0]/y", false)
	ready(b.Withdraw(reducer), other)
	retry := Attempt{"reduce", 2}
	if _, err := b.Take(retry, "map[0]/y", 0); err != nil {
		t.Fatal(err)
	}
	wait(other, "map[0]/y", false)
	ready(mustCommit(t, b, retry), other)
	if _, err := b.Wait(other, "map[0]/y"); !errors.Is(err, ErrNotFound) {
		t.Errorf("waiting for what is gone: %v", err)
	}

	wait(other, "later", false)
	wait(other, "later2", false) // replaces
	got, err := b.Import("step/later", inline("v"))
	if err != nil {
		t.Fatal(err)
	}
	ready(got)
	got, err = b.Import("step/later2", inline("v"))
	if err != nil {
		t.Fatal(err)
	}
	ready(got, other)

	wait(other, "unwanted", false)
	b.Unwait(other)
	b.Unwait(other)
	got, _ = b.Import("step/unwanted", inline("v"))
	ready(got)
	b.Withdraw(mapB) // waits for /x
	if w := b.Waiting(); len(w) != 0 {
		t.Errorf("%v still waits", w)
	}
	if _, err := b.Wait(other, "a b"); !errors.Is(err, ErrName) {
		t.Errorf("bad name: %v", err)
	}
}

func TestDeadlockNamesWhoWaits(t *testing.T) {
	for _, c := range []struct {
		waits []Wait
		want  string
	}{
		{[]Wait{{Attempt{"reduce[0]", 1}, "map[2]/part-0"}},
			`deadlock: reduce[0] waits for "map[2]/part-0"; no running step can publish it`},
		{[]Wait{{mapA, "map[1]/x"}, {mapB, "map[0]/x"}},
			`deadlock: map[0] waits for "map[1]/x", map[1] waits for "map[0]/x"; no running step can publish them`},
		{[]Wait{{mapA, "a"}, {mapA, "b"}, {mapA, "c"}, {mapA, "d"}, {mapA, "e"}, {mapA, "f"}},
			`deadlock: map[0] waits for "a", map[0] waits for "b", map[0] waits for "c", map[0] waits for "d" and 2 more wait; no running step can publish them`},
	} {
		var err error = &Deadlock{Waits: c.waits}
		if err.Error() != c.want || !errors.Is(err, ErrDeadlock) {
			t.Errorf("got %q, want %q", err, c.want)
		}
	}
}

func TestOperationsDoNotAllocate(t *testing.T) {
	b := NewTable(0)
	v := inline("v")
	if err := b.Put(mapA, "part-0", v); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, b, mapA)
	b.Withdraw(reducer)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Take(reducer, "map[0]/part-0", 0); err != nil {
			t.Fatal(err)
		}
		b.Withdraw(reducer)
	}); n != 0 {
		t.Errorf("%v allocations to take", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Borrow(other, "part-0", 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Len(other, "map[0]/part-0"); err != nil {
			t.Fatal(err)
		}
		b.Withdraw(other)
	}); n != 0 {
		t.Errorf("%v allocations to read", n)
	}
}

func TestDiscard(t *testing.T) {
	table := NewTable(0)
	put := func(path, name string) {
		t.Helper()
		a := Attempt{Path: path, Number: 1}
		if err := table.Put(a, name, Value{Holder: &Inline{Bytes: []byte(name)}, Len: int64(len(name))}); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Commit(a); err != nil {
			t.Fatal(err)
		}
	}
	put("each[1]/map[0]", "part")
	put("each[1]/map[1]", "/wide")
	put("each[10]/map[0]", "part")
	put("each[1]", "own")
	table.Discard("each[1]")
	for name, there := range map[string]bool{"each[1]/map[0]/part": false, "/wide": false, "each[10]/map[0]/part": true, "each[1]/own": true} {
		if _, _, err := table.Peek(Attempt{Path: "reader", Number: 1}, name, 0); (err == nil) != there {
			t.Errorf("%s after Discard: %v, want it there: %v", name, err, there)
		}
	}
	if n := len(table.Released()); n != 2 {
		t.Errorf("%d holders released, want 2", n)
	}
	put("each[1]/map[0]", "part") // the name is free again
}
