package chaos

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/itchyny/gojq"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/workload"
)

//go:embed testdata/work.c
var source []byte

// Functions of this package's own, beside those of package workload.
const (
	gate = "gate" // fails until a file is there, which its input names
	drip = "drip" // writes a line now and then
)

// Workflows of this package's own, beside the random ones.
const (
	again  = "again"  // fails until its gate is open
	upload = "upload" // reads a buffer of its input
)

// version is an app as it is deployed, and what its runs give.
type version struct {
	id     string // of the content
	app    *app.App
	bundle *bundle.Bundle
}

// apps makes versions of apps.
type apps struct {
	node      *Node
	module    string        // of every function
	retention time.Duration // of runs

	mu    sync.Mutex
	known map[string]*version // by app and ID; guarded by mu
}

// newApps builds the functions, which are all one program.
func newApps(ctx context.Context, n *Node) (*apps, error) {
	b, err := node.NewBuilder(n.path("cache"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.path("src", "work.c"), source, 0o644); err != nil {
		return nil, fmt.Errorf("make app: %w", err)
	}
	m, err := b.Build(ctx, n.path("src"), build.Source{Function: "work", Path: "work.c"}, nil)
	if err != nil {
		return nil, err
	}
	return &apps{node: n, module: m.Path, retention: 7 * 24 * time.Hour, known: map[string]*version{}}, nil
}

// random makes a version of an app from a seed.
func (s *apps) random(name string, seed uint64) (*version, error) {
	functions := map[string]map[string]any{}
	for _, f := range append([]string{workload.Bulk, gate, drip}, workload.Functions...) {
		functions[f] = map[string]any{"source": "../work.c", "env": map[string]any{"WORK": f}, "memory": "16MiB"}
	}
	for _, f := range []string{workload.Send, gate} {
		functions[f]["files"] = []string{s.node.path("log") + "::/log:rw"}
	}
	functions[drip]["output"] = "text"
	rng := rand.New(rand.NewPCG(seed, 0xc4a05))
	return s.make(name, workload.File(rng, workload.Options{App: name, Functions: functions, Retention: s.retention.String(), Extra: extra(s.retention.String())}))
}

// extra are the workflows that are always the same.
func extra(retention string) map[string]any {
	return map[string]any{
		again: map[string]any{"retention": retention, "steps": map[string]any{
			"a": map[string]any{"call": workload.Send, "with": map[string]any{"n": "${ .input.n }"}},
			"b": map[string]any{"call": gate, "needs": []string{"a"}, "with": map[string]any{"gate": "${ .input.gate }", "n": "${ .input.n }"}, "retry": map[string]any{"max": 1, "backoff": "5ms"}},
			"c": map[string]any{"call": workload.Emit, "needs": []string{"b"}},
		}},
		upload: map[string]any{"retention": retention, "steps": map[string]any{
			"a": map[string]any{"call": workload.Look, "stdin": "${ .input.file }"},
			"b": map[string]any{"call": workload.Mix, "needs": []string{"a"}},
		}},
	}
}

// make packs an app of its file.
func (s *apps) make(name string, file []byte) (*version, error) {
	// The bundle is read from here whenever it is sent.
	dir, err := os.MkdirTemp(s.node.path("src"), name+"-")
	if err != nil {
		return nil, fmt.Errorf("make app: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, app.FileName), file, 0o644); err != nil {
		return nil, fmt.Errorf("make app: %w", err)
	}
	a, err := app.Load(dir)
	if err != nil {
		return nil, err
	}
	modules := map[string]string{}
	for name := range a.Functions {
		modules[name] = s.module
	}
	v := &version{app: a}
	if v.bundle, err = bundle.Collect(a, bundle.Parts{Modules: modules}); err != nil {
		return nil, err
	}
	v.id = v.bundle.Digest()
	s.mu.Lock()
	s.known[name+"/"+v.id] = v
	s.mu.Unlock()
	return v, nil
}

// get is a version that was made; nil if it was not.
func (s *apps) get(name, id string) *version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[name+"/"+id]
}

// result is what a run of a version gives. uploads are the bytes that its input
// refers to, by name.
func (v *version) result(workflow, id string, input any, uploads map[string][]byte) (workload.Result, error) {
	return workload.Reference(v.app, workflow, id, input, uploads, evaluate)
}

// evaluate is jq.
func evaluate(expressions []string, scope any) []any {
	values := make([]any, len(expressions))
	for i, e := range expressions {
		q, err := gojq.Parse(e)
		if err != nil {
			panic(fmt.Sprintf("chaos: %s: %v", e, err)) // package workload writes them
		}
		values[i], _ = q.Run(scope).Next()
		if err, ok := values[i].(error); ok {
			panic(fmt.Sprintf("chaos: %s: %v", e, err))
		}
	}
	return values
}

// same reports whether two values are the same JSON.
func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}
