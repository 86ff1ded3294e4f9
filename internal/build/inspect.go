package build

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what Inspect reads of a module.
const (
	maxSection  = 16 << 20 // of the sections that it looks into
	maxSections = 10_000
	maxEntries  = 1_000_000 // imports or exports
	maxName     = 4096
)

// Info is what a module says of itself.
type Info struct {
	Imports  []Import `json:"imports"`
	Exports  []Export `json:"exports"`
	Command  bool     `json:"command"`   // exports the function _start: a program
	Resident bool     `json:"resident"`  // exports the function weft_handle: stays between calls
	MinPages uint64   `json:"min_pages"` // 64 KiB pages that its memory begins with
	MaxPages uint64   `json:"max_pages"` // that it may grow to; 0: not said
}

// Import is something that a module wants from its host.
type Import struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Kind   Kind   `json:"kind"`
}

// Export is something that a module offers to its host.
type Export struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

// Kind is the kind of an import or export, as the binary format numbers them.
type Kind byte

// The kinds of imports and exports.
const (
	Func Kind = iota
	Table
	Memory
	Global
	Tag
)

// String names the kind.
func (k Kind) String() string {
	if int(k) < 5 {
		return [...]string{"function", "table", "memory", "global", "tag"}[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Modules that a sandbox offers to its guests.
const (
	importWASI = "wasi_snapshot_preview1"
	importWeft = "weft"
)

// Inspect reads the sections of a WebAssembly module that say how it is to be
// run, and skips its code and data. It does not validate the module: that is
// the engine's work. The error says what a file that is not a core module is
// instead.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	var head [64]byte
	n, err := r.ReadAt(head[:min(size, int64(len(head)))], 0)
	if err != nil && !(errors.Is(err, io.EOF) && int64(n) == min(size, int64(len(head)))) {
		return Info{}, fmt.Errorf("read module: %w", err)
	}
	if err := identify(head[:n]); err != nil {
		return Info{}, err
	}
	var info Info
	at, count, last := int64(8), 0, byte(0)
	for at < size {
		id, length, begin, err := sectionHeader(r, at, size)
		if err != nil {
			return Info{}, err
		}
		if count++; count > maxSections {
			return Info{}, fmt.Errorf("module has more than %d sections", maxSections)
		}
		if id != 0 {
			if id == last {
				return Info{}, fmt.Errorf("module is malformed: section %d appears twice", id)
			}
			last = id
		}
		if id == 2 || id == 5 || id == 7 {
			if length > maxSection {
				return Info{}, fmt.Errorf("section %d of the module has %d bytes; the limit is %d", id, length, maxSection)
			}
			body := make([]byte, length)
			if _, err := r.ReadAt(body, begin); err != nil && !errors.Is(err, io.EOF) {
				return Info{}, fmt.Errorf("read module: %w", err)
			}
			if err := info.section(id, &reader{rest: body}); err != nil {
				return Info{}, err
			}
		}
		at = begin + length
	}
	return info, nil
}

// identify names what a file is by its first bytes, unless it is a core
// module of version 1.
func identify(head []byte) error {
	const hint = "weft runs core modules (WASI preview 1)"
	switch {
	case len(head) == 0:
		return errors.New("file is empty, not a WebAssembly module")
	case bytes.HasPrefix(head, []byte("\x00asm\x01\x00\x00\x00")):
		return nil
	case bytes.HasPrefix(head, []byte("\x00asm")) && len(head) < 8, bytes.HasPrefix([]byte("\x00asm"), head):
		return fmt.Errorf("module is truncated: it ends after %d bytes", len(head))
	case bytes.HasPrefix(head, []byte("\x00asm")) && head[6] == 1:
		return errors.New("is a WebAssembly component (WASI 0.2); " + hint)
	case bytes.HasPrefix(head, []byte("\x00asm")):
		return fmt.Errorf("is WebAssembly of version %d; %s of version 1", binary.LittleEndian.Uint32(head[4:8]), hint)
	}
	what := "a file of an unknown format"
	trimmed := strings.ToLower(strings.TrimSpace(string(head)))
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		what = "a native program or library (ELF)"
	case bytes.HasPrefix(head, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")):
		what = "a native program or library (Mach-O)"
	case bytes.HasPrefix(head, []byte("MZ")):
		what = "a native program or library (Windows)"
	case bytes.HasPrefix(head, []byte("!<arch>")):
		what = "an archive of object files"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		what = "compressed with gzip"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		what = "a zip archive"
	case bytes.HasPrefix(head, []byte("BC\xc0\xde")):
		what = "LLVM bitcode"
	case strings.HasPrefix(trimmed, "<!doctype"), strings.HasPrefix(trimmed, "<html"):
		what = "an HTML page; was the download an error message?"
	case strings.HasPrefix(trimmed, "version https://git-lfs"):
		what = "a Git LFS pointer; fetch the file with git lfs pull"
	case strings.HasPrefix(trimmed, "(module"), strings.HasPrefix(trimmed, "(component"):
		what = "WebAssembly text; assemble it with wat2wasm"
	case strings.HasPrefix(trimmed, "#!"):
		what = "a script"
	case utf8.Valid(head):
		what = "a text file"
	}
	return fmt.Errorf("is not a WebAssembly module but %s", what)
}

// sectionHeader reads the header of the section at offset at.
func sectionHeader(r io.ReaderAt, at, size int64) (id byte, length, begin int64, err error) {
	var head [11]byte
	n, err := r.ReadAt(head[:min(size-at, int64(len(head)))], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, 0, fmt.Errorf("read module: %w", err)
	}
	v := &reader{rest: head[1:max(n, 1)]}
	length = int64(v.u32())
	begin = at + 1 + int64(max(n, 1)-1-len(v.rest))
	if v.bad || n < 2 || begin+length > size {
		return 0, 0, 0, fmt.Errorf("module is truncated: section at byte %d goes beyond its end (%d bytes)", at, size)
	}
	return head[0], length, begin, nil
}

// section takes over what an import (2), memory (5) or export (7) section
// says.
func (i *Info) section(id byte, r *reader) error {
	n := r.u32()
	if n > maxEntries {
		return fmt.Errorf("section %d of the module has %d entries; the limit is %d", id, n, maxEntries)
	}
	for range n {
		switch id {
		case 2:
			imp := Import{Module: r.name(), Name: r.name()}
			imp.Kind = Kind(r.byte())
			switch imp.Kind {
			case Func:
				r.u32()
			case Table:
				r.valueType()
				r.limits()
			case Memory:
				if err := i.memory(r); err != nil {
					return err
				}
			case Global:
				r.valueType()
				r.byte()
			case Tag:
				r.byte()
				r.u32()
			default:
				r.bad = true
			}
			i.Imports = append(i.Imports, imp)
		case 5:
			if err := i.memory(r); err != nil {
				return err
			}
		case 7:
			e := Export{Name: r.name(), Kind: Kind(r.byte())}
			r.u32()
			i.Exports = append(i.Exports, e)
			i.Command = i.Command || e.Kind == Func && e.Name == "_start"
			i.Resident = i.Resident || e.Kind == Func && e.Name == "weft_handle"
		}
		if r.bad {
			return fmt.Errorf("module is malformed: section %d ends in the middle of an entry", id)
		}
	}
	return nil
}

// memory reads the type of a memory.
func (i *Info) memory(r *reader) error {
	flags, low, high := r.limits()
	switch {
	case r.bad:
		return nil
	case flags&4 != 0:
		return errors.New("module uses a 64-bit memory, which weft does not run: build it for wasm32")
	case flags&2 != 0:
		return errors.New("module uses a shared memory (threads), which weft does not run: build it without threads")
	}
	i.MinPages, i.MaxPages = low, high
	return nil
}

// Check reports why a sandbox could not run the module, if so.
func (i Info) Check() error {
	for _, imp := range i.Imports {
		if imp.Kind == Func && (imp.Module == importWASI || imp.Module == importWeft) {
			continue
		}
		what := fmt.Sprintf("module imports %s %s.%s, which a sandbox does not have", imp.Kind, imp.Module, imp.Name)
		switch {
		case imp.Module == "wasi_unstable":
			what += ": it is built for WASI preview 0; build it for preview 1 (wasm32-wasi, wasip1)"
		case strings.HasPrefix(imp.Module, "wasi:"):
			what += ": it is built for WASI 0.2; build it for preview 1 (wasm32-wasi, wasip1)"
		case strings.HasPrefix(imp.Module, "wasix"), imp.Module == "wasi":
			what += ": it is built for WASIX or WASI threads; build it for WASI preview 1 without threads"
		case imp.Module == "gojs" || imp.Module == "go":
			what += ": it is built for GOOS=js; build it with GOOS=wasip1"
		case imp.Module == "env" && imp.Kind == Memory:
			what += ": the module must have and export its own memory"
		case imp.Module == "env":
			what += ": a C function that is not defined, or a module built for another target (wasm32-unknown-emscripten?)"
		case strings.HasPrefix(imp.Module, "__wbindgen"), imp.Module == "wbg":
			what += ": it is built for browsers (wasm32-unknown-unknown with wasm-bindgen)"
		default:
			what += ": it is built for another host"
		}
		return errors.New(what)
	}
	if !i.Command && !i.Resident {
		has := func(name string) bool {
			return slices.ContainsFunc(i.Exports, func(e Export) bool { return e.Name == name })
		}
		switch {
		case len(i.Exports) == 0:
			return errors.New("module exports nothing: a function exports _start (a program with main) or weft_handle")
		case has("_initialize"):
			return errors.New("module is a library (it exports _initialize) without weft_handle: a function exports _start (a program with main) or weft_handle")
		}
		return errors.New("module exports neither _start (a program with main) nor weft_handle")
	}
	if !slices.Contains(i.Exports, Export{"memory", Memory}) {
		return errors.New("module does not export its memory under the name \"memory\"")
	}
	return nil
}

// CheckFile reports why a sandbox could not run the module in a file, if so.
func CheckFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open module: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("read module: %w", err)
	}
	info, err := Inspect(f, size)
	if err == nil {
		err = info.Check()
	}
	if err != nil && strings.HasPrefix(err.Error(), "is ") {
		return fmt.Errorf("it %w", err)
	}
	return err
}

// reader decodes the binary format. After a fault bad is set, and all that it
// gives is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if r.bad || len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// uleb reads an unsigned LEB128 number of at most the given bits.
func (r *reader) uleb(bits int) uint64 {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		if rest := bits - shift; rest < 7 && b&0x7f>>rest != 0 {
			r.bad = true
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if r.bad {
				return 0
			}
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) u32() uint32 { return uint32(r.uleb(32)) }

func (r *reader) name() string {
	n := int(r.u32())
	if r.bad || n > maxName || n > len(r.rest) || !utf8.Valid(r.rest[:n]) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// valueType skips a value type: one byte, or for typed references two parts.
func (r *reader) valueType() {
	if b := r.byte(); b == 0x63 || b == 0x64 {
		r.uleb(35)
	}
}

func (r *reader) limits() (flags byte, low, high uint64) {
	flags = r.byte()
	low = r.uleb(64)
	if flags&1 != 0 {
		high = r.uleb(64)
	}
	return flags, low, high
}
