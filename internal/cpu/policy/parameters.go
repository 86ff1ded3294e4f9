package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parameter is a number or word of Options that people may set, by a name such as
// "alps.theta".
type Parameter struct {
	Name, Text string
	get        func(o *Options) any
	set        func(o *Options, text string) error
}

// WeightPrefix begins the parameters that say how much the calls of an app count:
// "weight.shop".
const WeightPrefix = "weight."

// ErrParameter is wrapped by the errors of Set.
var ErrParameter = errors.New("not a parameter of a CPU policy")

// Parameters are all of them but the weights of apps, in the order of Options.
var Parameters = []Parameter{
	span("weft.min_budget", "least budget of a known call in Express", func(o *Options) *time.Duration { return &o.Weft.MinBudget }),
	span("weft.max_budget", "greatest budget of a known call in Express", func(o *Options) *time.Duration { return &o.Weft.MaxBudget }),
	span("weft.unknown_budget", "budget of a call of an unknown function", func(o *Options) *time.Duration { return &o.Weft.UnknownBudget }),
	number("weft.margin", "budget by the quantile of what the function needs", func(o *Options) *float64 { return &o.Weft.Margin }),
	number("weft.quantile", "that quantile", func(o *Options) *float64 { return &o.Weft.Quantile }),
	span("weft.short", "rank above which a known call begins among the long ones", func(o *Options) *time.Duration { return &o.Weft.Short }),
	whole("weft.crowd", "threads of short calls in Express, for each core", func(o *Options) *int { return &o.Weft.Crowd }),
	whole("weft.slots", "threads of long calls that may run at a time", func(o *Options) *int { return &o.Weft.Slots }),
	number("weft.lead", "how much longer a long call must be to lose its slot", func(o *Options) *float64 { return &o.Weft.Lead }),
	number("weft.age_factor", "ranks that a long call waits before it goes first", func(o *Options) *float64 { return &o.Weft.AgeFactor }),
	span("weft.age_min", "how long it waits at least", func(o *Options) *time.Duration { return &o.Weft.AgeMin }),
	number("weft.age_share", "share of the slots for those that have waited for that long", func(o *Options) *float64 { return &o.Weft.AgeShare }),
	span("weft.turn", "CPU time after which a long call makes room for one of them", func(o *Options) *time.Duration { return &o.Weft.Turn }),
	number("weft.reserve", "share of the cores that long calls get in any case", func(o *Options) *float64 { return &o.Weft.Reserve }),
	span("weft.quantum", "what the reserve is handed out in", func(o *Options) *time.Duration { return &o.Weft.Quantum }),
	span("weft.slack", "time that a call should have left at its deadline", func(o *Options) *time.Duration { return &o.Weft.Slack }),
	number("alps.alpha", "factor of what is learned", func(o *Options) *float64 { return &o.ALPS.Alpha }),
	number("alps.beta", "how much the spread counts against it", func(o *Options) *float64 { return &o.ALPS.Beta }),
	number("alps.theta", "utilisation in percent from which quanta shrink", func(o *Options) *float64 { return &o.ALPS.Theta }),
	number("alps.gamma", "divisor of quanta under load", func(o *Options) *float64 { return &o.ALPS.Gamma }),
	inverse("alps.unpredictability", "that fine-tuning", func(o *Options) *bool { return &o.ALPS.NoUnpredictability }),
	inverse("alps.overload", "that fine-tuning", func(o *Options) *bool { return &o.ALPS.NoOverload }),
	{"alps.learner", "how a quantum is made of simulated runs: " + learnerNames(), func(o *Options) any { return string(o.ALPS.Learner) }, func(o *Options, text string) error {
		o.ALPS.Learner = Learner(text)
		return nil
	}},
	number("alps.quantile", "quantile of the learner quantile", func(o *Options) *float64 { return &o.ALPS.Quantile }),
	whole("alps.window", "arrivals that are simulated", func(o *Options) *int { return &o.ALPS.Window }),
	span("alps.hold", "least uninterrupted run in the simulation", func(o *Options) *time.Duration { return &o.ALPS.Hold }),
	span("alps.cap", "greatest quantum", func(o *Options) *time.Duration { return &o.ALPS.Cap }),
	span("alps.epoch", "how often it learns", func(o *Options) *time.Duration { return &o.ALPS.Epoch }),
	number("alps.scale", "demand that is simulated by the one that is measured", func(o *Options) *float64 { return &o.ALPS.Scale }),
	whole("sfs.window", "inter-arrival times that make the slice", func(o *Options) *int { return &o.SFS.Window }),
	span("sfs.initial", "slice while there are none", func(o *Options) *time.Duration { return &o.SFS.Initial }),
	span("sfs.floor", "least slice", func(o *Options) *time.Duration { return &o.SFS.Floor }),
	number("sfs.overload", "slices that a call may wait", func(o *Options) *float64 { return &o.SFS.Overload }),
}

// ParameterNames are the names of Parameters, whole and without their policies, once each.
func ParameterNames() []string {
	var names []string
	for _, p := range Parameters {
		_, short, _ := strings.Cut(p.Name, ".")
		names = append(names, p.Name, short)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// numberMax and spanMax are the greatest values of parameters that are numbers and times.
const (
	numberMax = 1_000_000
	spanMax   = 24 * time.Hour
)

// errRange is what is wrong with a value beyond all sense, such as an infinite one.
var errRange = fmt.Errorf("want a number from 0 to %d, or a time up to %v", numberMax, spanMax)

func number(name, text string, field func(o *Options) *float64) Parameter {
	return Parameter{name, text, func(o *Options) any { return *field(o) }, func(o *Options, text string) (err error) {
		*field(o), err = strconv.ParseFloat(text, 64)
		if n := *field(o); err == nil && !(n >= 0 && n <= numberMax) {
			err = errRange
		}
		return err
	}}
}

func whole(name, text string, field func(o *Options) *int) Parameter {
	return Parameter{name, text, func(o *Options) any { return *field(o) }, func(o *Options, text string) (err error) {
		*field(o), err = strconv.Atoi(text)
		if n := *field(o); err == nil && (n < 0 || n > numberMax) {
			err = errRange
		}
		return err
	}}
}

func span(name, text string, field func(o *Options) *time.Duration) Parameter {
	return Parameter{name, text, func(o *Options) any { return field(o).String() }, func(o *Options, text string) (err error) {
		*field(o), err = time.ParseDuration(text)
		if d := *field(o); err == nil && (d < 0 || d > spanMax) {
			err = errRange
		}
		return err
	}}
}

// inverse is a switch whose field switches off.
func inverse(name, text string, field func(o *Options) *bool) Parameter {
	return Parameter{name, text, func(o *Options) any { return !*field(o) }, func(o *Options, text string) error {
		on, err := strconv.ParseBool(text)
		*field(o) = !on
		return err
	}}
}

// Get is the value of every parameter: a number, a bool, or a text such as "5ms".
func (o *Options) Get() map[string]any {
	out := map[string]any{}
	for _, p := range Parameters {
		out[p.Name] = p.get(o)
	}
	for app, n := range o.Weft.Weights {
		out[WeightPrefix+app] = n
	}
	return out
}

// Set sets a parameter by its name, or by the part behind the dot where that is enough; of
// two policies that have it, the one that is meant is that of policy. With "" it gets its
// default, and the weight of an app goes. What the values mean together is for Validate to say.
func (o *Options) Set(policy, name, text string) error {
	if app, ok := strings.CutPrefix(name, WeightPrefix); ok && app != "" {
		return o.weigh(app, text)
	}
	p, err := find(policy, name)
	if err != nil {
		return err
	}
	if text == "" {
		p.reset(o)
		return nil
	}
	if err := p.set(o, text); err != nil {
		return fmt.Errorf("%s=%.60s: %v: %w", p.Name, text, cause(err), ErrParameter)
	}
	return nil
}

// reset sets a parameter to what it is by default with as many cores.
func (p *Parameter) reset(o *Options) {
	defaults := Defaults(o.Cores)
	text := fmt.Sprint(p.get(&defaults))
	if err := p.set(o, text); err != nil {
		panic(fmt.Sprintf("default %s of %s: %v", text, p.Name, err)) // Get and Set do not agree
	}
}

// cause is what is wrong with a number, without what was being done to it.
func cause(err error) error {
	if n := (*strconv.NumError)(nil); errors.As(err, &n) {
		return n.Err
	}
	return err
}

// weigh gives an app a weight. The map may be another's, so it is not changed.
func (o *Options) weigh(app, text string) error {
	weights := map[string]float64{}
	for name, n := range o.Weft.Weights {
		weights[name] = n
	}
	delete(weights, app)
	if text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("weight of %.60q is %.60q: %w", app, text, ErrParameter)
		}
		weights[app] = n
	}
	o.Weft.Weights = weights
	return nil
}

// find looks for a parameter.
func find(policy, name string) (*Parameter, error) {
	at := func(name string) int {
		return slices.IndexFunc(Parameters, func(p Parameter) bool { return p.Name == name })
	}
	if i := at(name); i >= 0 {
		return &Parameters[i], nil
	}
	if i := at(policy + "." + name); i >= 0 {
		return &Parameters[i], nil
	}
	var found []string
	for _, p := range Parameters {
		if strings.HasSuffix(p.Name, "."+name) {
			found = append(found, p.Name)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%.60q: %w", name, ErrParameter)
	case 1:
		return &Parameters[at(found[0])], nil
	}
	return nil, fmt.Errorf("%.60q may be %s: %w", name, strings.Join(found, " or "), ErrParameter)
}
