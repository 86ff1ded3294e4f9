// Package services has the experiments on applications of services: how fast they answer, and whether everything happens once.
//
// The applications are in examples/services (apps.go says what clients ask of each and what shows that it has happened); each is
// measured in the languages that it is written in, and in variants of its configuration.
package services

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench/lab"
)

// Variants that are languages of the applications, and the names of their folders.
const (
	variantGo     = "go"
	variantPython = "python"
	variantWasm   = "go, runtime wasm"
)

// variant is a way in which applications are served.
type variant struct {
	name, language string
	setting        string   // that each service has in the app file; "": those of the example
	apps           []string // that it is for; nil: all
	quick          []string // those of them in quick runs, since it takes seconds to build; nil: the same
}

// variants are the languages, Go in modules instead of programs of the machine, and Go with what the applications'
// authors can do without.
var variants = []variant{
	{name: variantGo, language: variantGo},
	{name: variantPython, language: variantPython},
	{name: variantWasm, language: variantGo, setting: "runtime: wasm", quick: []string{"counter"}},
	{name: "go, durability none", language: variantGo, setting: "durability: none"},
	{name: "go, transactions off", language: variantGo, setting: "transactions: off", apps: []string{"tree", "hotel"}},
	{name: "go, locking object", language: variantGo, setting: "locking: object", apps: []string{"chain", "tree", "hotel", "media"}},
}

// Measures of the experiments on services, behind the application's name.
const (
	measureAlone   = ": one client"
	measureFlushes = ": flushes a request, one client"
	measureRate    = ": answers, all clients"
	measureMany    = ": all clients"
	measureCPU     = ": processor time of the server and its instances, a request"
	measureShare   = ": load generator, of all cores"
	measureSeq     = ": 200 requests one after the other"
	measurePeak    = ": all clients on one key, the peak"
	measureClients = ": all clients on one key, clients of the peak"
	measureTwice   = ": all clients on one key, 2 times the clients by the peak"
	measureEight   = ": all clients on one key, 8 times the clients by the peak"
	measureOver    = ": all on one key, at twice the peak's rate, answers by the peak"
)

// Experiments are the experiments on services, in the order of the documentation.
func Experiments() []lab.Experiment { return []lab.Experiment{speed(), sequential()} }

// speed asks how fast applications of services are: what a client alone waits for, how many answers there are
// at most, what clients wait for at fixed rates, and what becomes of clients who all want the same lock. All effects are counted at the end.
func speed() lab.Experiment {
	return lab.Experiment{
		Name:        "services",
		Description: "applications of services: latency, throughput, fixed rates, contention",
		Baselines:   []string{variantGo},
		Serves:      true,
		Required:    required(),
		Setup: func(ctx context.Context, l *lab.Lab) error {
			if l.Quick {
				return setUp(ctx, l, sizes{alone: 20, clients: 8, window: 100 * time.Millisecond, rates: 2, rounds: 1, ladder: []int{1, 4}, peaks: 3})
			}
			return setUp(ctx, l, sizes{alone: 200, clients: 64, window: 2 * time.Second, rounds: 3, ladder: []int{1, 2, 4, 8, 16, 32, 64}, peaks: 3, repeats: repeatsMax})
		},
	}
}

// sequential asks how long 200 requests take one after the other, behind 20 others.
func sequential() lab.Experiment {
	return lab.Experiment{
		Name:        "seq",
		Description: "applications of services: 200 requests one after the other",
		Baselines:   []string{variantGo},
		Serves:      true,
		Setup: func(ctx context.Context, l *lab.Lab) error {
			repeats := repeatsMax
			if l.Quick {
				repeats = 0
			}
			apps, err := serveApps(ctx, l, repeats)
			if err != nil {
				return err
			}
			for _, variants := range apps {
				step{what: "seq", rounds: lab.Rounds{Min: 3, Max: 10}, sample: (*served).inSequence}.add(l, variants)
			}
			countEffects(l, apps)
			return nil
		},
	}
}

// required is what the applications are to reach.
func required() []lab.Requirement {
	var out []lab.Requirement
	for _, r := range []struct {
		app, measure string
		golang, py   string
	}{
		{"counter", measureAlone, "median ≤ 1", "median ≤ 3"},
		{"counter", measureRate, "≥ 5000", "≥ 1000"},
		{"chain", measureAlone, "median ≤ 1.5", "median ≤ 8"},
		{"chain", measureRate, "≥ 2500", "≥ 400"},
		{"tree", measureTwice, "≥ 0.9", "≥ 0.9"},
		{"tree", measureEight, "≥ 0.9", "≥ 0.9"},
		{"tree", measureOver, "≥ 0.9", "≥ 0.9"},
		{"media", measureRate, "≥ 600", "≥ 100"},
		{"hotel", measureRate, "≥ 1000", "≥ 150"},
	} {
		out = append(out, lab.Requirement{Measure: r.app + r.measure, Variant: variantGo, Text: r.golang}, lab.Requirement{Measure: r.app + r.measure, Variant: variantPython, Text: r.py})
	}
	for _, a := range applications() {
		out = append(out, lab.Requirement{Measure: a.name + measureFlushes, Variant: variantGo, Text: "1"}, lab.Requirement{Measure: a.name + measureFlushes, Variant: variantPython, Text: "1"})
	}
	return out
}

// setUp adds groups of cases for each application.
func setUp(ctx context.Context, l *lab.Lab, z sizes) error {
	apps, err := serveApps(ctx, l, z.repeats)
	if err != nil {
		return err
	}
	fitting := z.fit(apps, time.Until(l.Until))
	l.Conclude(func() []string { return z.cut(fitting) })
	for _, variants := range apps {
		for _, s := range fitting.steps(variants[0].application) {
			s.add(l, variants)
		}
	}
	countEffects(l, apps)
	return nil
}

// Digests of samples.
const (
	allAnswered = "every request got its answer"
	allHappened = "every request has happened once"
)

// countEffects adds the comparison of what is stored with the answers, behind everything else.
func countEffects(l *lab.Lab, apps [][]*served) {
	g := l.Group("effects", lab.Rounds{WarmUp: -1, Max: 1, Weight: 0.01})
	for _, a := range slices.Concat(apps...) {
		g.Add(lab.Case{Variant: a.name + ", " + a.variant, Expect: allHappened, Sample: a.happened})
	}
}

// happened compares what is stored with the answers.
func (a *served) happened(ctx context.Context) (lab.Sample, error) {
	found, err := a.effects(ctx, a)
	if err != nil {
		return lab.Sample{}, err
	}
	s := lab.Sample{Digest: allHappened}
	for what, n := range found {
		if n != a.answered {
			s.Digest = fmt.Sprintf("%d answers, %d %s", a.answered, n, what)
		}
	}
	s.Values = []lab.Value{{Measure: "requests that have happened", Unit: "1", Number: float64(a.answered)}}
	return s, nil
}

// serveApps starts a server and deploys the applications to it, and returns the variants of each. Windows that are disturbed are
// measured again, so often at most and while their group's share of the budget lasts.
func serveApps(ctx context.Context, l *lab.Lab, repeats int) ([][]*served, error) {
	s, err := l.Serve(ctx, "services")
	if err != nil {
		return nil, err
	}
	var out [][]*served
	deployed := 0
	noise := &disturbances{repeats: repeats, until: func() time.Time { return l.Until }}
	l.Conclude(noise.conclude)
	for _, a := range applications() {
		if len(l.Apps) > 0 && !slices.Contains(l.Apps, a.name) {
			continue
		}
		if len(l.Rates) > 0 {
			a.rates = l.Rates
		}
		var of []*served
		for _, v := range variants {
			if v.apps != nil && !slices.Contains(v.apps, a.name) || l.Quick && v.quick != nil && !slices.Contains(v.quick, a.name) {
				continue
			}
			dir := filepath.Join(l.Examples, "services", a.name, v.language)
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				l.Skip(v.name, a.name+" is not written in it")
				continue
			}
			one := &served{application: a, variant: v.name, changed: v.setting != "", server: s, random: newRandom(l.Seed), noise: noise, curve: l.Curve(a.name, v.name)}
			if one.deploys, err = deployVariant(ctx, s, dir, filepath.Join(l.Dir, "variants", fmt.Sprint(deployed)), filepath.Join(l.Dir, "cache"), v); err != nil {
				return nil, fmt.Errorf("deploy %s, %s: %w", a.name, v.name, err)
			}
			if a.populate != nil {
				if err := a.populate(ctx, one); err != nil {
					return nil, fmt.Errorf("populate %s: %w", one.deploys, err)
				}
			}
			of = append(of, one)
			deployed++
		}
		if len(of) > 0 {
			out = append(out, of)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no application of services called %s", strings.Join(l.Apps, " or "))
	}
	return out, nil
}

// deployVariant deploys an application in a variant, and returns its name. What has other settings is written to a folder first.
func deployVariant(ctx context.Context, s *lab.Server, dir, changed, cache string, v variant) (string, error) {
	if v.setting != "" {
		text, err := os.ReadFile(filepath.Join(dir, "weft.yaml"))
		if err != nil {
			return "", err
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", err
		}
		sources, err := filepath.Rel(changed, dir)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(changed, 0o755); err != nil {
			return "", err
		}
		services, changes := "{runtime", "{"+v.setting+", runtime"
		if v.name == variantWasm {
			services, changes = "runtime: native", v.setting
		}
		change := strings.NewReplacer("-"+v.language+"\n", "-"+strings.ReplaceAll(v.setting, ": ", "-")+"\n", services, changes, "source: ./", "source: "+sources+"/")
		if err := os.WriteFile(filepath.Join(changed, "weft.yaml"), []byte(change.Replace(string(text))), 0o644); err != nil {
			return "", err
		}
		dir = changed
	}
	file, err := app.Load(dir)
	if err != nil {
		return "", err
	}
	return file.Name, s.DeployBuilt(ctx, dir, cache)
}

// newRandom is where an application's requests come from.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x737663)) }

// Apps are the names of the applications, which Options.Apps is made of.
func Apps() []string {
	var out []string
	for _, a := range applications() {
		out = append(out, a.name)
	}
	return out
}
