package build

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

const magic = "\x00asm\x01\x00\x00\x00"

// section encodes a section of a module.
func section(id byte, body string) string {
	return string(binary.AppendUvarint([]byte{id}, uint64(len(body)))) + body
}

func name(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }

// importing encodes a module with one import and what a program exports.
func importing(module, field, description string) string {
	return magic + section(2, "\x01"+name(module)+name(field)+description) + section(5, "\x01\x00\x02") + exporting("_start")
}

func exporting(function string) string {
	return section(7, "\x02"+name("memory")+"\x02\x00"+name(function)+"\x00\x00")
}

func inspectAll(data string) error {
	info, err := Inspect(strings.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	return info.Check()
}

func TestInspect(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"program", importing("wasi_snapshot_preview1", "fd_write", "\x00\x00"), ""},
		{"with buffers", importing("weft", "put", "\x00\x00"), ""},
		{"resident", magic + section(5, "\x01\x00\x02") + exporting("weft_handle"), ""},
		{"unknown section", magic + section(5, "\x01\x00\x02") + exporting("_start") + section(99, "abc"), ""},
		{"empty", "", "file is empty"},
		{"magic cut", "\x00as", "truncated: it ends after 3 bytes"},
		{"version cut", "\x00asm\x01", "truncated: it ends after 5 bytes"},
		{"component", "\x00asm\x0d\x00\x01\x00", "is a WebAssembly component (WASI 0.2); weft runs core modules (WASI preview 1)"},
		{"version", "\x00asm\x02\x00\x00\x00", "version 2"},
		{"elf", "\x7fELF\x02\x01", "ELF"},
		{"html", "\n<!DOCTYPE html><html>", "an HTML page"},
		{"text format", "(module (func))", "wat2wasm"},
		{"lfs", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		{"gzip", "\x1f\x8b\x08", "gzip"},
		{"text", "hello", "a text file"},
		{"binary", "\xff\xfe\x01", "unknown format"},
		{"section cut", magic + "\x02\x7fabc", "truncated"},
		{"section without length", magic + "\x02", "truncated"},
		{"section of endless length", magic + "\x02\xff\xff\xff\xff\xff", "truncated"},
		{"entry cut", magic + section(2, "\x05\x01a"), "malformed: section 2"},
		{"many entries", magic + section(7, "\xff\xff\xff\xff\x0f"), "the limit is"},
		{"twice", magic + section(5, "\x00") + section(5, "\x00"), "appears twice"},
		{"emscripten", importing("env", "emscripten_memcpy_big", "\x00\x00"), "wasm32-unknown-emscripten?"},
		{"imported memory", importing("env", "memory", "\x02\x00\x01"), "its own memory"},
		{"preview 0", importing("wasi_unstable", "fd_write", "\x00\x00"), "preview 0"},
		{"preview 2", importing("wasi:cli/run", "x", "\x00\x00"), "WASI 0.2"},
		{"threads", importing("wasi", "thread-spawn", "\x00\x00"), "threads"},
		{"js", importing("gojs", "runtime.wasmExit", "\x00\x00"), "GOOS=wasip1"},
		{"bindgen", importing("wbg", "x", "\x00\x00"), "browsers"},
		{"other host", importing("spectest", "print", "\x00\x00"), "imports function spectest.print"},
		{"imported global", importing("weft", "g", "\x03\x7f\x00"), "imports global weft.g"},
		{"imported table", importing("env", "t", "\x01\x70\x01\x01\x02"), "imports table env.t"},
		{"exports nothing", magic, "exports nothing"},
		{"library", magic + exporting("_initialize"), "a library"},
		{"other exports", magic + exporting("run"), "neither _start"},
		{"no memory", magic + section(7, "\x01"+name("_start")+"\x00\x00"), "does not export its memory"},
		{"memory64", magic + section(5, "\x01\x04\x01") + exporting("_start"), "64-bit memory"},
		{"shared memory", magic + section(5, "\x01\x03\x01\x02") + exporting("_start"), "threads"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := inspectAll(test.data)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestInspectReadsMemoryAndNames(t *testing.T) {
	data := magic + section(2, "\x01"+name("weft")+name("put")+"\x00\x00") + section(5, "\x01\x01\x02\x81\x02") + exporting("_start")
	info, err := Inspect(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if info.MinPages != 2 || info.MaxPages != 257 || !info.Command || info.Resident || len(info.Exports) != 2 || info.Imports[0] != (Import{"weft", "put", Func}) {
		t.Errorf("got %+v", info)
	}
}

// Every truncation of a module is refused or harmless, and never a panic.
func TestInspectTruncated(t *testing.T) {
	data := importing("wasi_snapshot_preview1", "fd_write", "\x00\x00")
	for n := range len(data) {
		if err := inspectAll(data[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass", n, len(data))
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte(importing("weft", "put", "\x00\x00")))
	f.Add([]byte(importing("env", "memory", "\x02\x00\x01")))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Inspect(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			_ = info.Check()
		} else if err.Error() == "" {
			t.Error("error without a message")
		}
	})
}
