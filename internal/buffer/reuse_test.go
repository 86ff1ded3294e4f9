package buffer

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eventually waits for what another goroutine is going to bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("timed out: %s", what)
}

func contents(t *testing.T, s *Segment) []byte {
	t.Helper()
	b := make([]byte, s.Capacity())
	if _, err := s.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSupply(t *testing.T) {
	checkLeaks(t)
	p := NewSupply(SupplyOptions{Classes: []int64{1, 4 << 20}, Count: 2, Resident: 5 << 20})
	readyNow := func(class int64) int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.ready[class])
	}
	full := func() bool { return readyNow(Granule) == 2 && readyNow(4<<20) == 2 }
	eventually(t, "the supply fills", full)
	if p.warm != 2*Granule+4<<20 {
		t.Errorf("%d bytes are resident ahead of need", p.warm)
	}

	ids := map[uint64]bool{}
	for i, n := range []int64{0, 100, 3<<20 + 1<<19 + 1, 4 << 20, 4 << 20, 9 << 20} {
		s, err := p.Get(n)
		if err != nil {
			t.Fatal(err)
		}
		if s.Capacity() != Class(n) || !allZero(contents(t, s)) || ids[s.ID()] {
			t.Errorf("Get(%d): %d bytes, number %d", n, s.Capacity(), s.ID())
		}
		if resident := s.resident.Load() > 0; i < 3 && !resident {
			t.Errorf("Get(%d): has no memory yet", n)
		}
		ids[s.ID()] = true
		defer s.Release()
	}
	eventually(t, "the supply fills again", full)
	if _, err := p.Get(MaxSize + 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	p.Close()
	p.Close()
	if _, err := p.Get(1); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestSupplyFromManyGoroutines(t *testing.T) {
	checkLeaks(t)
	p := NewSupply(SupplyOptions{Classes: []int64{Granule}, Count: 3})
	defer p.Close()
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				s, err := p.Get(10)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[s.ID()] {
					t.Errorf("segment %d given out twice", s.ID())
				}
				seen[s.ID()] = true
				mu.Unlock()
				s.Release()
			}
		})
	}
	wg.Wait()
}

// used makes a segment that was written to from end to end.
func used(t *testing.T, capacity int64) *Segment {
	t.Helper()
	s := create(t, capacity)
	if _, err := s.WriteAt(bytes.Repeat([]byte{0xAA}, int(capacity)), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, a *Arena, n int64) *Segment {
	t.Helper()
	var s *Segment
	eventually(t, "a segment comes back zeroed", func() bool { s = a.Get(n); return s != nil })
	return s
}

func TestArenaRecyclesZeroed(t *testing.T) {
	checkLeaks(t)
	a := NewArena(ArenaOptions{})
	defer a.Close()
	for _, size := range []int64{Granule, 3 << 20, 40 << 20} {
		s := used(t, size)
		s.OnRelease(a.Put)
		for round := range 3 {
			s.Release()
			again := get(t, a, size)
			if again != s {
				t.Fatal("another segment")
			}
			if !allZero(contents(t, s)) {
				t.Fatalf("%d bytes, round %d: old bytes show", size, round)
			}
			var st unix.Stat_t
			if err := unix.Fstat(s.FD(), &st); err != nil || st.Blocks*512 < size {
				t.Errorf("%d bytes, round %d: %d are resident (%v)", size, round, st.Blocks*512, err)
			}
			addr, memory := reserve(t, int(size))
			if err := MapWritable(addr, s, size, true); err != nil {
				t.Fatal(err)
			}
			memory[0], memory[size-1] = 1, 1
			if err := Clear(addr, size); err != nil {
				t.Fatal(err)
			}
		}
		s.Release()
	}
}

func TestArenaGivesTheClosestFit(t *testing.T) {
	checkLeaks(t)
	a := NewArena(ArenaOptions{})
	defer a.Close()
	for _, g := range []int64{10, 7, 8} {
		s := create(t, g*Granule)
		s.OnRelease(a.Put)
		s.Release()
	}
	eventually(t, "all are clean", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.clean) == 3 })
	if s := a.Get(4 * Granule); s != nil {
		t.Errorf("a segment of %d for %d bytes wastes too much", s.Capacity(), 4*Granule)
	}
	if s := a.Get(11 * Granule); s != nil {
		t.Errorf("a segment of %d is too small", s.Capacity())
	}
	if s := a.Get(MaxSize + 1); s != nil {
		t.Error("a segment larger than any")
	}
	var got []*Segment
	for _, want := range []int64{7, 8, 0} { // 10 is three classes above 6
		s := a.Get(6 * Granule)
		if want == 0 {
			if s != nil {
				t.Errorf("got %d", s.Capacity()/Granule)
			}
			continue
		}
		if s == nil || s.Capacity() != want*Granule {
			t.Fatalf("want %d granules, got %v", want, s)
		}
		got = append(got, s)
	}
	for _, s := range got {
		s.Release()
	}
}

func TestArenaIsBounded(t *testing.T) {
	checkLeaks(t)
	var mu sync.Mutex
	var returned []uint64
	a := NewArena(ArenaOptions{Resident: 4 * Granule, Return: func(s *Segment) {
		mu.Lock()
		returned = append(returned, s.ID())
		mu.Unlock()
		s.Close()
	}})
	put := func(id uint64, capacity int64, seal bool) {
		s, err := Create(id, capacity)
		if err != nil {
			t.Fatal(err)
		}
		if seal {
			if err := s.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		s.OnRelease(a.Put)
		s.Release()
		eventually(t, "zeroed", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.clean) == a.number })
	}
	put(1, 2*Granule, false)
	put(2, 2*Granule, false)
	put(3, Granule, true) // sealed: never kept
	put(4, 5*Granule, false)
	put(5, Granule, false) // makes room: 1 was unused the longest
	if got := a.Resident(); got != 3*Granule {
		t.Errorf("%d granules are kept", got/Granule)
	}
	if s := get(t, a, 2*Granule); s.ID() != 2 {
		t.Errorf("kept %d", s.ID())
	} else {
		a.Close()
		s.Release() // after the end: returned at once
	}
	want := []uint64{3, 4, 1, 5, 2}
	if len(returned) != len(want) {
		t.Fatalf("returned %v, want %v", returned, want)
	}
	for i := range want {
		if returned[i] != want[i] {
			t.Fatalf("returned %v, want %v", returned, want)
		}
	}
	if a.Resident() != 0 {
		t.Error("something is left after Close")
	}
	a.Close()
}

func TestArenaDoesNotKeepWhatItCannotZero(t *testing.T) {
	checkLeaks(t)
	returned := make(chan *Segment, 1)
	a := NewArena(ArenaOptions{Return: func(s *Segment) { returned <- s }})
	defer a.Close()
	s := used(t, Granule)
	s.OnRelease(a.Put)
	// Sealed behind the arena's back, as a segment that two processes hold can be.
	if _, err := unix.FcntlInt(uintptr(s.FD()), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != nil {
		t.Fatal(err)
	}
	s.Release()
	(<-returned).Close()
	if a.Resident() != 0 || a.Get(1) != nil {
		t.Error("it is still kept")
	}
}

func TestArenaFromManyGoroutines(t *testing.T) {
	checkLeaks(t)
	a := NewArena(ArenaOptions{Resident: 64 * Granule})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			p := make([]byte, Granule)
			for i := range 100 {
				s := a.Get(Granule)
				if s == nil {
					var err error
					if s, err = Create(uint64(g*1000+i), Granule); err != nil {
						t.Error(err)
						return
					}
					s.OnRelease(a.Put)
				}
				if _, err := s.ReadAt(p, 0); err != nil || !allZero(p) {
					t.Errorf("not zero (%v)", err)
				}
				p[g] = 1
				if _, err := s.WriteAt(p, 0); err != nil {
					t.Error(err)
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	a.Close()
}
