package weft

import (
	"bytes"
	"sync"
	"syscall"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add((&packet{op: opPut, id: 3, size: 5, typ: 1 << 60, name: "x", data: []byte("hello")}).encode())
	f.Add(make([]byte, packetHead))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := decode(b)
		if ok && !bytes.Equal(p.encode(), b) {
			t.Errorf("%x became %x", b, p.encode())
		}
	})
}

func TestWrittenPages(t *testing.T) {
	memory := make([]byte, 1<<20) // Go's own: nobody's file
	memory[5] = 1
	if !written(memory) {
		t.Error("private memory counts as a file's")
	}
}

// Two goroutines ask at a time, over a socket that answers the second one first.
func TestAnswersFindTheirAskers(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	var node sync.WaitGroup
	node.Go(func() {
		defer syscall.Close(fds[1])
		b := make([]byte, packetMax)
		var held packet
		for i := 0; ; i++ {
			n, err := syscall.Read(fds[1], b)
			if err != nil || n == 0 {
				return
			}
			p, _ := decode(b[:n])
			p.op = 0
			if i%2 == 0 {
				held = p
				continue
			}
			for _, p := range []packet{p, held} {
				syscall.Write(fds[1], p.encode())
			}
		}
	})
	c := newControl(fds[0])
	for i := range 2_000 {
		var askers sync.WaitGroup
		for j := range 2 {
			askers.Go(func() {
				if a, e := c.ask(packet{op: opLen, segment: uint64(2*i + j)}); e != 0 || a.segment != uint64(2*i+j) {
					t.Errorf("request %d got the answer of %d, %v", 2*i+j, a.segment, e)
				}
			})
		}
		askers.Wait()
	}
	syscall.Shutdown(fds[0], syscall.SHUT_RDWR)
	if _, e := c.ask(packet{op: opLen}); e != errnoIO {
		t.Errorf("after its end: %v", e)
	}
	node.Wait()
}
