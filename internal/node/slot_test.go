package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
)

// 100,000 times 'x', as the actor sums it up.
const sum100000 = "308785152"

func apart(r *node.RunRequest) { r.Apart = true }

// ways are the policies under which every app must give the same output.
var ways = []struct {
	name       string
	load, pass string
	apart      bool
}{
	{"lazy reference", "lazy", "reference", false},
	{"eager reference", "eager", "reference", false},
	{"lazy file", "lazy", "file", false},
	{"eager file", "eager", "file", false},
	{"lazy reference apart", "lazy", "reference", true},
	{"eager reference apart", "eager", "reference", true},
	{"lazy file apart", "lazy", "file", true},
	{"eager file apart", "eager", "file", true},
}

// TestSlots runs workflows that pass slots in all ways; whatever the policies
// are, the output is the same.
func TestSlots(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		name, want string
		steps      []string
	}{
		{"take small and large", "[take a/small: 5 bytes of 114516600 take a/large: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: put small 5; put large 100000}}",
			"b: {call: actor, needs: [a], with: {do: take a/small; take a/large}}",
		}},
		{"take twice", "[take x: 100000 bytes of " + sum100000 + " take a/x: errno 44 len x: errno 44]", []string{
			"a: {call: actor, with: {do: put x 100000}}",
			"b: {call: actor, needs: [a], with: {do: take x; take a/x; len x}}",
		}},
		{"take in two steps", "[take x: errno 44]", []string{
			"a: {call: actor, with: {do: put x 100000}}",
			"b: {call: actor, needs: [a], with: {do: take x}}",
			"c: {call: actor, needs: [b], with: {do: take x}}",
		}},
		{"borrow leaves it", "[borrow x: 100000 bytes of " + sum100000 + " take x: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: fill x 100000}}",
			"b: {call: actor, needs: [a], with: {do: borrow x}}",
			"c: {call: actor, needs: [b], with: {do: borrow x; take x}}",
		}},
		{"a reader's writes are its own", "[borrow x: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: fill x 100000}}",
			"b: {call: actor, needs: [a], with: {do: look x; dirty}}",
			"c: {call: actor, needs: [b], with: {do: borrow x}}",
		}},
		{"what a reader wrote can be published", "[borrow b/x: 100000 bytes of 3758665844 borrow a/x: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: fill x 100000}}",
			"b: {call: actor, needs: [a], with: {do: borrow x; dirty; forward x}}",
			"c: {call: actor, needs: [b], with: {do: borrow b/x; borrow a/x}}",
		}},
		{"forwarded three times", "[take x3: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: fill x0 100000}}",
			"b: {call: actor, needs: [a], with: {do: take x0; forward x1}}",
			"c: {call: actor, needs: [b], with: {do: take x1; forward x2}}",
			"d: {call: actor, needs: [c], with: {do: take x2; forward x3}}",
			"e: {call: actor, needs: [d], with: {do: take x3}}",
		}},
		{"length and type", "[len a/x: 100000 of type 7 len a/y: 3 of type 0 len z: errno 44]", []string{
			"a: {call: actor, with: {do: put x 100000 7; put y 3}}",
			"b: {call: actor, needs: [a], with: {do: len a/x; len a/y; len z}}",
		}},
		{"types must agree", "[take x: errno 67]", []string{
			"a: {call: actor, with: {do: put x 100000 7}}",
			"b: {call: actor, needs: [a], with: {do: take x 8}}",
		}},
		{"bytes are of any type", "[borrow x: 100000 bytes of " + sum100000 + " borrow y: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: put x 100000 7; put y 100000}}",
			"b: {call: actor, needs: [a], with: {do: borrow x 0; borrow y 7}}",
		}},
		{"bad names", "[put a/b: errno 28 put x$: errno 28 len //: errno 28]", []string{
			"a: {call: actor, with: {do: put a/b 1; put x$ 1; len //}}",
		}},
		{"a name twice in one step", "[put x: errno 20]", []string{"a: {call: actor, with: {do: put x 1; put x 1}}"}},
		{"an ambiguous name", "[take x: errno 34 take a/x: 1 bytes of 120]", []string{
			"a: {call: actor, with: {do: put x 1}}",
			"b: {call: actor, with: {do: put x 1}}",
			"c: {call: actor, needs: [a, b], with: {do: take x; take a/x}}",
		}},
		{"own slots", "[take x: 100000 bytes of " + sum100000 + " len a/x: errno 44]", []string{
			"a: {call: actor, with: {do: put x 100000; take x; len a/x}}",
		}},
		{"own slots that were taken are gone for others", "[len a/x: errno 44]", []string{
			"a: {call: actor, with: {do: put x 100000; take x}}",
			"b: {call: actor, needs: [a], with: {do: len a/x}}",
		}},
		{"foreach", "[[take map[0]/x: 70000 bytes of 1574160384] [take map[1]/x: 70000 bytes of 1574160384] [take map[2]/x: 70000 bytes of 1574160384]]", []string{
			"map: {call: actor, foreach: '${ 3 }', with: {do: put x 70000}}",
			"red: {call: actor, needs: [map], foreach: ['map[0]/x', 'map[1]/x', 'map[2]/x'], with: {do: 'take ${ .item }'}}",
		}},
		{"wait for what comes", "[take a/x: 100000 bytes of " + sum100000 + "]", []string{
			"a: {call: actor, with: {do: sleep 30; put x 100000}}",
			"b: {call: actor, with: {do: wait a/x; take a/x}}",
		}},
		{"wait with a time-out", "[wait never: errno 73 len a/x: 1 of type 0]", []string{
			"a: {call: actor, with: {do: put x 1}}",
			"b: {call: actor, needs: [a], with: {do: wait never 20; wait a/x 20; len a/x}}",
		}},
		{"many slots", "[took 300]", []string{
			"a: {call: actor, with: {do: puts p 300 20000}}",
			"b: {call: actor, needs: [a], with: {do: takes a/p 300}}",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := steps(t, test.steps...)
			last, _, _ := strings.Cut(test.steps[len(test.steps)-1], ":")
			a.Workflows["main"].Output = output(t, fmt.Sprintf("${ .%s }", last))
			for _, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					r := run(t, n, a, func(r *node.RunRequest) { r.Load, r.Pass, r.Apart = way.load, way.pass, way.apart })
					wantOutput(t, r, test.want)
				})
			}
		})
	}
}

// What a failed attempt has taken is there for the next one, and what it has
// put is not there for anybody.
func TestRetrySeesWhatWasTaken(t *testing.T) {
	n := newNode(t)
	a := steps(t,
		"a: {call: actor, with: {do: put x 100000}}",
		"b: {call: actor, needs: [a], retry: {max: 2}, with: {do: take x; len /half; put /half 50; first 2 exit 1; put y 5}}",
		"c: {call: actor, needs: [b], with: {do: take x; take /half; take b/y}}",
	)
	a.Workflows["main"].Output = output(t, "${ [.b[], .c[]] }")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			r := run(t, n, a, func(r *node.RunRequest) { r.Load, r.Pass, r.Apart = way.load, way.pass, way.apart })
			wantOutput(t, r, "[take x: 100000 bytes of "+sum100000+" len /half: errno 44 take x: errno 44 take /half: 50 bytes of 237795072 take b/y: 5 bytes of 114516600]")
		})
	}
}

// Two steps that publish the same name at the same time: the second to succeed
// fails, by that name.
func TestConflict(t *testing.T) {
	n := newNode(t)
	a := steps(t,
		"a: {call: actor, with: {do: put /x 1; wait /go}}",
		"b: {call: actor, with: {do: put /x 1; wait a/never 100}}",
		"c: {call: actor, wait: 50ms, with: {do: put /go 1}}",
	)
	for _, apart := range []bool{false, true} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
		wantFailure(t, r, engine.KindConflict, "step ", "function actor: ", " /x: already published: by ", "a name is published once in a run")
	}
}

// A name that a step before has published is refused at once by the host that
// knows of it, and where hosts differ when the step succeeds.
func TestNameTwice(t *testing.T) {
	n := newNode(t)
	a := steps(t, "a: {call: actor, with: {do: put /x 1}}", "b: {call: actor, needs: [a], with: {do: put /x 1}}")
	wantOutput(t, run(t, n, a), "[put /x: errno 20]")
	wantFailure(t, run(t, n, a, apart), engine.KindConflict, "step b: function actor: put /x: already published: by a")
}

func TestQuota(t *testing.T) {
	n := newNode(t, func(c *node.Config) { c.Quota = 8 << 20 })
	for _, pass := range []string{"reference", "file"} {
		for _, apart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s apart=%v", pass, apart), func(t *testing.T) {
				with := func(r *node.RunRequest) { r.Pass, r.Apart = pass, apart }
				// Over the quota at once, and together with what is held.
				a := steps(t, "a: {call: actor, with: {do: put x 9000000; put y 4000000; put z 5000000}}", "b: {call: actor, needs: [a], with: {do: len a/y; put x 5000000; put w 5000000}}")
				a.Workflows["main"].Output = output(t, "${ [.a[], .b[]] }")
				if r := run(t, n, a, with); pass == "file" && apart { // a host knows only what it has written itself
					wantFailure(t, r, "limit", "step b: function actor: put x: over the quota of the run: 5000000 bytes asked for, 4000000 of 8388608 held")
				} else {
					wantOutput(t, r, "[put x: errno 19 put z: errno 19 len a/y: 4000000 of type 0 put x: errno 19 put w: errno 19]")
				}
				// What was taken is no longer held: sizes that differ make each need memory of
				// its own.
				lines := []string{"s0: {call: actor, with: {do: put x0 4000000}}"}
				for i := 1; i < 8; i++ {
					lines = append(lines, fmt.Sprintf("s%d: {call: actor, needs: [s%d], with: {do: take x%d; release; put x%d %d}}", i, i-1, i-1, i, 4000000-i*400000))
				}
				lines = append(lines, "end: {call: actor, needs: [s7], with: {do: len x7}}")
				wantOutput(t, run(t, n, steps(t, lines...), with), "[len x7: 1200000 of type 0]")
			})
		}
	}
	// Output that does not fit fails by that name, and is not cut off.
	a := steps(t, "a: {call: actor, with: {do: emit 9000000}}")
	wantFailure(t, run(t, n, a), "output", "step a: function actor: standard output is incomplete after ", "over the quota of the run")
}

// A view that is passed on untouched is the same memory: the run holds it once.
func TestForwardDoesNotCopy(t *testing.T) {
	n := newNode(t, func(c *node.Config) { c.Quota = 8 << 20 })
	lines := []string{"s0: {call: actor, with: {do: fill x0 6000000}}"}
	for i := 1; i < 6; i++ {
		lines = append(lines, fmt.Sprintf("s%d: {call: actor, needs: [s%d], with: {do: borrow x%d; forward x%d}}", i, i-1, i-1, i))
	}
	lines = append(lines, "end: {call: actor, needs: [s5], with: {do: len x0; len x5}}")
	a := steps(t, lines...)
	for _, apart := range []bool{false, true} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
		wantOutput(t, r, "[len x0: 6000000 of type 0 len x5: 6000000 of type 0]")
	}
	// With a page written to there is one copy, which does not fit.
	r := run(t, n, steps(t, "a: {call: actor, with: {do: fill x 6000000}}", "b: {call: actor, needs: [a], with: {do: look x; dirty; forward y}}"))
	wantOutput(t, r, "[look x: errno 0, 6000000 bytes forward y: errno 19]")
}

// A call can have taken and put more than fits beside its result.
func TestManySlots(t *testing.T) {
	n := newNode(t)
	const name = "a-long-name-of-a-slot-that-makes-lists-of-slots-longer-than-frames-"
	a := steps(t,
		"a: {call: actor, with: {do: puts "+name+" 4000}}",
		"b: {call: actor, needs: [a], with: {do: takes a/"+name+" 4000}}",
		"c: {call: actor, needs: [b], with: {do: takes a/"+name+" 4000}}",
	)
	a.Workflows["main"].Output = output(t, "${ [.b[], .c[]] }")
	for _, apart := range []bool{false, true} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
		wantOutput(t, r, "[took 4000 took 0]")
	}
}

func TestWideForeach(t *testing.T) {
	n := newNode(t)
	a := steps(t,
		"map: {call: actor, foreach: '${ 500 }', with: {do: 'put x 10; env WEFT_INDEX'}}",
		"sum: {call: actor, needs: [map], with: {do: 'take map[0]/x; take map[250]/x; take map[499]/x; take map[500]/x'}}",
	)
	a.Workflows["main"].Output = output(t, "${ [(.map | length), .map[499][0], .sum[]] }")
	ten := "10 bytes of " + fmt.Sprint(checksum("xxxxxxxxxx"))
	wantOutput(t, run(t, n, a), "[500 env WEFT_INDEX: 499 take map[0]/x: "+ten+" take map[250]/x: "+ten+" take map[499]/x: "+ten+" take map[500]/x: errno 44]")
}

func TestSubWorkflowSlots(t *testing.T) {
	n := newNode(t)
	a := load(t, `
functions:
  actor: {source: ACTOR, concurrency: 16}
workflows:
  inner:
    steps:
      make: {call: actor, with: {do: "put x 100000; put ${ .input } 7"}}
      use: {call: actor, needs: [make], with: {do: "take make/x; env WEFT_STEP"}}
  main:
    steps:
      one: {call: inner, with: again}
      each: {call: inner, foreach: [b, c], with: "${ .item }"}
      after: {call: actor, needs: [one, each], with: {do: "take one/make/again; len each[1]/make/x; len each[0]/make/again"}}
    output: ["${ .one }", "${ .each[1] }", "${ .after }"]
`)
	for _, apart := range []bool{false, true} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
		wantOutput(t, r, "[[take make/x: 100000 bytes of "+sum100000+" env WEFT_STEP: one/use] [take make/x: 100000 bytes of "+sum100000+" env WEFT_STEP: each[1]/use] [take one/make/again: 7 bytes of "+
			fmt.Sprint(checksum("xxxxxxx"))+" len each[1]/make/x: errno 44 len each[0]/make/again: errno 44]]")
	}
	// A sub-workflow that is tried again publishes anew.
	a = load(t, `
functions:
  actor: {source: ACTOR, concurrency: 16}
workflows:
  inner:
    steps:
      make: {call: actor, with: {do: "put x 100000"}}
      fail: {call: actor, needs: [make], with: {do: "borrow make/x; exit 3"}}
  main:
    steps:
      one: {call: inner, retry: {max: 2}, catch: {value: "${ .error }"}}
      after: {call: actor, needs: [one], with: {do: "len one/make/x"}}
    output: ["${ .one.message }", "${ .after }"]
`)
	for _, apart := range []bool{false, true} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
		wantOutput(t, r, "[function actor exited with status 3 [len one/make/x: errno 44]]")
	}
}

// A run can hold as many large slots as a host may have descriptors; beyond
// that there is an error, and not the end of the host.
func TestManyLargeSlots(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		count int
		want  string
	}{{3000, "[took 3000]"}, {5000, "[put p3584: errno 19]"}} {
		a := steps(t,
			fmt.Sprintf("a: {call: actor, with: {do: puts p %d 20000}}", test.count),
			fmt.Sprintf("b: {call: actor, needs: [a], with: {do: takes a/p %d}}", test.count),
		)
		if test.count > 4096 {
			a.Workflows["main"].Output = output(t, "${ .a }")
		}
		r := run(t, n, a)
		if r.Failure != nil {
			t.Errorf("%d slots: %s: %s", test.count, r.Failure.Kind, r.Failure.Error())
		} else if got := fmt.Sprint(r.Output); !strings.HasPrefix(got, test.want) {
			t.Errorf("%d slots: %.100s", test.count, got)
		}
	}
}
