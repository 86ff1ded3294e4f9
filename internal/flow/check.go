package flow

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Problem is one thing that is wrong with a workflow. Whoever read the
// workflow from a file knows where Step and Key are written there.
type Problem struct {
	Step    string // the step's name; empty: the workflow itself
	Key     string // within the step or workflow: "needs[1]", "catch.call", "retry.max", "output"; empty: the name
	Message string // lower case: `there is no step "spilt"`
	Hint    string // what to do about it, or empty
}

// String joins all that is known: `step count, needs[0]: there is no step
// "spilt" (did you mean "split"?)`.
func (p Problem) String() string {
	var b strings.Builder
	if p.Step != "" {
		b.WriteString("step " + p.Step)
	}
	if p.Key != "" {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.Key)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// InvalidError is a workflow that cannot run.
type InvalidError struct {
	Workflow string
	Problems []Problem
}

// Error implements error.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return fmt.Sprintf("workflow %s cannot run: %s", e.Workflow, strings.Join(lines, "; "))
}

// Check returns all that is wrong with a workflow: first what is wrong with
// the workflow itself, then with each of its steps. targets has the kind of
// every name that a step may call; nil leaves those names unchecked.
func Check(w *Workflow, targets map[string]TargetKind) []Problem {
	c := checker{flow: w, targets: targets, steps: make(map[string]int, len(w.Steps))}
	c.names()
	c.graph()
	if w.Timeout < 0 {
		c.add("", "timeout", "a timeout is not negative", "")
	}
	c.template("", "output", w.Output, -1, scopeNames{})
	for i := range w.Steps {
		c.step(i)
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return c.position(a.Step) - c.position(b.Step) })
	return c.problems
}

type checker struct {
	flow     *Workflow
	targets  map[string]TargetKind
	steps    map[string]int // the first step of each name
	sound    *Graph         // nil when names or needs are wrong
	problems []Problem
}

func (c *checker) add(step, key, message, hint string) {
	c.problems = append(c.problems, Problem{step, key, message, hint})
}

func (c *checker) position(step string) int {
	if step == "" {
		return -1
	}
	return c.steps[step]
}

func (c *checker) names() {
	if len(c.flow.Steps) == 0 {
		c.add("", "steps", "a workflow has at least one step", "")
	}
	for i, s := range c.flow.Steps {
		switch _, dup := c.steps[s.Name]; {
		case dup:
			c.add(s.Name, "", fmt.Sprintf("two steps are called %q", s.Name), "rename one of them")
			continue
		case !validName(s.Name):
			c.add(s.Name, "", fmt.Sprintf("%q is not a name for a step", s.Name),
				"a name is a lower-case letter and then at most 62 lower-case letters, digits and _")
		case slices.Contains(Reserved, s.Name):
			c.add(s.Name, "", fmt.Sprintf("a step cannot be called %q", s.Name), "expressions use ."+s.Name+" for something else")
		}
		c.steps[s.Name] = i
	}
}

func validName(name string) bool {
	for i := range len(name) {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z':
		case i > 0 && (b == '_' || isDigit(b)):
		default:
			return false
		}
	}
	return 1 <= len(name) && len(name) <= 63
}

func (c *checker) graph() {
	for _, s := range c.flow.Steps {
		seen := make(map[string]bool, len(s.Needs))
		for i, need := range s.Needs {
			key := fmt.Sprintf("needs[%d]", i)
			switch _, known := c.steps[need]; {
			case !known:
				c.add(s.Name, key, fmt.Sprintf("there is no step %q", need), hintFor(c, need, c.steps))
			case need == s.Name:
				c.add(s.Name, key, "a step cannot need itself", "")
			case seen[need]:
				c.add(s.Name, key, fmt.Sprintf("step %q is needed twice", need), "remove one of the two")
			}
			seen[need] = true
		}
	}
	if len(c.problems) > 0 {
		return
	}
	graph, err := NewGraph(c.flow)
	if cycle, ok := err.(*CycleError); ok {
		c.add(cycle.Names[0], "needs", cycle.Error(), "remove one of these needs")
		return
	}
	c.sound = graph
}

func (c *checker) step(i int) {
	s := &c.flow.Steps[i]
	each := !s.Foreach.IsZero()
	c.target(s.Name, "call", s.Call)
	c.template(s.Name, "when", s.When, i, scopeNames{})
	c.template(s.Name, "foreach", s.Foreach, i, scopeNames{})
	names := scopeNames{item: each, signal: s.Signal.Name != ""}
	c.template(s.Name, "with", s.With, i, names)
	c.template(s.Name, "stdin", s.Stdin, i, names)
	c.template(s.Name, "wait", s.Wait, i, names)
	c.signal(s)
	c.constants(s)
	c.retry(s.Name, s.Retry)
	if s.Timeout < 0 {
		c.add(s.Name, "timeout", "a timeout is not negative", "")
	}
	if s.Concurrency < 0 {
		c.add(s.Name, "concurrency", "concurrency is not negative", "0 runs all items at once")
	}
	if s.Concurrency > 0 && !each {
		c.add(s.Name, "concurrency", "concurrency without foreach does nothing", "")
	}
	switch {
	case s.Call.IsZero():
		c.useless(s.Name, "stdin", !s.Stdin.IsZero())
		c.useless(s.Name, "retry", s.Retry.Max > 0)
		c.useless(s.Name, "timeout", s.Timeout > 0)
	case !s.Stdin.IsZero() && s.Call.Kind == SubWorkflow:
		c.add(s.Name, "stdin", "a workflow has no stdin", "give it the value with: instead")
	case !s.Stdin.IsZero() && !s.With.IsZero():
		c.add(s.Name, "stdin", "stdin takes the place of with", "give one of the two")
	}
	if s.Catch != nil {
		c.catch(s, i, each)
	}
}

func (c *checker) signal(s *Step) {
	switch {
	case s.Signal.Name == "" && s.Signal.Timeout != 0:
		c.add(s.Name, "signal.timeout", "a timeout without the name of a signal does nothing", "")
	case s.Signal.Name != "" && !validName(s.Signal.Name):
		c.add(s.Name, "signal", fmt.Sprintf("%q is not a name for a signal", s.Signal.Name), "names begin with a letter and have small letters, digits and _")
	case s.Signal.Timeout < 0:
		c.add(s.Name, "signal.timeout", "a timeout is not negative", "")
	}
}

func (c *checker) useless(step, key string, set bool) {
	if set {
		c.add(step, key, key+" without call does nothing", "")
	}
}

func (c *checker) catch(s *Step, i int, each bool) {
	names := scopeNames{item: each, error: true, signal: s.Signal.Name != ""}
	c.template(s.Name, "catch.value", s.Catch.Value, i, names)
	c.template(s.Name, "catch.with", s.Catch.With, i, names)
	c.target(s.Name, "catch.call", s.Catch.Call)
	if s.Catch.Value.IsZero() == s.Catch.Call.IsZero() {
		c.add(s.Name, "catch", "a catch has either a value or a call", "")
	}
	if s.Catch.Call.IsZero() && !s.Catch.With.IsZero() {
		c.add(s.Name, "catch.with", "with is the input of a call, and this catch has none", "")
	}
}

// constants checks what is already known of templates without expressions.
func (c *checker) constants(s *Step) {
	if v, ok := s.When.Constant(); ok {
		if _, err := condition(v); err != nil {
			c.add(s.Name, "when", err.Error(), "")
		}
	}
	if v, ok := s.Wait.Constant(); ok {
		if _, err := duration(v); err != nil {
			c.add(s.Name, "wait", err.Error(), `write "5s", "1m30s" or a number of seconds`)
		}
	}
	if v, ok := s.Foreach.Constant(); ok {
		if _, err := makeItems(v); err != nil {
			c.add(s.Name, "foreach", err.Error(), "")
		}
	}
}

func (c *checker) retry(step string, r Retry) {
	if r.Max < 0 || r.Max > MaxRetries {
		c.add(step, "retry.max", fmt.Sprintf("retry.max is between 0 and %d", MaxRetries), "")
	}
	if r.Backoff < 0 {
		c.add(step, "retry.backoff", "a backoff is not negative", "")
	}
	if r.MaxBackoff < 0 {
		c.add(step, "retry.max_backoff", "a backoff is not negative", "")
	}
	if r.Factor != 0 && !(r.Factor >= 1 && !math.IsInf(r.Factor, 1)) {
		c.add(step, "retry.factor", "retry.factor is at least 1", "")
	}
	if !(r.Jitter >= 0 && r.Jitter <= 1) {
		c.add(step, "retry.jitter", "retry.jitter is between 0 and 1", "0.2 is up to 20 % earlier or later")
	}
}

func (c *checker) target(step, key string, t Target) {
	if t.IsZero() {
		return
	}
	if c.targets == nil {
		if t.Kind != Function && t.Kind != ServiceMethod && t.Kind != SubWorkflow {
			c.add(step, key, fmt.Sprintf("%q is called as %q, which is no kind of target", t.Name, t.Kind), "")
		}
		return
	}
	if kind, known := c.targets[t.Name]; !known {
		c.add(step, key, fmt.Sprintf("there is no function, service method or workflow %q", t.Name), hintFor(c, t.Name, c.targets))
	} else if kind != t.Kind {
		c.add(step, key, fmt.Sprintf("%q is a %s, not a %s", t.Name, kind, t.Kind), "")
	}
}

// scopeNames says which names besides input, run and steps are in scope.
type scopeNames struct{ item, error, signal bool }

// template checks the names that expressions read. step is -1 for
// the workflow's output, which sees all steps.
func (c *checker) template(name, key string, t Template, step int, names scopeNames) {
	for _, e := range t.Expressions() {
		for _, read := range e.reads {
			message, hint := c.reading(read, step, names)
			if message != "" {
				c.add(name, key+e.Path, message, hint)
			}
		}
	}
}

func (c *checker) reading(name string, step int, names scopeNames) (message, hint string) {
	other, known := c.steps[name]
	switch {
	case name == "input" || name == "run":
	case name == "item" || name == "index":
		if !names.item {
			return fmt.Sprintf(".%s is only there in with, stdin, wait and catch of a step with foreach", name), ""
		}
	case name == "signal":
		if !names.signal {
			return ".signal is only there in with, stdin, wait and catch of a step with signal", ""
		}
	case name == "error":
		if !names.error {
			return ".error is only there in a catch", ""
		}
	case !known:
		return fmt.Sprintf("there is no step %q", name), hintFor(c, name, c.steps, Reserved...)
	case step >= 0 && other == step:
		return "a step's own output is not there before it has run", ""
	case step >= 0 && c.sound != nil && !c.sound.follows(step, other):
		return fmt.Sprintf("step %q may not have run yet", name), fmt.Sprintf("add %s to needs", name)
	}
	return "", ""
}

// maxHints is how many problems get a hint: looking for the nearest of many
// names is slow, and nobody reads the hundredth.
const maxHints = 100

// hintFor returns the hint of a misspelt name while there are few problems.
func hintFor[V any](c *checker, name string, known map[string]V, more ...string) string {
	if len(c.problems) >= maxHints {
		return ""
	}
	return Nearest(name, append(keys(known), more...))
}

// Nearest returns a hint for a name that is not among names: `did you mean
// "split"?`, or nothing when none is close. It sorts names.
func Nearest(name string, names []string) string {
	if len(name) > 64 {
		return ""
	}
	slices.Sort(names)
	best, least := "", min(3, len(name)/2+1)
	for _, other := range names {
		if d := distance(name, other); d < least {
			best, least = other, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		now, above, two := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			now[j] = min(above[j]+1, now[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], two[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}

func keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}

// condition returns the value of a when.
func condition(v any) (bool, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return false, fmt.Errorf("when gives true or false, not %s", typeOf(v))
}

// duration returns the value of a wait.
func duration(v any) (time.Duration, error) {
	var d time.Duration
	switch v := v.(type) {
	case string:
		parsed, err := time.ParseDuration(v)
		if err != nil {
			return 0, fmt.Errorf("wait: %q is not a duration", v)
		}
		d = parsed
	case int:
		return duration(float64(v))
	case float64:
		if v > float64(math.MaxInt64/int64(time.Second)) {
			return 0, fmt.Errorf("wait: %v seconds is too long", v)
		}
		d = time.Duration(v * float64(time.Second))
	default:
		return 0, fmt.Errorf("wait gives a duration, not %s", typeOf(v))
	}
	if d < 0 {
		return 0, fmt.Errorf("wait: %v is negative", v)
	}
	return d, nil
}
