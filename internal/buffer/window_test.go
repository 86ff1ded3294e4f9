package buffer

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func allZero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

// TestHandOver takes one value from a producer to a consumer, in windows over two linear memories.
func TestHandOver(t *testing.T) {
	for _, c := range []struct {
		name            string
		capacity, shift int64 // shift moves the windows off the huge page boundary
		populate        bool
	}{
		{"one granule", Granule, 0, false},
		{"one granule populated", Granule, 0, true},
		{"huge pages", 5 << 20, 0, true},
		{"huge pages unaligned", 5 << 20, Granule, true},
		{"not populated", 5 << 20, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			n := c.capacity
			baseA, memoryA := reserve(t, int(n+c.shift))
			baseB, memoryB := reserve(t, int(n+c.shift))
			addrA, memoryA := baseA+uintptr(c.shift), memoryA[c.shift:]
			addrB, memoryB := baseB+uintptr(c.shift), memoryB[c.shift:]
			s := create(t, n)
			defer s.Release()

			memoryA[0] = 0xEE // what was there goes
			if err := MapWritable(addrA, s, n, c.populate); err != nil {
				t.Fatal(err)
			}
			if !allZero(memoryA) {
				t.Fatal("a fresh segment is not zero")
			}
			for i := range memoryA {
				memoryA[i] = byte(i / 3)
			}
			want := bytes.Clone(memoryA)
			if err := MapView(addrB, s, n, false); err != nil {
				t.Fatalf("a consumer that maps before sealing: %v", err)
			}
			if err := s.Seal(); !errors.Is(err, ErrSeal) {
				t.Fatalf("sealing while the producer can write: %v", err)
			}
			if err := Freeze(addrA, s, n); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(memoryA, want) {
				t.Fatal("the producer no longer reads what it published")
			}
			if err := s.Seal(); err != nil {
				t.Fatalf("sealing with private views only: %v", err)
			}
			if !bytes.Equal(memoryB, want) {
				t.Fatal("the consumer reads something else")
			}

			memoryA[1] ^= 0xFF
			memoryB[2] ^= 0xFF
			got := make([]byte, n)
			if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("writing to views changed the value (%v)", err)
			}
			if memoryB[1] != want[1] || memoryA[2] != want[2] {
				t.Fatal("one view sees what the other wrote")
			}
			for _, w := range []struct {
				addr   uintptr
				memory []byte
			}{{addrA, memoryA}, {addrB, memoryB}} {
				if err := Clear(w.addr, n); err != nil {
					t.Fatal(err)
				}
				if !allZero(w.memory) {
					t.Fatal("not zero after Clear")
				}
				w.memory[n-1] = 1 // and ordinary memory
			}
		})
	}
}

func TestViewOfAPrefix(t *testing.T) {
	checkLeaks(t)
	s := create(t, 4*Granule)
	defer s.Release()
	if _, err := s.WriteAt([]byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	addr, memory := reserve(t, 2*Granule)
	memory[Granule] = 'z'
	if err := MapView(addr, s, Granule, true); err != nil {
		t.Fatal(err)
	}
	if string(memory[:3]) != "abc" || memory[Granule] != 'z' {
		t.Error("a window reaches beyond its length or shows nothing")
	}
	if err := Clear(addr, Granule); err != nil {
		t.Fatal(err)
	}
}

func TestMappingDoesNotChangeWhatIsThere(t *testing.T) {
	checkLeaks(t)
	const n = 4 << 20
	s := create(t, n)
	defer s.Release()
	want := bytes.Repeat([]byte("spilled "), n/8)
	if _, err := s.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	addr, memory := reserve(t, n)
	if err := MapWritable(addr, s, n, true); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(memory, want) {
		t.Error("making it resident changed the bytes")
	}
	if err := Clear(addr, n); err != nil {
		t.Fatal(err)
	}
}

func TestWindowsRefuseBadRanges(t *testing.T) {
	checkLeaks(t)
	s := create(t, 2*Granule)
	defer s.Release()
	addr, memory := reserve(t, 4*Granule)
	memory[0] = 1
	for _, c := range []struct {
		name   string
		addr   uintptr
		length int64
	}{
		{"null", 0, Granule},
		{"misaligned address", addr + 4096, Granule},
		{"misaligned length", addr, Granule + 1},
		{"empty", addr, 0},
		{"negative", addr, -Granule},
		{"longer than the segment", addr, 3 * Granule},
	} {
		for op, f := range map[string]func() error{
			"map writable": func() error { return MapWritable(c.addr, s, c.length, true) },
			"map view":     func() error { return MapView(c.addr, s, c.length, true) },
			"freeze":       func() error { return Freeze(c.addr, s, c.length) },
		} {
			if err := f(); !errors.Is(err, ErrRange) {
				t.Errorf("%s, %s: %v", op, c.name, err)
			}
		}
		if c.length == 3*Granule {
			continue
		}
		if err := Clear(c.addr, c.length); !errors.Is(err, ErrRange) {
			t.Errorf("clear, %s: %v", c.name, err)
		}
		if _, err := Dirtied(-1, c.addr, c.length); !errors.Is(err, ErrRange) {
			t.Errorf("dirtied, %s: %v", c.name, err)
		}
	}
	if memory[0] != 1 {
		t.Error("a refused operation changed memory")
	}
}

func TestDirtied(t *testing.T) {
	checkLeaks(t)
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Skipf("needs /proc/self/pagemap: %v", err)
	}
	defer pagemap.Close()
	fd := int(pagemap.Fd())
	page := int64(os.Getpagesize())
	ways := map[string]func(int, uintptr, int64) (int64, error){"Dirtied": Dirtied, "read": readPagemap}
	if _, err := scanPagemap(fd, 0, 0); err == nil {
		ways["scan"] = scanPagemap
	}
	for name, count := range ways {
		for _, huge := range []bool{false, true} {
			const n = 8 << 20
			s := create(t, n)
			defer s.Release()
			addr, memory := reserve(t, n)
			if err := MapWritable(addr, s, n, huge); err != nil {
				t.Fatal(err)
			}
			memory[0] = 1
			if err := Freeze(addr, s, n); err != nil {
				t.Fatal(err)
			}
			check := func(when string, want int64) {
				t.Helper()
				if got, err := count(fd, addr, n); err != nil || got != want {
					t.Errorf("%s, huge %v: %s: %d bytes, %v; want %d", name, huge, when, got, err, want)
				}
			}
			check("untouched", 0)
			sum := byte(0)
			for i := 0; i < n; i += 64 {
				sum += memory[i]
			}
			check("read", 0)
			memory[5] = sum
			check("one byte written", page)
			for i := int64(0); i < 700; i++ { // more regions than one call of the kernel returns
				memory[i*2*page] = 7
			}
			check("every other page written", 700*page)
			clear(memory)
			check("all written", n)
			if err := Clear(addr, n); err != nil {
				t.Fatal(err)
			}
			check("cleared", 0)
		}
	}
	if _, err := Dirtied(-1, Granule, Granule); !errors.Is(err, unix.EBADF) {
		t.Errorf("bad descriptor: %v", err)
	}
}
