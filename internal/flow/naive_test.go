package flow_test

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/flow"
)

// plainFlow and plainStep are a workflow as values, with templates as YAML
// would have them. Both the machine and the naive interpreter are given these.
type plainFlow struct {
	name   string
	steps  []plainStep
	output any
}

type plainStep struct {
	name, call            string // call: "f", the name of another flow, or nothing
	needs                 []string
	with, stdin           any
	when, foreach, wait   any
	concurrency, retries  int
	backoff, timeout      time.Duration
	signal                string // "go": each item has one of its own; "free": all are alike
	signalTimeout         time.Duration
	catches               bool
	catchValue, catchWith any
	catchCall             string
}

// naive interprets workflows one step after the other, without events. A
// failure does not keep it from going on with what is independent of it, for
// it might have run before the failure.
type naive struct {
	flows map[string]*plainFlow
	fates fates
	done  map[string]stepResult // by ID, see stepID
}

type stepResult struct {
	status flow.Status
	output any
}

// fates are what happens in a run.
type fates interface {
	attempt(id string, attempt int, timeout time.Duration) fate
	// late says that a signal "go" does not come before its timeout, if it has one.
	late(id string) bool
}

// signalValue is what comes with the signal for an item.
func signalValue(name, path string) any {
	if name == "free" {
		return "free"
	}
	return map[string]any{"path": path}
}

// fate is what happens to one attempt.
type fate int

const (
	succeeds fate = iota
	fails
	lost
	hangs // until its timeout
	hopeless
)

// stepID tells apart the executions of a step: an epoch has, for each
// workflow around it, how many executions of that have failed before.
func stepID(epoch, path string) string { return epoch + " " + path }

// run executes a flow. failures are the paths of which one is named when it
// fails.
func (n *naive) run(f *plainFlow, prefix, epoch, caller string, input any) (output any, failures []string) {
	outputs, skipped, broken := map[string]any{}, map[string]bool{}, map[string]bool{}
	closure := map[string][]string{}
	for i := range f.steps {
		s := &f.steps[i]
		blocked, live := false, len(s.needs) == 0
		scope := map[string]any{"input": input, "run": map[string]any{"id": "r1"}}
		for _, need := range s.needs {
			closure[s.name] = append(append(closure[s.name], need), closure[need]...)
			blocked = blocked || broken[need]
			live = live || !skipped[need]
		}
		if blocked {
			broken[s.name] = true
			continue
		}
		for _, name := range closure[s.name] {
			scope[name] = outputs[name]
		}
		status, out, failed := flow.Skipped, any(nil), []string(nil)
		if live {
			status, out, failed = n.step(s, prefix, epoch, input, scope)
		}
		n.done[stepID(epoch, prefix+s.name)] = stepResult{status, out}
		outputs[s.name], skipped[s.name] = out, status == flow.Skipped
		if status == flow.Failed {
			broken[s.name] = true
			failures = append(failures, failed...)
		}
	}
	if failures != nil {
		return nil, failures
	}
	if f.output != nil {
		scope := map[string]any{"input": input, "run": map[string]any{"id": "r1"}}
		for name, out := range outputs {
			scope[name] = out
		}
		output, err := fill(f.output, scope)
		if err != nil {
			return nil, []string{caller}
		}
		return output, nil
	}
	sinks := map[string]any{}
	for _, s := range f.steps {
		needed := slices.ContainsFunc(f.steps, func(other plainStep) bool { return slices.Contains(other.needs, s.name) })
		if !needed {
			sinks[s.name], output = outputs[s.name], outputs[s.name]
		}
	}
	if len(sinks) > 1 {
		return sinks, nil
	}
	return output, nil
}

func (n *naive) step(s *plainStep, prefix, epoch string, input any, scope map[string]any) (flow.Status, any, []string) {
	path := prefix + s.name
	whole := func() (flow.Status, any, []string) { // fails, or is caught, before there are items
		if s.signal != "" {
			scope["signal"] = nil
		}
		out, failures := n.catch(s, path, epoch, nil, 0, 0, scope, []string{path})
		if failures != nil {
			return flow.Failed, nil, failures
		}
		return flow.Caught, out, nil
	}
	if s.when != nil {
		v, err := fill(s.when, scope)
		if _, isBool := v.(bool); err != nil || v != nil && !isBool {
			return whole()
		}
		if v != true {
			return flow.Skipped, nil, nil
		}
	}
	if s.foreach == nil {
		out, caught, failures := n.item(s, path, epoch, nil, input, scope)
		return status(caught, failures), out, failures
	}
	v, err := fill(s.foreach, scope)
	values, ok := expand(v)
	if err != nil || !ok {
		return whole()
	}
	outs, anyCaught, failures := make([]any, len(values)), false, []string(nil)
	for i, value := range values {
		with := map[string]any{"item": value, "index": i}
		for name, v := range scope {
			with[name] = v
		}
		out, caught, failed := n.item(s, fmt.Sprintf("%s[%d]", path, i), epoch, value, value, with)
		outs[i], anyCaught, failures = out, anyCaught || caught, append(failures, failed...)
	}
	return status(anyCaught, failures), outs, failures
}

func status(caught bool, failures []string) flow.Status {
	switch {
	case failures != nil:
		return flow.Failed
	case caught:
		return flow.Caught
	}
	return flow.Succeeded
}

func expand(v any) ([]any, bool) {
	switch v := fromJSON(toJSON(v)).(type) {
	case []any:
		return v, true
	case float64:
		var list []any
		for i := range int(v) {
			list = append(list, i)
		}
		return list, v >= 0 && v == float64(int(v))
	case map[string]any:
		length := -1
		var list []any
		for key, l := range v {
			column, ok := l.([]any)
			if !ok || length >= 0 && len(column) != length {
				return nil, false
			}
			if length = len(column); list == nil {
				list = make([]any, length)
			}
			for i := range column {
				if list[i] == nil {
					list[i] = map[string]any{}
				}
				list[i].(map[string]any)[key] = column[i]
			}
		}
		return list, length >= 0
	}
	return nil, false
}

func (n *naive) item(s *plainStep, path, epoch string, item, standard any, scope map[string]any) (out any, caught bool, failures []string) {
	input, stdin, err := standard, any(nil), error(nil)
	if s.signal != "" {
		input = signalValue(s.signal, path)
		if s.signal == "go" && s.signalTimeout > 0 && n.fates.late(stepID(epoch, path)) {
			input, err = nil, fmt.Errorf("no signal")
		}
		scope["signal"] = input
	} else if len(s.needs) > 0 && s.foreach == nil {
		needed := map[string]any{}
		for _, need := range s.needs {
			needed[need] = scope[need]
		}
		input = needed
	}
	if s.with != nil && err == nil {
		input, err = fill(s.with, scope)
	}
	if s.stdin != nil && err == nil {
		input = nil
		stdin, err = fill(s.stdin, scope)
	}
	if s.wait != nil && err == nil {
		var wait any
		wait, err = fill(s.wait, scope)
		if text, isText := wait.(string); isText {
			_, err = time.ParseDuration(text)
		} else if fmt.Sprintf("%T", fromJSON(toJSON(wait))) != "float64" {
			err = fmt.Errorf("not a duration")
		}
	}
	failed, attempts, discards := []string{path}, 0, 0
	if err == nil {
		out, failed, attempts, discards = n.attempts(s, s.call, path, epoch, input, stdin, 0, 0, s.retries)
		if failed == nil {
			return out, false, nil
		}
	}
	out, failed = n.catch(s, path, epoch, item, attempts, discards, scope, failed)
	return out, true, failed
}

func (n *naive) catch(s *plainStep, path, epoch string, item any, attempts, discards int, scope map[string]any, failed []string) (any, []string) {
	if !s.catches {
		return nil, failed
	}
	with := map[string]any{"error": map[string]any{"index": scope["index"]}}
	for name, v := range scope {
		with[name] = v
	}
	if s.catchCall == "" {
		out, err := fill(s.catchValue, with)
		if err != nil {
			return nil, []string{path}
		}
		return out, nil
	}
	input, err := fill(s.catchWith, with)
	if err != nil {
		return nil, []string{path}
	}
	out, failed, _, _ := n.attempts(s, s.catchCall, path, epoch, input, nil, attempts, discards, 0)
	return out, failed
}

func (n *naive) attempts(s *plainStep, call, path, epoch string, input, stdin any, attempt, discards, retries int) (any, []string, int, int) {
	if call == "" {
		return input, nil, attempt, discards
	}
	for free := 0; ; {
		attempt++
		var result fate
		failed := []string{path}
		if sub := n.flows[call]; sub != nil {
			out, failures := n.run(sub, path+".", fmt.Sprintf("%s/%d", epoch, discards), path, input)
			if failures == nil {
				return out, nil, attempt, discards
			}
			discards++
			result, failed = fails, failures
		} else if result = n.fates.attempt(stepID(epoch, path), attempt, s.timeout); result == succeeds {
			return output(path, input, stdin), nil, attempt, discards
		}
		switch {
		case result == lost && free < flow.FreeRetries:
			free++
		case result != hopeless && retries > 0:
			retries--
		default:
			return nil, failed, attempt, discards
		}
	}
}

// output is what every function gives.
func output(path string, input, stdin any) any {
	h := hash(path, toJSON(input), toJSON(stdin))
	list := []any{}
	for i := range h % 4 {
		list = append(list, float64(i))
	}
	return map[string]any{"n": float64(h % 5), "list": list, "flag": h%2 == 0}
}

func hash(words ...string) uint64 {
	h := fnv.New64a()
	for _, w := range words {
		fmt.Fprintf(h, "%d %s", len(w), w)
	}
	return h.Sum64() >> 7
}

var expression = regexp.MustCompile(`\$\{([^}]*)\}`)

// fill evaluates a template by giving all of its expressions to jq.
func fill(v any, scope map[string]any) (any, error) {
	switch v := v.(type) {
	case string:
		if all := expression.FindStringSubmatch(v); all != nil && all[0] == v {
			return evaluateJQ(all[1], scope)
		}
		var failed error
		text := expression.ReplaceAllStringFunc(v, func(x string) string {
			value, err := evaluateJQ(strings.Trim(x, "${}"), scope)
			if err != nil {
				failed = err
			}
			if s, ok := value.(string); ok {
				return s
			}
			return toJSON(value)
		})
		return text, failed
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = fill(v[i], scope); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for key := range v {
			var err error
			if out[key], err = fill(v[key], scope); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
