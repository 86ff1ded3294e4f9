package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
)

// node is what the commands ask of a node. The real one is wired in by openNode; tests bring another.
type node interface {
	Build(ctx context.Context, a *app.App, obs *progress) error
	Run(ctx context.Context, r runRequest) (runResult, error)
	Exec(ctx context.Context, r execRequest) (int, error)
	Close() error
}

// nodeOpener starts a node that keeps its cache in a folder, "" for the default.
type nodeOpener func(cacheDir string) (node, error)

// runRequest says what to run and how.
type runRequest struct {
	App        *app.App
	Workflow   string
	Input      any
	Seed       uint64
	Load, Pass string // empty: as the app file says
	Progress   *progress
}

// runResult is the outcome of a run. Close gives back its buffers.
type runResult interface {
	Outcome() outcome
	Open(slot string) (io.ReadCloser, int64, error)
	Close() error
}

// outcome is what a run came to.
type outcome struct {
	ID      string
	Status  flow.Status
	Output  any
	Failure *flow.Failure
	Trace   *telemetry.Trace
}

// execRequest is one program for weft exec.
type execRequest struct {
	Module         string
	Args           []string
	Env            map[string]string
	Files          []app.FileGrant
	Dial           []string
	Listen         []int
	Memory         int64         // bytes; 0: the default
	Timeout        time.Duration // 0: none
	Stdin          *os.File
	Stdout, Stderr *os.File
}

// withNode opens a node for the duration of f and closes it whatever happens.
func (sh *shell) withNode(f func(n node) error) (err error) {
	n, err := sh.open(sh.getenv("WEFT_CACHE"))
	if err != nil {
		return fmt.Errorf("start a node: %w", err)
	}
	defer func() {
		if closing := n.Close(); closing != nil && err == nil {
			err = fmt.Errorf("stop the node: %w", closing)
		}
	}()
	return f(n)
}
