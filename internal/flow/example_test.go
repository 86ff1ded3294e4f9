package flow_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/flow"
)

// A run whose functions are Go functions, called in the place where the
// machine asks for them. Nothing else is needed: no clock, no goroutine.
func ExampleMachine() {
	parts, err := flow.Parse("${ .split.parts }")
	if err != nil {
		fmt.Println(err)
		return
	}
	w := &flow.Workflow{Name: "shout", Steps: []flow.Step{
		{Name: "split", Call: flow.Target{Kind: flow.Function, Name: "split"}},
		{Name: "upper", Call: flow.Target{Kind: flow.Function, Name: "upper"}, Needs: []string{"split"}, Foreach: parts},
	}}
	functions := map[string]func(input any) any{
		"split": func(input any) any {
			var words []any
			for word := range strings.FieldsSeq(input.(string)) {
				words = append(words, word)
			}
			return map[string]any{"parts": words}
		},
		"upper": func(input any) any { return strings.ToUpper(input.(string)) },
	}

	m, err := flow.New(flow.Spec{Workflow: w, RunID: "r1", Input: "warp and weft"})
	if err != nil {
		fmt.Println(err)
		return
	}
	events := []flow.Event{flow.Started{}}
	for now := time.Duration(0); !m.Done(); now += time.Millisecond {
		event := events[0]
		events = events[1:]
		for _, c := range m.Apply(event, now) {
			switch c := c.(type) {
			case flow.StartCall:
				fmt.Println("call", c.Path)
				events = append(events, flow.StepFinished{Call: c.Call, Output: functions[c.Target.Name](c.Input)})
			case flow.FinishRun:
				fmt.Println(c.Status, c.Output)
			}
		}
	}
	// Output:
	// call split
	// call upper[0]
	// call upper[1]
	// call upper[2]
	// succeeded [WARP AND WEFT]
}
