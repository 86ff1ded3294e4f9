package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
)

// runner is what the commands ask of a node; tests act one out.
type runner interface {
	Build(ctx context.Context, a *app.App, o engine.Observer) error
	Run(ctx context.Context, r node.RunRequest) (result, error)
	Exec(ctx context.Context, r node.ExecRequest) (int, error)
	Close() error
}

// result is the outcome of a run and the buffers that its output names, until Close.
type result struct {
	*engine.Result
	buffers buffers
}

// buffers are the buffers of a run.
type buffers interface {
	Open(slot string) (io.ReadCloser, int64, error)
	Close() error
}

// opener starts a node.
type opener func(ctx context.Context, cfg node.Config) (runner, error)

// openNode starts the node of this process.
func openNode(ctx context.Context, cfg node.Config) (runner, error) {
	n, err := node.New(ctx, cfg)
	if err != nil {
		return nil, needsHost(err)
	}
	return local{n}, nil
}

// needsHost says what to do about a program that was built without its domain host.
func needsHost(err error) error {
	if errors.Is(err, hostbin.ErrAbsent) {
		return &exitError{code: exitRefused, err: err, hint: "run make build in weft's source, and use bin/weft"}
	}
	return err
}

// local is a node in this process.
type local struct{ *node.Node }

func (l local) Run(ctx context.Context, r node.RunRequest) (result, error) {
	res, err := l.Node.Run(ctx, r)
	return result{res, res}, err
}

// withNode opens a node for the duration of f and closes it whatever happens.
// Its calls get the processor by a policy; "" or none: as the kernel decides.
func (sh *shell) withNode(ctx context.Context, cpu string, f func(n runner) error) (err error) {
	cfg := node.Config{CacheDir: sh.getenv("WEFT_CACHE")}
	if cpu != "" && cpu != policy.None {
		settings := scheduler.Defaults(runtime.NumCPU())
		settings.Policy = cpu
		if cfg.CPU, err = scheduler.New(scheduler.Options{Settings: settings, NodeStays: true}); err != nil {
			return fmt.Errorf("schedule calls: %w", err)
		}
	}
	n, err := sh.open(ctx, cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("start a node: %w", err), cfg.CPU.Close())
	}
	defer func() {
		if closing := n.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("stop the node: %w", closing))
		}
	}()
	return f(n)
}
