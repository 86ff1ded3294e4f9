package weft

import (
	"bytes"
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
	c := &control{}
	memory := make([]byte, 1<<20) // Go's own: nobody's file
	memory[5] = 1
	if !written(memory) {
		t.Error("private memory counts as a file's")
	}
	w := &window{memory: memory, size: len(memory), mapped: &mapped{control: c, file: -1}}
	if w.mapped.settle(w) {
		t.Error("a window that was written to counts as its segment")
	}
}
