package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// StartNode starts a node in this process. Its cache is the one of the weft command, so that an experiment does not compile what was compiled
// before.
func StartNode(ctx context.Context, _ string) (Weft, error) {
	cfg := node.Config{CacheDir: os.Getenv("WEFT_CACHE")}
	n, err := node.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &localNode{n, cfg}, nil
}

// localNode is a node of this process.
type localNode struct {
	*node.Node
	cfg node.Config
}

var _ Weft = (*localNode)(nil)

// Open is described at Weft. The functions get no ports: variants take turns on several domain hosts, of which only one could listen on a port.
func (n *localNode) Open(ctx context.Context, dir string, mounts map[string]string) (App, error) {
	a, err := app.Load(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range a.Functions {
		f.Listen = nil
		for i := range f.Files {
			if host, ok := mounts[f.Files[i].Guest]; ok {
				f.Files[i].Host = host
			}
		}
	}
	if err := n.Build(ctx, a, nil); err != nil {
		return nil, err
	}
	return &localApp{n.Node, a}, nil
}

// IdleHost is described at Weft. The pool starts its hosts by itself, so the node is replaced by a new one.
func (n *localNode) IdleHost(ctx context.Context) (started time.Duration, memory int64, err error) {
	err = n.Close()
	n.Node = nil
	if err != nil {
		return 0, 0, err
	}
	if n.Node, err = node.New(ctx, n.cfg); err != nil {
		return 0, 0, err
	}
	return n.Host(ctx)
}

// Close is described at Weft.
func (n *localNode) Close() error {
	if n.Node == nil {
		return nil // it is closed, and a new one could not be started
	}
	return n.Node.Close()
}

// localApp is an app built on a node of this process.
type localApp struct {
	node *node.Node
	app  *app.App
}

// Run is described at App.
func (a *localApp) Run(ctx context.Context, r Request) (*Result, error) {
	var said lastWords
	out, err := a.node.Run(ctx, node.RunRequest{
		App: a.app, Workflow: r.Workflow, Input: r.Input, Seed: r.Seed, Load: r.Load, Pass: r.Pass, Apart: r.Apart, Observer: &said,
	})
	if err != nil {
		return nil, err
	}
	if out.Status != flow.Succeeded {
		err := fmt.Errorf("run of %s %s %s", a.app.Name, r.Workflow, out.Status)
		if f := out.Failure; f != nil {
			err = fmt.Errorf("%w: step %s: %s (%s)%s", err, f.Step, f.Message, f.Kind, said.String())
		}
		return nil, errors.Join(err, out.Close())
	}
	return &Result{Output: out.Output, Steps: attempts(out.Trace), close: out.Close}, nil
}

// lastWords remembers the last line that a function logged: it usually says why the function failed.
type lastWords struct {
	mu   sync.Mutex
	line string // guarded by mu
}

// Observe is called by the node.
func (l *lastWords) Observe(e telemetry.Event) {
	if e.Kind != telemetry.EventLog {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = e.Text
}

// String is ready to be put after a message.
func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == "" {
		return ""
	}
	return ": it logged: " + l.line
}

// attempts lists the attempts of a trace in the order in which they started. Their attribute "inside" is the time in the guest.
func attempts(t *telemetry.Trace) []Step {
	var steps []Step
	for _, s := range t.Spans {
		if s.Kind != telemetry.KindAttempt {
			continue
		}
		inside, err := time.ParseDuration(s.Attr("inside"))
		if err != nil {
			inside = 0
		}
		steps = append(steps, Step{Name: s.Step, Index: s.Index, Start: s.Start, End: s.End, Inside: inside})
	}
	return steps
}
