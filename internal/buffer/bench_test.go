package buffer

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These benchmarks decide how windows are mapped; docs/buffers.md has the figures. "huge" maps at a multiple of
// 2 MiB, where the kernel can use huge pages; "small" one granule beside it.

var benchSizes = []int64{64 << 10, 1 << 20, 64 << 20, 256 << 20}

// atSizes runs f for each size, and for large ones with windows on and off the boundary of huge pages.
func atSizes(b *testing.B, f func(b *testing.B, n int64, addr uintptr, memory []byte)) {
	const largest = 256 << 20
	base, memory := reserve(b, largest+Granule)
	for _, n := range benchSizes {
		for _, pages := range []string{"huge", "small"} {
			shift := 0
			if pages == "small" {
				shift = Granule
			} else if n < HugePage {
				continue
			}
			b.Run(fmt.Sprintf("%s/%s", sizeName(n), pages), func(b *testing.B) {
				defer Clear(base, largest+Granule)
				b.SetBytes(n)
				f(b, n, base+uintptr(shift), memory[shift:shift+int(n)])
			})
		}
	}
}

func sizeName(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

func words(memory []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), len(memory)/8)
}

var sink uint64

func readAll(memory []byte) {
	var sum uint64
	for _, w := range words(memory) {
		sum += w
	}
	sink += sum
}

func writeAllOf(memory []byte, v uint64) {
	w := words(memory)
	for i := range w {
		w[i] = v
	}
}

// outside runs f without counting its time.
func outside(b *testing.B, f func() error) {
	b.StopTimer()
	defer b.StartTimer()
	if err := f(); err != nil {
		b.Fatal(err)
	}
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// resident makes a segment whose pages exist, huge where addr allows.
func resident(b *testing.B, addr uintptr, n int64, memory []byte) *Segment {
	s := create(b, n)
	must(b, MapWritable(addr, s, n, true))
	writeAllOf(memory, 1)
	must(b, Clear(addr, n))
	b.Cleanup(s.Release)
	return s
}

// BenchmarkReadResident is the limit: memory that is there and mapped.
func BenchmarkReadResident(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		writeAllOf(memory, 1)
		for b.Loop() {
			readAll(memory)
		}
	})
}

// BenchmarkWriteResident is the limit for producers.
func BenchmarkWriteResident(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		writeAllOf(memory, 1)
		for b.Loop() {
			writeAllOf(memory, 2)
		}
	})
}

// BenchmarkProduceFresh maps a segment without pages and fills it.
func BenchmarkProduceFresh(b *testing.B) {
	for _, populate := range []bool{true, false} {
		b.Run(fmt.Sprintf("populate=%v", populate), func(b *testing.B) {
			atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
				for b.Loop() {
					s := create(b, n)
					must(b, MapWritable(addr, s, n, populate))
					writeAllOf(memory, 1)
					outside(b, func() error { err := Clear(addr, n); s.Release(); return err })
				}
			})
		})
	}
}

// BenchmarkProduceRecycled maps a segment whose pages exist, and fills it.
func BenchmarkProduceRecycled(b *testing.B) {
	for _, populate := range []bool{true, false} {
		b.Run(fmt.Sprintf("populate=%v", populate), func(b *testing.B) {
			atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
				s := resident(b, addr, n, memory)
				for b.Loop() {
					must(b, MapWritable(addr, s, n, populate))
					writeAllOf(memory, 1)
					outside(b, func() error { return Clear(addr, n) })
				}
			})
		})
	}
}

// BenchmarkPublish turns a window that was just filled into a view.
func BenchmarkPublish(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		for b.Loop() {
			outside(b, func() error {
				err := MapWritable(addr, s, n, true)
				writeAllOf(memory, 3)
				return err
			})
			must(b, Freeze(addr, s, n))
		}
	})
}

// BenchmarkSeal seals a published segment for readers in other hosts.
func BenchmarkSeal(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		for b.Loop() {
			var s *Segment
			outside(b, func() error {
				s = create(b, n)
				if err := MapWritable(addr, s, n, true); err != nil {
					return err
				}
				writeAllOf(memory, 3)
				return Freeze(addr, s, n)
			})
			must(b, s.Seal())
			outside(b, func() error { err := Clear(addr, n); s.Release(); return err })
		}
	})
}

// BenchmarkTake maps a view and reads nothing.
func BenchmarkTake(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		for b.Loop() {
			must(b, MapView(addr, s, n, false))
			outside(b, func() error { return Clear(addr, n) })
		}
	})
}

// BenchmarkTakeAcross adopts a received descriptor first.
func BenchmarkTakeAcross(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		must(b, s.Seal())
		for b.Loop() {
			got, err := Adopt(dup(b, s.FD()), 1, n)
			must(b, err)
			must(b, MapView(addr, got, n, false))
			outside(b, func() error { got.Release(); return Clear(addr, n) })
		}
	})
}

// BenchmarkTakeAndRead maps a view and reads all of it.
func BenchmarkTakeAndRead(b *testing.B) {
	for _, populate := range []bool{true, false} {
		b.Run(fmt.Sprintf("populate=%v", populate), func(b *testing.B) {
			atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
				s := resident(b, addr, n, memory)
				for b.Loop() {
					must(b, MapView(addr, s, n, populate))
					readAll(memory)
					outside(b, func() error { return Clear(addr, n) })
				}
			})
		})
	}
}

// BenchmarkClear ends a view that was read.
func BenchmarkClear(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		for b.Loop() {
			outside(b, func() error {
				err := MapView(addr, s, n, false)
				readAll(memory)
				return err
			})
			must(b, Clear(addr, n))
		}
	})
}

// BenchmarkZero is what the arena does to a released segment, off the path of any step.
func BenchmarkZero(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		pad, err := newScratch()
		must(b, err)
		defer pad.close()
		for b.Loop() {
			s.grown(n)
			must(b, pad.zero(s))
		}
	})
}

// BenchmarkZeroByWriting is the alternative without a mapping.
func BenchmarkZeroByWriting(b *testing.B) {
	atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
		s := resident(b, addr, n, memory)
		zeros := make([]byte, min(n, 256<<10))
		for b.Loop() {
			for off := int64(0); off < n; off += int64(len(zeros)) {
				if _, err := s.WriteAt(zeros, off); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkDirtied counts the private pages of a view that was read.
func BenchmarkDirtied(b *testing.B) {
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		b.Skip(err)
	}
	defer pagemap.Close()
	fd := int(pagemap.Fd())
	for _, way := range []struct {
		name  string
		count func(int, uintptr, int64) (int64, error)
	}{{"scan", scanPagemap}, {"read", readPagemap}} {
		b.Run(way.name, func(b *testing.B) {
			atSizes(b, func(b *testing.B, n int64, addr uintptr, memory []byte) {
				s := resident(b, addr, n, memory)
				must(b, MapView(addr, s, n, false))
				readAll(memory)
				memory[0] = 1
				for b.Loop() {
					got, err := way.count(fd, addr, n)
					if err != nil || got == 0 {
						b.Fatal(got, err)
					}
				}
			})
		})
	}
}

// BenchmarkSegment makes and ends a segment; from a supply, one that was made ahead of need.
func BenchmarkSegment(b *testing.B) {
	b.Run("create", func(b *testing.B) {
		for b.Loop() {
			s := create(b, Granule)
			outside(b, func() error { s.Release(); return nil })
		}
	})
	b.Run("supply", func(b *testing.B) {
		p := NewSupply(SupplyOptions{Classes: []int64{Granule}, Count: 64})
		defer p.Close()
		for b.Loop() {
			s, err := p.Get(Granule)
			must(b, err)
			outside(b, func() error { s.Release(); return nil })
		}
	})
	b.Run("arena", func(b *testing.B) {
		a := NewArena(ArenaOptions{})
		defer a.Close()
		for range 64 {
			s := create(b, Granule)
			s.OnRelease(a.Put)
			s.Release()
		}
		for b.Loop() {
			if s := a.Get(Granule); s != nil {
				s.Release()
			}
		}
	})
}

// BenchmarkTable is one step's put and commit, and another's read.
func BenchmarkTable(b *testing.B) {
	v := Value{Holder: &Inline{Bytes: make([]byte, 100)}, Len: 100}
	b.Run("put+commit", func(b *testing.B) {
		t := NewTable(1 << 30)
		names := make([]string, 1024)
		for i := range names {
			names[i] = fmt.Sprintf("part-%d", i)
		}
		i := 0
		for b.Loop() {
			if err := t.Put(Attempt{"map[0]", i / len(names)}, names[i%len(names)], v); err != nil {
				b.Fatal(err)
			}
			if i++; i%len(names) == 0 {
				outside(b, func() error { t = NewTable(1 << 30); return nil })
			}
		}
	})
	table := NewTable(1 << 30)
	producer, consumer := Attempt{"map[0]", 1}, Attempt{"reduce", 1}
	must(b, table.Put(producer, "part-0", v))
	if _, err := table.Commit(producer); err != nil {
		b.Fatal(err)
	}
	b.Run("take+withdraw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := table.Take(consumer, "map[0]/part-0", 0); err != nil {
				b.Fatal(err)
			}
			table.Withdraw(consumer)
		}
	})
	b.Run("borrow+release", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got, err := table.Borrow(consumer, "part-0", 0)
			if err != nil {
				b.Fatal(err)
			}
			table.Release(consumer, got.Holder)
		}
	})
}

// BenchmarkFile is the baseline: a value written to a file and read back.
func BenchmarkFile(b *testing.B) {
	for _, n := range benchSizes[:3] {
		b.Run(sizeName(n), func(b *testing.B) {
			fd, err := unix.Open(b.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			must(b, err)
			defer unix.Close(fd)
			folder := NewFolder(fd)
			data, got := make([]byte, n), make([]byte, n)
			writeAllOf(data, 1)
			b.SetBytes(n)
			for b.Loop() {
				f, err := folder.Put("map[0]/x", data)
				must(b, err)
				if _, err := f.Load(got); err != nil {
					b.Fatal(err)
				}
				outside(b, f.Remove)
			}
		})
	}
}
