package buffer

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain runs the test binary as a child process of a test when WEFT_BUFFER_CHILD says which.
func TestMain(m *testing.M) {
	switch os.Getenv("WEFT_BUFFER_CHILD") {
	case "":
		os.Exit(m.Run())
	case "hold":
		childHolds()
	}
}

// usage is what could leak: descriptors and mappings of memfds.
type usage struct{ descriptors, mappings int }

func currentUsage(t testing.TB) usage {
	t.Helper()
	var u usage
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "weft-") {
			u.descriptors++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	u.mappings = strings.Count(string(maps), "memfd:weft-")
	return u
}

// checkLeaks fails the test if at its end more memfds are open or mapped than now.
func checkLeaks(t testing.TB) {
	t.Helper()
	before := currentUsage(t)
	t.Cleanup(func() {
		var after usage
		for range 100 { // goroutines that were told to stop may be about to
			if after = currentUsage(t); after == before {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("left behind: %+v, at the start %+v", after, before)
	})
}

// reserve maps ordinary memory that stands for the linear memory of a sandbox, aligned to huge pages.
func reserve(t testing.TB, length int) (addr uintptr, bytes []byte) {
	t.Helper()
	m, err := unix.Mmap(-1, 0, length+HugePage, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	start := addressOf(m)
	skip := (HugePage - int(start%HugePage)) % HugePage
	return start + uintptr(skip), m[skip : skip+length : skip+length]
}

func create(t testing.TB, capacity int64) *Segment {
	t.Helper()
	s, err := Create(1, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
