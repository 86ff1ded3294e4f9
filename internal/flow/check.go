package flow

// A Problem is one thing that is wrong with a workflow.
type Problem struct {
	Step    string // the step's name; empty: the workflow itself
	Key     string // the offending key within the step or workflow: "needs[1]", "catch.call", "retry.max", "output"
	Message string // lower case: `there is no step "spilt"`
	Hint    string // what to do about it, or empty
}

// InvalidError is a workflow that cannot run.
type InvalidError struct {
	Workflow string
	Problems []Problem
}

// Error implements error.
func (e *InvalidError) Error() string { return "invalid" }

// Check returns all that is wrong with a workflow, in the order of its steps.
// targets has the kind of every name that a step may call.
func Check(w *Workflow, targets map[string]TargetKind) []Problem { return nil }
