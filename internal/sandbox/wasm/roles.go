package wasm

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/itchyny/gojq"

	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// newCompiler serves the role compile: it turns modules into images and looks
// up source lines. It never executes a module.
func newCompiler(conn *wire.Conn) (func() error, error) {
	e, err := engine.New(engine.Options{Compile: true})
	return func() error {
		for {
			m, fds, err := conn.Receive()
			if err != nil {
				return err
			}
			files := make([]*os.File, len(fds))
			for i, fd := range fds {
				files[i] = os.NewFile(uintptr(fd), "passed")
			}
			var reply wire.Message
			switch m := m.(type) {
			case *wire.Compile:
				reply = compile(e, files)
			case *wire.Locate:
				reply = locate(m.Offsets, files)
			default:
				return fmt.Errorf("unexpected message %T", m)
			}
			for _, f := range files {
				f.Close()
			}
			if err := conn.Send(reply); err != nil {
				return err
			}
		}
	}, err
}

func compile(e *engine.Engine, files []*os.File) *wire.Compiled {
	if len(files) != 2 {
		return &wire.Compiled{Error: "compile needs a module and a file for its image"}
	}
	wasm, err := io.ReadAll(io.NewSectionReader(files[0], 0, 1<<32))
	if err != nil {
		return &wire.Compiled{Error: fmt.Sprint("read module: ", err)}
	}
	image, err := e.Compile(wasm)
	if err == nil {
		_, err = files[1].Write(image)
	}
	if err != nil {
		return &wire.Compiled{Error: err.Error()}
	}
	return &wire.Compiled{Size: int64(len(image))}
}

// locate finds source lines by the DWARF sections of a module, whose addresses
// count from the start of its code section
// (https://yurydelendik.github.io/webassembly-dwarf/).
func locate(offsets []uint64, files []*os.File) *wire.Located {
	reply := &wire.Located{Lines: make([]string, len(offsets))}
	if len(files) != 1 {
		return reply
	}
	wasm, err := io.ReadAll(io.NewSectionReader(files[0], 0, 1<<32))
	if err != nil {
		return reply
	}
	code, sections := sectionsOf(wasm)
	data, err := dwarf.New(sections[".debug_abbrev"], nil, nil, sections[".debug_info"], sections[".debug_line"], nil, sections[".debug_ranges"], sections[".debug_str"])
	if err != nil {
		return reply
	}
	for name, b := range sections {
		data.AddSection(name, b) // a section that it does not know is no loss
	}
	units := data.Reader()
	for {
		unit, err := units.Next()
		if err != nil || unit == nil {
			return reply
		}
		units.SkipChildren()
		lines, err := data.LineReader(unit)
		if err != nil || lines == nil {
			continue
		}
		for i, offset := range offsets {
			var at dwarf.LineEntry
			if offset >= code && lines.SeekPC(offset-code, &at) == nil && at.File != nil {
				reply.Lines[i] = fmt.Sprintf("%s:%d", filepath.Base(at.File.Name), at.Line)
			}
		}
	}
}

// sectionsOf finds where the code section's content starts, and the custom
// sections by name.
func sectionsOf(wasm []byte) (code uint64, custom map[string][]byte) {
	custom = map[string][]byte{}
	rest := wasm[min(8, len(wasm)):]
	for len(rest) > 1 {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return code, custom
		}
		body := rest[1+n:][:size]
		if id == 10 {
			code = uint64(len(wasm) - len(rest) + 1 + n)
		}
		if length, k := binary.Uvarint(body); id == 0 && k > 0 && length <= uint64(len(body)-k) {
			custom[string(body[k:][:length])] = body[k:][length:]
		}
		rest = rest[1+n:][size:]
	}
	return code, custom
}

// newEvaluator serves the role expr: jq programs over JSON values.
func newEvaluator(conn *wire.Conn) func() error {
	return func() error {
		for {
			m, fds, err := conn.Receive()
			if err != nil {
				return err
			}
			q, ok := m.(*wire.Evaluate)
			if !ok {
				return fmt.Errorf("unexpected message %T", m)
			}
			scope := q.Scope
			for _, fd := range fds {
				f := os.NewFile(uintptr(fd), "scope")
				scope, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<32))
				f.Close()
			}
			reply := &wire.Evaluated{ID: q.ID}
			if err == nil {
				reply.Values, err = evaluate(q.Expressions, scope)
			}
			if err == nil && len(reply.Values) > wire.InlineMax {
				err = fmt.Errorf("the values are %d bytes of JSON, the limit is %d: pass a buffer instead", len(reply.Values), wire.InlineMax)
			}
			if err != nil {
				reply.Values, reply.Error = nil, err.Error()
			}
			if err := conn.Send(reply); err != nil {
				return err
			}
		}
	}
}

// evaluate runs each expression on the scope; each must give exactly one value.
func evaluate(expressions []string, scope []byte) ([]byte, error) {
	var in any
	d := json.NewDecoder(bytes.NewReader(scope))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("read scope: %w", err)
	}
	values := make([]any, len(expressions))
	for i, e := range expressions {
		query, err := gojq.Parse(e)
		if err != nil {
			return nil, fmt.Errorf("expression %s: %w", e, err)
		}
		// No environment, no modules, no input beyond the scope.
		program, err := gojq.Compile(query, gojq.WithEnvironLoader(func() []string { return nil }))
		if err != nil {
			return nil, fmt.Errorf("expression %s: %w", e, err)
		}
		results := program.Run(in)
		v, ok := results.Next()
		if !ok {
			return nil, fmt.Errorf("expression %s: it gives no value", e)
		}
		if err, bad := v.(error); bad {
			return nil, fmt.Errorf("expression %s: %w", e, err)
		}
		if _, more := results.Next(); more {
			return nil, fmt.Errorf("expression %s: it gives more than one value; wrap it in [ ]", e)
		}
		values[i] = v
	}
	return gojq.Marshal(values)
}
