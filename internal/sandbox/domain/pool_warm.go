package domain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/wire"
)

// warmModule is the smallest command that does what commands do: it writes a
// line to standard output and exits.
//
//	(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
//	(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
//	(memory (export "memory") 1)
//	(func (export "_start") (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (call 1 (i32.const 0)))
//	(data (i32.const 0) "\14\00\00\00\03\00\00\00")  ;; one vector of 3 bytes at 20
//	(data (i32.const 20) "{}\n")
var warmModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x10\x03\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00\x60\x00\x00" +
	"\x02\x46\x02" +
	"\x16wasi_snapshot_preview1\x08fd_write\x00\x00" +
	"\x16wasi_snapshot_preview1\x09proc_exit\x00\x01" +
	"\x03\x02\x01\x02" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x02" +
	"\x0a\x13\x01\x11\x00\x41\x01\x41\x00\x41\x01\x41\x10\x10\x00\x1a\x41\x00\x10\x01\x0b" +
	"\x0b\x16\x02\x00\x41\x00\x0b\x08\x14\x00\x00\x00\x03\x00\x00\x00\x00\x41\x14\x0b\x03{}\n")

// warmImage gives the image of warmModule, compiled once a machine.
func (p *Pool) warmImage(ctx context.Context) (*Image, error) {
	p.warmOnce.Do(func() {
		path := filepath.Join(p.images.dir, "..", "warm.wasm")
		if p.warmError = os.WriteFile(path, warmModule, 0o600); p.warmError == nil {
			p.warm, p.warmError = p.Image(ctx, path)
		}
	})
	return p.warm, p.warmError
}

// warmUp lets a host that is ready run a function once, as a run of its own.
// What a first call costs beyond a second one (pages of code that are touched
// for the first time, threads that the runtime has not made yet) is then paid
// ahead of need.
func (p *Pool) warmUp(ctx context.Context, h *host) error {
	image, err := p.warmImage(ctx)
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
		m, fds, err := h.conn.Receive()
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err != nil {
			return h.whyEnded(err)
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
