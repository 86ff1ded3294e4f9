package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
)

// Variants that are languages of the applications, and the names of their folders.
const (
	servicesGo     = "go"
	servicesPython = "python"
	servicesWasm   = "go, runtime wasm"
)

// serviceVariant is a way in which applications are served.
type serviceVariant struct {
	name, language string
	setting        string   // that each service has in the app file; "": those of the example
	apps           []string // that it is for; nil: all
	quick          []string // those of them in quick runs, since it takes seconds to build; nil: the same
}

// serviceVariants are the languages, Go in modules instead of programs of the machine, and Go with what the applications'
// authors can do without.
var serviceVariants = []serviceVariant{
	{name: servicesGo, language: servicesGo},
	{name: servicesPython, language: servicesPython},
	{name: servicesWasm, language: servicesGo, setting: "runtime: wasm", quick: []string{"counter"}},
	{name: "go, durability none", language: servicesGo, setting: "durability: none"},
	{name: "go, transactions off", language: servicesGo, setting: "transactions: off", apps: []string{"tree", "hotel"}},
	{name: "go, locking object", language: servicesGo, setting: "locking: object", apps: []string{"chain", "tree", "hotel", "media"}},
}

// Measures of the experiments on services, behind the application's name.
const (
	servicesAlone   = ": one client"
	servicesFlushes = ": flushes a request, one client"
	servicesRate    = ": answers, all clients"
	servicesMany    = ": all clients"
	servicesCPU     = ": processor time of the server and its instances, a request"
	servicesShare   = ": load generator, of all cores"
	servicesSeq     = ": 200 requests one after the other"
	servicesPeak    = ": all clients on one key, the peak"
	servicesClients = ": all clients on one key, clients of the peak"
	servicesTwice   = ": all clients on one key, 2 times the clients by the peak"
	servicesEight   = ": all clients on one key, 8 times the clients by the peak"
	servicesOver    = ": all on one key, at twice the peak's rate, answers by the peak"
)

// services asks how fast applications of services are: what a client alone waits for, how many answers there are
// at most, what clients wait for at fixed rates, and what becomes of clients who all want the same lock. All effects are counted at the end.
func services() Experiment {
	return Experiment{
		Name:        "services",
		Description: "applications of services: latency, throughput, fixed rates, contention",
		Baselines:   []string{servicesGo},
		Serves:      true,
		Required:    servicesRequired(),
		Setup: func(ctx context.Context, lab *Lab) error {
			if lab.Quick {
				return setUpServices(ctx, lab, serviceSizes{alone: 20, clients: 8, window: 100 * time.Millisecond, rates: 2, rounds: 1, ladder: []int{1, 4}})
			}
			return setUpServices(ctx, lab, serviceSizes{alone: 200, clients: 64, window: 2 * time.Second, rounds: 3, ladder: []int{1, 2, 4, 8, 16, 32, 64}, repeats: repeatsMax})
		},
	}
}

// sequential asks how long 200 requests take one after the other, behind 20 others.
func sequential() Experiment {
	return Experiment{
		Name:        "seq",
		Description: "applications of services: 200 requests one after the other",
		Baselines:   []string{servicesGo},
		Serves:      true,
		Setup: func(ctx context.Context, lab *Lab) error {
			repeats := repeatsMax
			if lab.Quick {
				repeats = 0
			}
			apps, err := lab.serveApps(ctx, repeats)
			if err != nil {
				return err
			}
			for _, a := range apps {
				a.addCases(lab, "seq", Rounds{Min: 3, Max: 10}, (*servedApp).inSequence)
			}
			return lab.countEffects(apps)
		},
	}
}

// servicesRequired is what the applications are to reach.
func servicesRequired() []Requirement {
	var out []Requirement
	for _, r := range []struct {
		app, measure string
		golang, py   string
	}{
		{"counter", servicesAlone, "median ≤ 1", "median ≤ 3"},
		{"counter", servicesRate, "≥ 5000", "≥ 1000"},
		{"chain", servicesAlone, "median ≤ 1.5", "median ≤ 8"},
		{"chain", servicesRate, "≥ 2500", "≥ 400"},
		{"tree", servicesTwice, "≥ 0.9", "≥ 0.9"},
		{"tree", servicesEight, "≥ 0.9", "≥ 0.9"},
		{"tree", servicesOver, "≥ 0.9", "≥ 0.9"},
		{"media", servicesRate, "≥ 600", "≥ 100"},
		{"hotel", servicesRate, "≥ 1000", "≥ 150"},
	} {
		out = append(out, Requirement{r.app + r.measure, servicesGo, r.golang}, Requirement{r.app + r.measure, servicesPython, r.py})
	}
	for _, a := range serviceApps() {
		out = append(out, Requirement{a.name + servicesFlushes, servicesGo, "1"}, Requirement{a.name + servicesFlushes, servicesPython, "1"})
	}
	return out
}

// serviceSizes is how much is asked.
type serviceSizes struct {
	alone   int           // requests of a client alone, a round
	clients int           // who ask at the same time
	window  time.Duration // of everything but that
	rates   int           // of the open loop; 0: all
	rounds  int           // at least
	repeats int           // of a window that other load disturbed, at most
	ladder  []int         // numbers of clients, of which the peak is sought
}

// setUpServices adds groups of cases for each application.
func setUpServices(ctx context.Context, lab *Lab, z serviceSizes) error {
	apps, err := lab.serveApps(ctx, z.repeats)
	if err != nil {
		return err
	}
	rounds := Rounds{Min: z.rounds, Max: 20}
	for _, a := range apps {
		a.addCases(lab, "alone", rounds, func(a *servedApp, ctx context.Context) (Sample, error) { return a.alone(ctx, z.alone) })
		a.addCases(lab, "many", rounds, func(a *servedApp, ctx context.Context) (Sample, error) { return a.many(ctx, z.clients, z.window) })
		rates := a.rates
		if z.rates > 0 {
			rates = rates[:min(z.rates, len(rates))]
		}
		for _, rate := range rates {
			c := lab.curve(a)
			a.addCases(lab, fmt.Sprintf("%v/s", rate), Rounds{WarmUp: -1, Max: 5}, func(a *servedApp, ctx context.Context) (Sample, error) {
				return a.atRate(ctx, c, rate, z.window)
			})
		}
		if a.onOneKey != nil && (!a.changed || a.variant == servicesWasm) {
			a.addCases(lab, "one key", Rounds{WarmUp: -1, Min: 1, Max: z.rounds}, func(a *servedApp, ctx context.Context) (Sample, error) {
				return a.plateau(ctx, z.ladder, z.window)
			})
		}
	}
	return lab.countEffects(apps)
}

// addCases adds a group with a case of an application. Variants of an application are in groups of the same name.
func (a *servedApp) addCases(lab *Lab, what string, rounds Rounds, sample func(*servedApp, context.Context) (Sample, error)) {
	rounds.EnsureDefaults()
	name := a.name + ", " + what
	i := slices.IndexFunc(lab.groups, func(g *Group) bool { return g.name == name })
	var g *Group
	if i >= 0 {
		g = lab.groups[i]
	} else {
		g = lab.Group(name, rounds)
	}
	g.Add(Case{Variant: a.variant, Expect: allAnswered, Sample: func(ctx context.Context) (Sample, error) {
		s, err := sample(a, ctx)
		if err == nil {
			s.Digest = allAnswered
		}
		return s, err
	}})
}

// Digests of samples.
const (
	allAnswered = "every request got its answer"
	allHappened = "every request has happened once"
)

// countEffects adds the comparison of what is stored with the answers, behind everything else.
func (l *Lab) countEffects(apps []*servedApp) error {
	g := l.Group("effects", Rounds{WarmUp: -1, Max: 1, Weight: 0.01})
	for _, a := range apps {
		g.Add(Case{Variant: a.name + ", " + a.variant, Expect: allHappened, Sample: func(ctx context.Context) (Sample, error) {
			found, err := a.effects(ctx, a)
			if err != nil {
				return Sample{}, err
			}
			s := Sample{Digest: allHappened}
			for what, n := range found {
				if n != a.answered {
					s.Digest = fmt.Sprintf("%d answers, %d %s", a.answered, n, what)
				}
			}
			s.Values = []Value{{Measure: "requests that have happened", Unit: "1", Number: float64(a.answered)}}
			return s, nil
		}})
	}
	return nil
}

// serveApps starts a server and deploys the applications to it, in each language that they are there in. Windows that are
// disturbed are measured again, so often at most and while the budget lasts.
func (l *Lab) serveApps(ctx context.Context, repeats int) ([]*servedApp, error) {
	s, err := l.serve(ctx, "services")
	if err != nil {
		return nil, err
	}
	var out []*servedApp
	noise := &disturbances{repeats: repeats, until: l.Until}
	l.Conclude(noise.conclude)
	for _, a := range serviceApps() {
		if len(l.Apps) > 0 && !slices.Contains(l.Apps, a.name) {
			continue
		}
		if len(l.Rates) > 0 {
			a.rates = l.Rates
		}
		for _, v := range serviceVariants {
			if v.apps != nil && !slices.Contains(v.apps, a.name) || l.Quick && v.quick != nil && !slices.Contains(v.quick, a.name) {
				continue
			}
			dir := filepath.Join(l.Examples, "services", a.name, v.language)
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				l.Skip(v.name, a.name+" is not written in it")
				continue
			}
			one := &servedApp{serviceApp: a, variant: v.name, changed: v.setting != "", server: s, random: newRandom(l.Seed), noise: noise}
			if one.deploys, err = s.deployVariant(ctx, dir, filepath.Join(l.Dir, "variants", fmt.Sprint(len(out))), filepath.Join(l.Dir, "cache"), v); err != nil {
				return nil, fmt.Errorf("deploy %s, %s: %w", a.name, v.name, err)
			}
			if a.populate != nil {
				if err := a.populate(ctx, one); err != nil {
					return nil, fmt.Errorf("populate %s: %w", one.deploys, err)
				}
			}
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no application of services called %s", strings.Join(l.Apps, " or "))
	}
	return out, nil
}

// deployVariant deploys an application in a variant, and returns its name. What has other settings is written to a folder first.
func (s *served) deployVariant(ctx context.Context, dir, changed, cache string, v serviceVariant) (string, error) {
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
		if v.name == servicesWasm {
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
	return file.Name, s.deployBuilt(ctx, dir, cache)
}

// newRandom is where an application's requests come from.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x737663)) }

// serviceNames are the names of the applications of services.
func serviceNames() []string {
	var out []string
	for _, a := range serviceApps() {
		out = append(out, a.name)
	}
	return out
}

// metric reads a figure of the server.
func (s *served) metric(ctx context.Context, name string) (float64, error) {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weft/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(answer.Body, 16<<20))
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(number, 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("the server has no figure %s", name), lines.Err())
}
