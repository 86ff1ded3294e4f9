package node_test

import (
	"testing"

	"github.com/weft-run/weft/internal/node"
)

// A resident instance that ended in the midst of its code, or was told to stop,
// serves no further call.
func TestBrokenInstancesAreNotKept(t *testing.T) {
	n := newNode(t)
	actor(t) // or there is no compiler
	t.Run("exit", func(t *testing.T) {
		a := load(t, `
functions:
  f: {source: ./f.c, concurrency: 1}
workflows:
  main:
    steps:
      f: {call: f, foreach: "${ 2 }", concurrency: 1}
`, "f.c", `
#include <weft.h>
WEFT_HANDLER(f) {
	if (weft_index() == 0) exit(0);
	__builtin_trap();
}
`)
		wantFailure(t, run(t, n, a), "trap", "unreachable")
	})
	t.Run("stop", func(t *testing.T) {
		a := load(t, `
functions:
  f: {source: ./f.c, timeout: 200ms}
workflows:
  main:
    steps:
      f: {call: f, retry: {max: 1, backoff: 50ms}}
`, "f.c", `
#include <unistd.h>
#include <weft.h>
WEFT_HANDLER(f) {
	if (!strcmp(getenv("WEFT_ATTEMPT"), "1")) weft_wait("never", 10000000000);
	return weft_return_json("%d", usleep(1000));
}
`)
		wantOutput(t, run(t, n, a), "0")
	})
}

// What a failed attempt wrote to standard output is given back: all of them
// together would be over the quota.
func TestOutputOfTrapsIsFreed(t *testing.T) {
	n := newNode(t, func(c *node.Config) { c.Quota = 16 << 20 })
	actor(t)
	a := load(t, `
functions:
  f: {source: ./f.c}
workflows:
  main:
    steps:
      f: {call: f, retry: {max: 12, backoff: 1ms, factor: 1}}
`, "f.c", `
#include <unistd.h>
#include <stdlib.h>
static char block[1 << 20];
int main(void) {
	for (int i = 0; i < 2; i++)
		if (write(1, block, sizeof block) != sizeof block) return 3;
	__builtin_trap();
}
`)
	wantFailure(t, run(t, n, a), "trap", "unreachable")
}

// A stopped attempt that goes on for a moment writes to its own buffer, not to
// one that its successor has.
func TestStoppedWritersKeepTheirBuffer(t *testing.T) {
	n := newNode(t)
	actor(t)
	a := load(t, `
functions:
  f: {source: ./f.c, timeout: 200ms}
workflows:
  main:
    steps:
      f: {call: f, foreach: "${ 1 }", retry: {max: 1, backoff: 1us}}
`, "f.c", `
#include <time.h>
#include <unistd.h>
#include <weft.h>
static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}
WEFT_FUNCTION(f) {
	weft_view v;
	int first = !strcmp(getenv("WEFT_ATTEMPT"), "1"), foreign = 0;
	if (!first) usleep(1000);
	if (weft_alloc(&v, 65536)) return weft_fail("alloc");
	volatile char *p = v.data;
	for (int i = 0; i < 65536; i++) foreign += p[i] != 0, p[i] = first ? 'a' : 'b';
	if (first) weft_wait("never", 10000000000);
	for (double end = now() + (first ? 8 : 4); now() < end;)
		for (int i = 0; i < 65536; i += 64) {
			if (first) p[i] = 'a';
			foreign += p[i] != (first ? 'a' : 'b');
		}
	return weft_return_json("%d", foreign);
}
`)
	wantOutput(t, run(t, n, a), "[0]")
}

// The start function of a module runs before there is a memory to work on.
func TestStartFunctionsHaveNoMemory(t *testing.T) {
	n := newNode(t)
	// (import "weft" "alloc" (func (param i32 i32) (result i32)))
	// (memory (export "memory") 1)
	// (func (drop (call 0 (i32.const 0) (i32.const 1000000)))) (start 1)
	// (func (export "_start"))
	a := load(t, "functions: {f: {source: ./f.wasm}}\nworkflows: {main: {steps: {f: {call: f}}}}\n", "f.wasm", "\x00asm\x01\x00\x00\x00"+
		"\x01\x0a\x02\x60\x02\x7f\x7f\x01\x7f\x60\x00\x00"+
		"\x02\x0e\x01\x04weft\x05alloc\x00\x00"+
		"\x03\x03\x02\x01\x01"+
		"\x05\x03\x01\x00\x01"+
		"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x02"+
		"\x08\x01\x01"+
		"\x0a\x10\x02\x0b\x00\x41\x00\x41\xc0\x84\x3d\x10\x00\x1a\x0b\x02\x00\x0b")
	wantOutput(t, run(t, n, a), "<nil>")
}

// The number of slots is bounded, whatever their size.
func TestSlotsOfACallAreBounded(t *testing.T) {
	n := newNode(t)
	wantOutput(t, run(t, n, steps(t, "a: {call: actor, with: {do: puts p 70000 1}}")), "[put p65536: errno 19]")
}
