package domain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/sandbox/wire"
)

// warmModule is a small command that does what functions do: it reads its
// input and the clock, publishes a slot and takes it, writes a line to standard
// output and exits.
//
//	(memory (export "memory") 1)
//	(data (i32.const 0) "\14\00\00\00\03\00\00\00\20\00\00\00\10\00\00\00\00\00\00\00{}\n\00w")
//	(func (export "_start")
//	  (drop (call $fd_read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 16)))
//	  (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 48)))
//	  (drop (call $put (i32.const 24) (i32.const 1) (i64.const 0) (i32.const 20) (i32.const 3)))
//	  (drop (call $len (i32.const 24) (i32.const 1) (i32.const 48) (i32.const 56)))
//	  (drop (call $take (i32.const 24) (i32.const 1) (i64.const 0) (i32.const 64) (i32.const 16) (i32.const 48)))
//	  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
//	  (call $proc_exit (i32.const 0)))
var warmModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x2a\x06\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00\x60\x00\x00\x60\x05\x7f\x7f\x7e\x7f\x7f\x01\x7f\x60\x06\x7f\x7f\x7e" +
	"\x7f\x7f\x7f\x01\x7f\x60\x03\x7f\x7e\x7f\x01\x7f" +
	"\x02\xb1\x01\x07\x16\x77\x61\x73\x69\x5f\x73\x6e\x61\x70\x73\x68\x6f\x74\x5f\x70\x72\x65\x76\x69\x65\x77\x31\x08\x66\x64\x5f\x77" +
	"\x72\x69\x74\x65\x00\x00\x16\x77\x61\x73\x69\x5f\x73\x6e\x61\x70\x73\x68\x6f\x74\x5f\x70\x72\x65\x76\x69\x65\x77\x31\x09\x70\x72" +
	"\x6f\x63\x5f\x65\x78\x69\x74\x00\x01\x16\x77\x61\x73\x69\x5f\x73\x6e\x61\x70\x73\x68\x6f\x74\x5f\x70\x72\x65\x76\x69\x65\x77\x31" +
	"\x07\x66\x64\x5f\x72\x65\x61\x64\x00\x00\x16\x77\x61\x73\x69\x5f\x73\x6e\x61\x70\x73\x68\x6f\x74\x5f\x70\x72\x65\x76\x69\x65\x77" +
	"\x31\x0e\x63\x6c\x6f\x63\x6b\x5f\x74\x69\x6d\x65\x5f\x67\x65\x74\x00\x05\x04\x77\x65\x66\x74\x03\x70\x75\x74\x00\x03\x04\x77\x65" +
	"\x66\x74\x03\x6c\x65\x6e\x00\x00\x04\x77\x65\x66\x74\x04\x74\x61\x6b\x65\x00\x04" +
	"\x03\x02\x01\x02" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06\x6d\x65\x6d\x6f\x72\x79\x02\x00\x06\x5f\x73\x74\x61\x72\x74\x00\x07" +
	"\x0a\x4f\x01\x4d\x00\x41\x00\x41\x08\x41\x01\x41\x10\x10\x02\x1a\x41\x01\x42\x01\x41\x30\x10\x03\x1a\x41\x18\x41\x01\x42\x00\x41" +
	"\x14\x41\x03\x10\x04\x1a\x41\x18\x41\x01\x41\x30\x41\x38\x10\x05\x1a\x41\x18\x41\x01\x42\x00\x41\xc0\x00\x41\x10\x41\x30\x10\x06" +
	"\x1a\x41\x01\x41\x00\x41\x01\x41\x10\x10\x00\x1a\x41\x00\x10\x01\x0b" +
	"\x0b\x1f\x01\x00\x41\x00\x0b\x19\x14\x00\x00\x00\x03\x00\x00\x00\x20\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x7b\x7d\x0a\x00" +
	"\x77")

// warmImage gives the image of warmModule, compiled once a machine.
func (p *Pool) warmImage() (*Image, error) {
	p.warmOnce.Do(func() {
		path := filepath.Join(p.images.dir, "..", "warm.wasm")
		if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, warmModule) { // another node may be reading it
			p.warmError = writeAtomically(path, bytes.NewReader(warmModule))
		}
		if p.warmError == nil {
			p.warm, p.warmError = p.Image(p.ctx, path) // which outlives who asks first
		}
	})
	return p.warm, p.warmError
}

// warmUp lets a host that is ready run a function once, as a run of its own.
// What a first call costs beyond a second one (pages of code that are touched
// for the first time, threads that the runtime has not made yet) is then paid
// ahead of need.
func (p *Pool) warmUp(h *host) error {
	image, err := p.warmImage()
	if err != nil {
		return err
	}
	for _, m := range []wire.Message{
		&wire.Assign{Run: "warm", Quota: 1 << 20},
		&wire.Function{ID: 0, Name: "warm", Memory: 1 << 20, MaxOutput: 1 << 10},
		&wire.Start{Call: 1, Path: "warm", Step: "warm", Index: -1, Attempt: 1},
		&wire.Start{Call: 2, Path: "warm", Step: "warm", Index: -1, Attempt: 2},
	} {
		var fds []int
		if _, ok := m.(*wire.Function); ok {
			fds = append(fds, int(image.file.Fd()))
		}
		if err := h.conn.Send(m, fds...); err != nil {
			return err
		}
	}
	for ended := 0; ; {
		m, err := h.receive()
		if err != nil {
			_, err = h.whyEnded(err)
			return err
		}
		switch m := m.(type) {
		case *wire.Done:
			if m.Status != wire.StatusOK || string(m.Output) != "{}\n" {
				return fmt.Errorf("warm up: status %d: %s", m.Status, m.Message)
			}
			if ended++; ended == 2 {
				if err := h.conn.Send(&wire.Reset{}); err != nil {
					return err
				}
			}
		case *wire.Idle:
			return nil
		default:
			return fmt.Errorf("warm up: unexpected message %T", m)
		}
	}
}
