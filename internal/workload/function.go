package workload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// The functions that workflows call.
const (
	Mix   = "mix"   // a digest of its input, with a long text now and then
	Send  = "send"  // the same, where somebody outside can notice it
	Flaky = "flaky" // the same, after a failed attempt or two
	Fail  = "fail"  // fails
	List  = "list"  // a short list of numbers, for a foreach
	Emit  = "emit"  // publishes its digest as a buffer, some of them of 25 KB
	Bulk  = "bulk"  // the same, of 1 MB
	Eat   = "eat"   // takes the buffer that is its standard input, and digests it
	Look  = "look"  // the same without taking it
)

// Functions are those that a workload needs. There may also be Bulk.
var Functions = []string{Mix, Send, Flaky, Fail, List, Emit, Eat, Look}

// Slot is the name under which Emit and Bulk publish, as a step says it.
const Slot = "out"

// SlotAt is its full name for the call at a path.
func SlotAt(path string) string { return strings.ReplaceAll(path, ".", "/") + "/" + Slot }

// Product is what a function makes of an input.
type Product struct {
	Output any    // as JSON has it
	Bytes  []byte // of its slot; nil: none
	Takes  bool   // its standard input is gone
	Fails  bool   // this attempt exits with status 1, and makes nothing else
}

// Digest is a short name of a value: the FNV-1a hash of its JSON, in base 36.
func Digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("workload: digest of %v: %v", v, err)) // values come from JSON
	}
	h := fnv.New64a()
	h.Write(b)
	return strconv.FormatUint(h.Sum64(), 36)
}

// Times that a digest is repeated in buffers and in long texts.
const (
	emitTimes = 2000
	bulkTimes = 80_000
	longTimes = 4500 // too long for a record, and not so long that it becomes a buffer
)

// Compute is what the attempt (from 1) of a function does at a path. stdin, if
// there is one, is in place of the input.
func Compute(function, path string, attempt int, input any, stdin []byte) Product {
	if stdin != nil {
		input = string(stdin)
	}
	d := Digest([]any{function, input})
	switch function {
	case Fail:
		return Product{Fails: true}
	case Flaky:
		if attempt <= int(d[0])%3 {
			return Product{Fails: true}
		}
	case List:
		n := int(d[0])%3 + 1
		list := make([]any, n)
		for i := range list {
			list[i] = float64(i) + float64(d[1])
		}
		return Product{Output: map[string]any{"list": list}}
	case Emit, Bulk:
		b := []byte(d)
		switch {
		case function == Bulk:
			b = bytes.Repeat(b, bulkTimes)
		case d[len(d)-1]%2 == 0:
			b = bytes.Repeat(b, emitTimes)
		}
		return Product{Output: map[string]any{"$buffer": SlotAt(path), "size": float64(len(b))}, Bytes: b}
	case Eat:
		return Product{Output: map[string]any{"d": d}, Takes: true}
	}
	return Product{Output: map[string]any{"d": d, "long": strings.Repeat(d, int(d[0])%2*int(d[1])%2*longTimes)}}
}
