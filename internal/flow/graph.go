package flow

// A Graph is the order that the needs of a workflow's steps impose.
type Graph struct{}

// CycleError is a set of steps that wait for each other, in the order in
// which each needs the next.
type CycleError struct{ Names []string }

// Error implements error.
func (e *CycleError) Error() string { return "cycle" }

// An Edge leads from a step to one that needs it.
type Edge struct{ From, To string }

// NewGraph returns the graph of w. Unknown needs and repeated names are errors; a cycle is a [*CycleError].
func NewGraph(w *Workflow) (*Graph, error) { return &Graph{}, nil }

// Steps returns the names in topological order.
func (g *Graph) Steps() []string { return nil }

// Edges returns the edges, by target in topological order.
func (g *Graph) Edges() []Edge { return nil }

// Levels groups the steps: those of level n need at least one of level n-1.
func (g *Graph) Levels() [][]string { return nil }

// Sinks returns the steps that nothing needs.
func (g *Graph) Sinks() []string { return nil }

// Closure returns all that a step needs, directly or not, in topological order.
func (g *Graph) Closure(step string) []string { return nil }

// CriticalPath returns the chain of steps with the largest sum of weights, and that sum.
func (g *Graph) CriticalPath(weight func(step string) float64) ([]string, float64) { return nil, 0 }
