package domain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// The limit of evaluating expressions, beside that of time.
const exprMemory = 512 << 20 // bytes of the process

// evaluator is the confined process that evaluates jq expressions. It is
// started on first use, and again after an expression broke a limit.
type evaluator struct {
	pool *Pool

	mu   sync.Mutex // one evaluation at a time
	host *host      // guarded by mu
	last uint64     // guarded by mu
}

// Evaluate computes jq expressions over a scope, each giving one value. It
// runs in a confined process: an expression can take seconds and gigabytes.
func (p *Pool) Evaluate(ctx context.Context, expressions []string, scope any) ([]any, error) {
	return p.expr.evaluate(ctx, expressions, scope)
}

func (e *evaluator) evaluate(ctx context.Context, expressions []string, scope any) (values []any, err error) {
	b, err := json.Marshal(scope)
	if err != nil {
		return nil, fmt.Errorf("encode scope: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	request := &wire.Evaluate{Expressions: expressions}
	var fds []int
	if len(b) <= wire.InlineMax {
		request.Scope = b
	} else {
		fd, err := memfile("scope", b)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	reply, err := e.ask(ctx, request, fds)
	if errors.Is(err, errEvaluatorGone) { // it was killed, perhaps long ago
		reply, err = e.ask(ctx, request, fds)
	}
	switch {
	case err != nil:
		return nil, err
	case reply.Error != "":
		return nil, errors.New(reply.Error)
	}
	if err := json.Unmarshal(reply.Values, &values); err != nil {
		return nil, fmt.Errorf("decode values: %w", err)
	}
	return values, nil
}

// errEvaluatorGone is wrapped when the evaluator's process has ended, and neither
// a limit nor the end of ctx says why.
var errEvaluatorGone = errors.New("its process ended")

// ask sends one request to the evaluator, which is started if there is none;
// e.mu is held.
func (e *evaluator) ask(ctx context.Context, request *wire.Evaluate, fds []int) (reply *wire.Evaluated, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.host == nil {
		if e.host, err = spawn(ctx, e.pool.spawner, sandbox.RoleExpr, sandbox.Limits{Memory: exprMemory, Pids: 64}); err != nil {
			return nil, err
		}
	}
	e.last++
	request.ID = e.last
	h := e.host
	limit := e.pool.o.Expressions
	timer := time.AfterFunc(limit, func() { h.process.Kill() })
	stop := context.AfterFunc(ctx, func() { h.process.Kill() })
	var m wire.Message
	if err = h.conn.Send(request, fds...); err == nil {
		m, err = h.receive()
	}
	late, left := !timer.Stop(), !stop()
	if err == nil && (late || left) { // it answered while it was being ended
		h.kill()
		e.host = nil
	}
	if err != nil {
		h.kill() // or a request that could not be sent would leave it waiting
		why := h.process.Wait().Reason
		e.host = nil
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case late:
			return nil, fmt.Errorf("it took longer than %v", limit)
		case why == sandbox.ReasonMemory:
			return nil, fmt.Errorf("it needs more than %d MiB", exprMemory>>20)
		}
		return nil, fmt.Errorf("%w: %s: %w", errEvaluatorGone, why, err)
	}
	reply, ok := m.(*wire.Evaluated)
	if !ok || reply.ID != e.last {
		return nil, fmt.Errorf("the evaluator answered %T", m)
	}
	return reply, nil
}

func (e *evaluator) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != nil {
		e.host.kill()
		e.host = nil
	}
}

// memfile puts bytes into a memory file and returns its descriptor.
func memfile(name string, b []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make memory file: %w", err)
	}
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			unix.Close(fd)
			return -1, fmt.Errorf("fill memory file: %w", err)
		}
		b = b[max(n, 0):]
	}
	return fd, nil
}
