package lab

import (
	"context"
	"time"
)

// Weft is what the experiments ask of a node. The node of this process is one (StartNode); tests use another.
type Weft interface {
	// Open reads the app in dir and builds its functions, so that no run of it has to. Where mounts has the guest path of a file grant, that
	// grant's host folder is the one in mounts instead of the app's own.
	Open(ctx context.Context, dir string, mounts map[string]string) (App, error)
	// IdleHost starts a domain host and says how long it took until it could take an assignment, and how much memory it has then, in bytes of
	// PSS. Apps opened before cannot be run afterwards.
	IdleHost(ctx context.Context) (started time.Duration, memory int64, err error)
	// Close ends the node and everything it started.
	Close() error
}

// App is an app whose functions are built.
type App interface {
	// Run executes a workflow once. A run that ends in any way but success is an error.
	Run(ctx context.Context, r Request) (*Result, error)
}

// Request says what to run and under which policies.
type Request struct {
	Workflow string
	Input    any
	Load     string // lazy or eager; empty: what the app file says
	Pass     string // reference or file; empty: what the app file says
	Apart    bool   // every step in a domain host of its own
	Seed     uint64
}

// Result is the outcome of a successful run. Close it.
type Result struct {
	Output any    // as encoding/json gives it
	Steps  []Step // in the order in which they started
	close  func() error
}

// Step is one attempt of one step of a run, as the node saw it. Times are since the start of the run.
type Step struct {
	Name       string
	Index      int
	Start, End time.Duration // from the node's decision to start the call to its learning of the end
	Inside     time.Duration // of that, in the guest's own code; zero when not known
}

// Close gives back what the run's output still holds.
func (r *Result) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}
