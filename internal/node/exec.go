package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// ExecRequest is one WASI command with the standard streams of its caller.
type ExecRequest struct {
	Module                string
	Args                  []string
	Env                   map[string]string
	Files                 []app.FileGrant // relative to the working folder
	Dial                  []string
	Listen                []int
	Memory                int64         // bytes; 0: the default of functions
	Timeout               time.Duration // 0: none
	Stdin, Stdout, Stderr *os.File
}

// Exec runs a WASI command in the sandbox that functions run in, and returns
// its exit status. When Timeout is over it returns context.DeadlineExceeded.
func (n *Node) Exec(ctx context.Context, req ExecRequest) (int, error) {
	if err := build.CheckFile(req.Module); err != nil {
		return 0, err
	}
	image, err := n.pool.Image(ctx, req.Module)
	if err != nil {
		return 0, err
	}
	defer image.Close()
	files, err := grants(".", req.Files)
	if err != nil {
		return 0, err
	}
	fn := &domain.Function{
		Name: strings.TrimSuffix(filepath.Base(req.Module), ".wasm"), Image: image, Args: req.Args, Memory: req.Memory,
		Output: wire.OutputStream, Files: files, Dial: req.Dial, Listen: req.Listen,
	}
	if fn.Memory == 0 {
		fn.Memory = app.DefaultMemory
	}
	for _, k := range slices.Sorted(maps.Keys(req.Env)) {
		fn.Env = append(fn.Env, k+"="+req.Env[k])
	}
	ended := make(chan domain.Result, 1)
	d, err := n.pool.Domain(domain.Options{Run: fmt.Sprintf("exec-%d", os.Getpid()), Quota: n.cfg.Quota, Folders: dirs(files), Done: func(r domain.Result) { ended <- r }})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, req.Timeout)
		defer cancel()
	}
	d.Start(domain.Call{ID: 1, Function: fn, Path: "exec", Step: "exec", Index: -1, Attempt: 1, Streams: []*os.File{req.Stdin, req.Stdout, req.Stderr}})
	select {
	case r := <-ended:
		switch {
		case r.Failure == nil || r.Failure.Kind == domain.KindExit:
			return int(r.Code), nil
		default:
			return 0, errors.New(r.Failure.Message)
		}
	case <-ctx.Done():
		d.Stop(1)
		return 0, fmt.Errorf("wait for %s: %w", fn.Name, ctx.Err())
	}
}
