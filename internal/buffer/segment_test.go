package buffer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func TestClass(t *testing.T) {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	for _, c := range []struct{ n, want int64 }{
		{-1, 64 * kib}, {0, 64 * kib}, {1, 64 * kib}, {64 * kib, 64 * kib}, {64*kib + 1, 128 * kib},
		{7 * 64 * kib, 7 * 64 * kib}, {8 * 64 * kib, 8 * 64 * kib}, {8*64*kib + 1, 10 * 64 * kib},
		{mib, mib}, {mib + 1, mib + mib/4}, {64 * mib, 64 * mib}, {65 * mib, 80 * mib},
		{3*gib + 1, 3*gib + gib/2}, {4*gib - 512*mib, 4*gib - 512*mib}, {4*gib - 512*mib + 1, MaxSize},
		{MaxSize, MaxSize}, {MaxSize + 1, 0}, {1 << 62, 0},
	} {
		if got := Class(c.n); got != c.want {
			t.Errorf("Class(%d) = %d, want %d", c.n, got, c.want)
		}
	}
}

func TestClassWastesAtMostAQuarterAndIsStable(t *testing.T) {
	classes := map[int64]bool{}
	for n := int64(1); n <= MaxSize; n += Granule + n/97 {
		c := Class(n)
		if c < n || c%Granule != 0 || c > RoundUp(n)+RoundUp(n)/4 {
			t.Fatalf("Class(%d) = %d", n, c)
		}
		if Class(c) != c {
			t.Fatalf("Class(%d) = %d is not its own class", n, c)
		}
		classes[c] = true
	}
	if len(classes) > 70 {
		t.Errorf("%d classes are not few", len(classes))
	}
}

func TestCreateRefusesWhatIsNoClass(t *testing.T) {
	for _, n := range []int64{0, -Granule, 1, Granule + 1, 9 * Granule, MaxSize + Granule} {
		if _, err := Create(1, n); !errors.Is(err, ErrRange) {
			t.Errorf("Create(%d): %v", n, err)
		}
	}
}

func TestSizeIsFixed(t *testing.T) {
	checkLeaks(t)
	s := create(t, Granule)
	defer s.Release()
	for _, n := range []int64{0, Granule / 2, 2 * Granule} {
		if err := unix.Ftruncate(s.FD(), n); !errors.Is(err, unix.EPERM) {
			t.Errorf("ftruncate to %d: %v, want EPERM", n, err)
		}
	}
}

func TestReadWrite(t *testing.T) {
	checkLeaks(t)
	s := create(t, 2*Granule)
	defer s.Release()
	if n, err := s.WriteAt([]byte("hello"), 2*Granule-5); n != 5 || err != nil {
		t.Fatalf("write at the end: %d, %v", n, err)
	}
	if _, err := s.WriteAt([]byte("hello"), 2*Granule-4); !errors.Is(err, ErrRange) {
		t.Errorf("write over the end: %v", err)
	}
	if _, err := s.WriteAt([]byte("hello"), -1); !errors.Is(err, ErrRange) {
		t.Errorf("write before the start: %v", err)
	}
	p := make([]byte, 8)
	if n, err := s.ReadAt(p, 2*Granule-5); n != 5 || err != io.EOF || string(p[:5]) != "hello" {
		t.Errorf("read at the end: %d, %v, %q", n, err, p)
	}
	if _, err := s.ReadAt(p, -1); !errors.Is(err, ErrRange) {
		t.Errorf("read before the start: %v", err)
	}

	text := strings.Repeat("0123456789abcdef", 5000)
	if n, err := s.Fill(strings.NewReader(text)); n != int64(len(text)) || err != nil {
		t.Fatalf("fill: %d, %v", n, err)
	}
	got, err := io.ReadAll(s.Reader(int64(len(text))))
	if err != nil || string(got) != text {
		t.Errorf("read back %d bytes, %v", len(got), err)
	}
	if _, err := s.Fill(bytes.NewReader(make([]byte, 2*Granule+1))); !errors.Is(err, ErrTooSmall) {
		t.Errorf("fill with too much: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("x"), &failing{})
	if _, err := s.Fill(broken); !errors.Is(err, errBroken) {
		t.Errorf("fill from a broken reader: %v", err)
	}
}

var errBroken = errors.New("broken")

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errBroken }

func TestSealedCannotBeWritten(t *testing.T) {
	checkLeaks(t)
	s := create(t, Granule)
	defer s.Release()
	if _, err := s.WriteAt([]byte("published"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(); err != nil {
		t.Errorf("sealing twice: %v", err)
	}
	if !s.Sealed() {
		t.Error("not sealed")
	}
	if _, err := s.WriteAt([]byte("x"), 0); !errors.Is(err, ErrSeal) {
		t.Errorf("write: %v", err)
	}
	if _, err := unix.Mmap(s.FD(), 0, Granule, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
		t.Errorf("mapping writable behind the package's back: %v", err)
	}
	if err := unix.Fallocate(s.FD(), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, Granule); !errors.Is(err, unix.EPERM) {
		t.Errorf("punching a hole: %v", err)
	}
	addr, _ := reserve(t, Granule)
	if err := MapWritable(addr, s, Granule, false); !errors.Is(err, ErrSeal) {
		t.Errorf("map writable: %v", err)
	}
	if err := MapView(addr, s, Granule, false); err != nil {
		t.Errorf("map view: %v", err)
	}
	if err := Clear(addr, Granule); err != nil {
		t.Error(err)
	}
}

func TestAdopt(t *testing.T) {
	checkLeaks(t)
	memfd := func(flags int, size int64, seals int) int {
		fd, err := unix.MemfdCreate("weft-test", flags|unix.MFD_CLOEXEC)
		if err != nil {
			t.Skipf("memfd_create with flags %#x: %v", flags, err)
		}
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if seals != 0 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
				t.Fatal(err)
			}
		}
		return fd
	}
	for _, c := range []struct {
		name     string
		fd       func() int
		capacity int64
		says     string // empty: accepted
	}{
		{"good", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, fixedSize) }, Granule, ""},
		{"sealed", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, fixedSize|unix.F_SEAL_WRITE) }, Granule, ""},
		{"no seals", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, 0) }, Granule, "not sealed"},
		{"may shrink", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, unix.F_SEAL_GROW) }, Granule, "not sealed"},
		{"sealing not allowed", func() int { return memfd(0, Granule, 0) }, Granule, "not sealed"},
		{"shorter than announced", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, fixedSize) }, 2 * Granule, "65536 bytes, 131072 were announced"},
		{"longer than announced", func() int { return memfd(unix.MFD_ALLOW_SEALING, 2*Granule, fixedSize) }, Granule, "131072 bytes"},
		{"odd size", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule+1, fixedSize) }, Granule + 1, "not a size of segments"},
		{"negative size", func() int { return memfd(unix.MFD_ALLOW_SEALING, Granule, fixedSize) }, -Granule, "not a size of segments"},
		{"pipe", func() int {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			unix.Close(p[1])
			return p[0]
		}, Granule, "not a memfd"},
		{"file", func() int {
			fd, err := unix.Open(os.Args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}, Granule, "memfd"},
		{"closed", func() int { return -1 }, Granule, "bad file descriptor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd := c.fd()
			s, err := Adopt(fd, 7, c.capacity)
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if s.ID() != 7 || s.Capacity() != c.capacity || s.Sealed() != (c.name == "sealed") {
					t.Errorf("adopted as %d, %d bytes, sealed %v", s.ID(), s.Capacity(), s.Sealed())
				}
				s.Release()
			} else if !errors.Is(err, ErrSegment) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Error("descriptor left open")
			}
		})
	}
}

func TestLastReleaseGoesToTheOwner(t *testing.T) {
	checkLeaks(t)
	s := create(t, Granule)
	released := 0
	s.OnRelease(func(got *Segment) {
		if got != s {
			t.Error("another segment")
		}
		released++
	})
	s.Retain().Retain()
	s.Release()
	s.Release()
	if released != 0 {
		t.Fatal("released while it was held")
	}
	s.Release()
	if released != 1 {
		t.Fatalf("released %d times", released)
	}
	mustPanic(t, "a second last release", s.Release)
	mustPanic(t, "holding what is released", func() { s.Retain() })
	s.Close()
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

func TestReferencesFromManyGoroutines(t *testing.T) {
	checkLeaks(t)
	s := create(t, Granule)
	var wg sync.WaitGroup
	for range 8 {
		s.Retain()
		wg.Go(func() {
			p := make([]byte, 16)
			for range 200 {
				s.Retain()
				if _, err := s.ReadAt(p, 0); err != nil {
					t.Error(err)
				}
				s.Release()
			}
			s.Release()
		})
	}
	wg.Wait()
	s.Release()
}

// childHolds is the child of TestProducerDies: it maps the segment at descriptor 3 writable, fills it, says so and
// waits to be killed.
func childHolds() {
	s, err := Adopt(3, 1, 4*Granule)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	m, err := unix.Mmap(-1, 0, 5*Granule, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	m = m[(Granule-addressOf(m)%Granule)%Granule:]
	if err := MapWritable(addressOf(m), s, 4*Granule, true); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	copy(m, "written by a process that is no more")
	fmt.Println("holding")
	select {}
}

func TestProducerDies(t *testing.T) {
	checkLeaks(t)
	s := create(t, 4*Granule)
	defer s.Release()
	file := os.NewFile(uintptr(dup(t, s.FD())), "segment")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEFT_BUFFER_CHILD=hold")
	cmd.ExtraFiles = []*os.File{file}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "holding\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if err := s.Seal(); !errors.Is(err, ErrSeal) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("sealing while another process maps it writable: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := s.Seal(); err != nil {
		t.Errorf("sealing after that process died: %v", err)
	}
	p := make([]byte, 7)
	if _, err := s.ReadAt(p, 0); err != nil || string(p) != "written" {
		t.Errorf("read %q, %v", p, err)
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestErrorSaysWhatWhereAndWhatToDo(t *testing.T) {
	err := error(&Error{Op: "put", Slot: "map[0]/x", Kind: ErrSpace, Err: unix.ENOSPC, Detail: "do something"})
	if got, want := err.Error(), "put map[0]/x: no space left: no space left on device: do something"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, ErrSpace) || !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrQuota) {
		t.Error("kind or cause is lost")
	}
	if err := TooSmall("take", "x", 10, 5); !errors.Is(err, ErrTooSmall) ||
		err.Error() != "take x: range too small: the value has 10 bytes, the range 5; ask for its length first" {
		t.Error(err)
	}
}
