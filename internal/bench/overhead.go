package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/bench/lab"
)

// overhead asks what weft itself adds to each step of a run: a chain of a thousand steps, each of a function that does nothing but print one
// digit. "Step" is the time between the ends of two steps, all included; "control" is the part of it in which no function was under way.
func overhead() lab.Experiment {
	return lab.Experiment{
		Name:        "overhead",
		Description: "what weft adds to each step of a run of a thousand steps",
		Setup:       setUpOverhead,
	}
}

const overheadSteps = 1000

func setUpOverhead(ctx context.Context, l *lab.Lab) error {
	dir := filepath.Join(l.Dir, "steps")
	if err := writeStepsApp(dir, overheadSteps); err != nil {
		return err
	}
	app, err := l.Weft.Open(ctx, dir, nil)
	if err != nil {
		return err
	}
	g := l.Group("steps", lab.Rounds{Min: 2, Max: 20})
	g.Add(lab.Case{Variant: "weft", Expect: "1", Sample: func(ctx context.Context) (lab.Sample, error) {
		out, steps, took, err := output(ctx, app, lab.Request{Workflow: "main"})
		if err != nil {
			return lab.Sample{}, err
		}
		if len(steps) != overheadSteps {
			return lab.Sample{}, fmt.Errorf("run of %d steps reports %d", overheadSteps, len(steps))
		}
		s := lab.Sample{Digest: scalar(out), Values: []lab.Value{lab.Millis("whole run", took)}}
		for i := 1; i < len(steps); i++ {
			s.Values = append(s.Values, lab.Micros("step", steps[i].End-steps[i-1].End))
			if inside := steps[i].Inside; inside > 0 {
				s.Values = append(s.Values, lab.Micros("control", steps[i].End-steps[i-1].End-inside))
			}
		}
		return s, nil
	}})
	return nil
}

// writeStepsApp writes an app whose workflow main is a chain of n steps.
func writeStepsApp(dir string, n int) error {
	var b strings.Builder
	b.WriteString("name: steps\nfunctions:\n  one: {runtime: wasm, source: ./one.wasm}\nworkflows:\n  main:\n    steps:\n")
	for i := range n {
		fmt.Fprintf(&b, "      s%d: {call: one", i)
		if i > 0 {
			fmt.Fprintf(&b, ", needs: [s%d]", i-1)
		}
		b.WriteString("}\n")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "one.wasm"), printOne, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte(b.String()), 0o644)
}

// printOne is the smallest program that has an output, as a WebAssembly module:
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1)
//	  (func (export "_start") (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))))
//	  (data (i32.const 0) "\08\00\00\00\01\00\00\001"))
var printOne = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0c\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00" + // types
	"\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x00" + // imports
	"\x03\x02\x01\x01" + // functions
	"\x05\x03\x01\x00\x01" + // memory
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x01" + // exports
	"\x0a\x0f\x01\x0d\x00\x41\x01\x41\x00\x41\x01\x41\x0c\x10\x00\x1a\x0b" + // code
	"\x0b\x0f\x01\x00\x41\x00\x0b\x09\x08\x00\x00\x00\x01\x00\x00\x001") // data
