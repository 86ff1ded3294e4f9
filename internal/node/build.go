package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/wire"
	"github.com/weft-run/weft/internal/secret"
	"github.com/weft-run/weft/internal/telemetry"
)

// folders lists the folders that the functions may use.
func folders(functions map[string]*domain.Function) []domain.File {
	var all []domain.File
	for _, f := range functions {
		all = append(all, dirs(f.Files)...)
	}
	return all
}

// dirs are those of the grants that are folders.
func dirs(files []domain.File) []domain.File {
	var all []domain.File
	for _, g := range files {
		if g.Form == "dir" {
			all = append(all, g)
		}
	}
	return all
}

// Build makes every function and service of an app ready: source to module to image, each
// from the cache where it has not changed. All that is wrong is reported at
// once. Run builds what was not built before.
func (n *Node) Build(ctx context.Context, a *app.App, o engine.Observer) error {
	_, err := n.program(ctx, a, o)
	return err
}

// program is an app with its functions ready to run, built once.
func (n *Node) program(ctx context.Context, a *app.App, o engine.Observer) (*engine.Program, error) {
	n.mu.Lock()
	done := n.programs[a]
	n.mu.Unlock()
	if done != nil {
		return done, nil
	}
	p, err := n.build(ctx, a, "", o)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if other := n.programs[a]; other != nil { // built meanwhile
		return other, nil
	}
	n.programs[a] = p
	return p, nil
}

// build makes a version of an app ready to run.
func (n *Node) build(ctx context.Context, a *app.App, version string, o engine.Observer) (*engine.Program, error) {
	layers, _, err := n.layers.Install(ctx, a, false)
	if err != nil {
		return nil, err
	}
	units := a.Units()
	names := slices.Sorted(maps.Keys(units))
	made := make([]*domain.Function, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	seats := new(families).seats(len(names))
	for i, name := range names {
		wg.Go(func() {
			defer seats[i].leave()
			made[i], errs[i] = n.buildFunction(ctx, a, units[name], layers[name].Path, seats[i], o)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	redact, err := n.redactor(a)
	if err != nil {
		return nil, err
	}
	functions := map[string]*domain.Function{}
	sum := sha256.New()
	fmt.Fprintln(sum, a.Name) // hosts are never shared between apps
	for i, f := range made {
		functions[names[i]] = f
		fmt.Fprintf(sum, "%s %s %v %v %v\n", f.Name, code(f), f.Files, f.Dial, f.Listen)
	}
	return engine.NewProgram(engine.Program{Redact: redact, App: a, Version: version, Hosts: hex.EncodeToString(sum.Sum(nil)), Functions: functions, Folders: folders(functions)}), nil
}

// redactor hides the secrets of an app; nil if it has none.
func (n *Node) redactor(a *app.App) (func([]byte) []byte, error) {
	var values [][]byte
	for _, f := range a.Units() {
		for _, ref := range f.Secrets {
			value, err := n.secret(a, ref)
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
	}
	if values == nil {
		return nil, nil
	}
	return secret.NewRedactor(values...).Redact, nil
}

// secret finds the value of a secret that a function may read.
func (n *Node) secret(a *app.App, ref app.SecretRef) ([]byte, error) {
	if n.cfg.Secret == nil {
		return nil, fmt.Errorf("secret %s: a server has secrets, a single run has none", ref.Name)
	}
	value, err := n.cfg.Secret(a.Name, ref.Name)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w; set it with: weft secrets set %s %s", ref.Name, err, a.Name, ref.Name)
	}
	return value, nil
}

func (n *Node) buildFunction(ctx context.Context, a *app.App, f *app.Function, layer string, own *seat, o engine.Observer) (*domain.Function, error) {
	begun := time.Now()
	event := telemetry.Event{Function: f.Name, Index: telemetry.NoIndex}
	tell := func(kind telemetry.EventKind, text string) {
		e := event
		e.Kind, e.Text, e.Took = kind, text, time.Since(begun)
		observe(o, e)
	}
	tell(telemetry.EventBuildStarted, "")
	fn, cached, err := n.makeFunction(ctx, a, f, layer, own)
	switch {
	case err != nil:
		tell(telemetry.EventBuildFailed, err.Error())
	case cached:
		tell(telemetry.EventBuildFinished, "cached")
	default:
		tell(telemetry.EventBuildFinished, "")
	}
	return fn, err
}

func (n *Node) makeFunction(ctx context.Context, a *app.App, f *app.Function, layer string, own *seat) (fn *domain.Function, cached bool, err error) {
	if f.Runtime != app.RuntimePython || n.cfg.Alone {
		own.leave() // nobody need wait for a compiler
	}
	files, err := grants(a.Dir, f.Files)
	if err != nil {
		return nil, false, fmt.Errorf("function %s: %w", f.Name, err)
	}
	place := ""
	if f.Pos.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", a.File, f.Pos.Line, f.Pos.Column)
	}
	m, err := n.builder.Build(ctx, a.Dir, build.Source{Function: f.Name, Runtime: f.Runtime, Path: f.Source, Place: place}, nil)
	if err != nil {
		return nil, false, err
	}
	fn = &domain.Function{
		Name: f.Name, Args: f.Args, Memory: f.Memory, CPU: f.CPU,
		Output: outputs[f.Output], MaxOutput: f.MaxOutput, Files: files, Dial: f.Dial, Listen: f.Listen,
	}
	cached = m.Cached
	if f.Runtime == app.RuntimeWasm {
		image, err := n.pool.Image(ctx, m.Path)
		if err != nil {
			return nil, false, fmt.Errorf("function %s: %w", f.Name, err)
		}
		fn.Image, cached = n.share(image), cached && image.Cached
	}
	for _, k := range slices.Sorted(maps.Keys(f.Env)) {
		fn.Env = append(fn.Env, k+"="+f.Env[k])
	}
	for _, ref := range f.Secrets {
		value, err := n.secret(a, ref)
		if err != nil {
			return nil, false, fmt.Errorf("function %s: %w", f.Name, err)
		}
		if ref.Env != "" {
			fn.Env = append(fn.Env, ref.Env+"="+string(value))
		} else {
			fn.Secrets = append(fn.Secrets, domain.SecretFile{Guest: ref.File, Data: value})
		}
	}
	if f.Runtime != app.RuntimeWasm {
		if fn.Process, err = n.processOf(f, fn, m, layer); err != nil {
			return nil, false, fmt.Errorf("function %s: %w", f.Name, err)
		}
	}
	if of := a.Services[f.Name]; f.Runtime == app.RuntimePython && of != nil {
		fn.Process.Service, fn.Process.Methods = classes(a), declared(a, of)
	} else if f.Runtime == app.RuntimePython && !n.cfg.Alone {
		imports, err := build.PythonImports(fn.Process.Dir)
		if err != nil {
			return nil, false, fmt.Errorf("function %s: %w", f.Name, err)
		}
		own.meet(fn.Process, layer, a.Name, imports)
	}
	fn = n.same(a, fn)
	if fn.Process != nil {
		err = n.pool.PrepareProcess(ctx, fn)
	}
	return fn, cached, err
}

// share finds the image that is open already, so that a file is open once
// however many functions and versions have it.
func (n *Node) share(i *domain.Image) *domain.Image {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := unique(n.images, i.Key, i)
	if known != i {
		i.Close()
	}
	return known
}

// code names what a function consists of.
func code(f *domain.Function) string {
	if f.Process != nil {
		return fmt.Sprintf("%s %s %s:%s %q %q %q %q %d", f.Process.Runtime, f.Process.Dir, f.Process.Module, f.Process.Handler, f.Process.Service, modes(f.Process.Methods), f.Process.Layers, f.Process.Resident, f.Process.Workers)
	}
	return f.Image.Key
}

// same finds the function that is in use already and differs in nothing, so that
// hosts and fork servers which know it serve the next version of its app at once.
// One in Python whose family alone is another has the fork server that is there,
// and joins when that is started again.
func (n *Node) same(a *app.App, f *domain.Function) *domain.Function {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %q %q %d %d %d %d %v %q %v\n", a.Name, f.Name, code(f), f.Args, f.Env, f.Memory, f.CPU, f.Output, f.MaxOutput, f.Files, f.Dial, f.Listen)
	for _, secret := range f.Secrets {
		fmt.Fprintf(sum, "%q %q\n", secret.Guest, secret.Data)
	}
	key := string(sum.Sum(nil))
	if f.Process != nil {
		f.Process.Version = hex.EncodeToString([]byte(key))
		key += fmt.Sprintf("%q %q", f.Process.Family, f.Process.Common)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return unique(n.functions, key, f)
}

// unique is what is known by a key, as long as somebody has it; then it is v.
func unique[V any](known map[string]weak.Pointer[V], key string, v *V) *V {
	if old := known[key].Value(); old != nil {
		return old
	}
	maps.DeleteFunc(known, func(_ string, p weak.Pointer[V]) bool { return p.Value() == nil })
	known[key] = weak.Make(v)
	return v
}

// closeImages closes those that somebody still has. Others are closed by the
// garbage collector.
func (n *Node) closeImages() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.images {
		if i := p.Value(); i != nil {
			i.Close()
		}
	}
	clear(n.images)
}

var outputs = map[string]wire.Output{app.OutputJSON: wire.OutputJSON, app.OutputText: wire.OutputText, app.OutputBytes: wire.OutputBytes}

// grants resolves what an app's function is to see of the host's files.
func grants(dir string, list []app.FileGrant) ([]domain.File, error) {
	var files []domain.File
	for _, g := range list {
		host := g.Host
		if !filepath.IsAbs(host) {
			host = filepath.Join(dir, host)
		}
		host, err := filepath.Abs(host)
		if err == nil {
			host, err = filepath.EvalSymlinks(host)
		}
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.Guest, err)
		}
		st, err := os.Stat(host)
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.Guest, err)
		}
		form := g.Kind
		if form == app.GrantHost {
			form = "file"
			if st.IsDir() {
				form = "dir"
			}
		}
		files = append(files, domain.File{Host: host, Guest: g.Guest, Form: form, ReadOnly: !g.Write})
	}
	return files, nil
}
