package wasm

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// What a run has published stays as it is when the host forgets the run: the
// node may still be reading it.
func TestCloseLeavesWhatIsPublished(t *testing.T) {
	const number, size = 600, 64 << 10
	full := bytes.Repeat([]byte{7}, size)
	for round := range 5 {
		d := newDomain(nil, &wire.Assign{Quota: 1 << 30}, nil)
		a := buffer.Attempt{Path: "a"}
		var node []*buffer.Segment
		for i := range number {
			s, err := buffer.Create(uint64(i+1), size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.WriteAt(full, 0); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			n, err := buffer.Adopt(fd, s.ID(), s.Capacity())
			if err != nil {
				t.Fatal(err)
			}
			node = append(node, n)
			s.OnRelease(d.arena.Put)
			if err := d.table.Put(a, fmt.Sprintf("x%d", i), buffer.Value{Holder: s, Len: size}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.table.Commit(a); err != nil {
			t.Fatal(err)
		}
		d.hold(&wire.Hold{Segment: 1, Slot: "a/x0"})
		d.close()
		got := make([]byte, size)
		for _, s := range node {
			if _, err := s.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, full) {
				t.Fatalf("round %d: segment %d was written to", round, s.ID())
			}
			s.Close()
		}
	}
}
