package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/cpu/profile"
)

// Options are the parameters of all strategies. Defaults gives them; a zero number
// means zero, not the default.
type Options struct {
	// Cores is the number of processors that calls run on.
	Cores int
	// Book holds the profiles, which every strategy adds to. Nil: an empty one.
	Book *profile.Book
	Weft WeftOptions
	ALPS ALPSOptions
	SFS  SFSOptions
}

// WeftOptions are the parameters of weft.
type WeftOptions struct {
	// MinBudget and MaxBudget bound what a call may use in Express before it falls:
	// Margin times the function's quantile Quantile. A function of less than ten calls has
	// UnknownBudget. Default: 5 ms, 50 ms, 1.25, 0.95, 15 ms.
	MinBudget, MaxBudget, UnknownBudget time.Duration
	Margin, Quantile                    float64
	// Short is the rank (1/Gittins index) above which a call of a known function does not
	// begin in Express but among the long ones. Default 10 ms.
	Short time.Duration
	// Crowd bounds the threads of short calls that run in Express, for each core; others begin
	// in Normal and come into Express when there is room. Default 8.
	Crowd int
	// Slots bounds the threads of long calls that may run at a time. Default: the cores.
	Slots int
	// Lead is how many times as long the rank of a long call that runs must be before one
	// that waits takes its slot. Default 2.
	Lead float64
	// AgeFactor and AgeMin say when a long call that waits goes before all others: after
	// AgeFactor times its rank, but not before AgeMin. Default: 20, 10 s.
	AgeFactor float64
	AgeMin    time.Duration
	// AgeShare is the part of the slots' time that calls get for having waited too long; so
	// when all wait, the order of their ranks still counts. Default 0.25.
	AgeShare float64
	// Turn is the CPU time after which a long call gives its slot to one that has waited
	// for too long. Default 1 s.
	Turn time.Duration
	// Reserve is the share of the cores that long calls get whatever else there is.
	// Default 0.1.
	Reserve float64
	// Quantum is what the reserve is handed out in. Default 50 ms.
	Quantum time.Duration
	// Slack is the time that a call with a deadline should have left when it ends. Default 5 ms.
	Slack time.Duration
	// Weights say how much the calls of an app count; one that is not here counts 1.
	Weights map[string]float64
}

// ALPSOptions are the parameters of alps, with the meaning that its paper and artifact
// give them.
type ALPSOptions struct {
	// Alpha scales what is learned, Beta is how much its spread counts against it, Theta is
	// the utilisation in percent from which quanta shrink, Gamma how much. Default: 1, 1, 50, 1.
	Alpha, Beta, Theta, Gamma float64
	// NoUnpredictability and NoOverload switch the two fine-tunings off.
	NoUnpredictability, NoOverload bool
	// Learner is what makes a quantum of the simulated runs of a function. Default avg.
	Learner Learner
	// Quantile is that of the learner quantile. Default 0.5.
	Quantile float64
	// Window is how many arrivals are simulated. Default 100.
	Window int
	// Hold is the least uninterrupted run in that simulation. Default 8 ms.
	Hold time.Duration
	// Cap is the greatest quantum. Default 200 ms.
	Cap time.Duration
	// Epoch is how often the strategy learns. Default 500 ms.
	Epoch time.Duration
	// Scale is the demand that is simulated by the one that is measured. The artifact has
	// 0.69 for its own machine. Default 1.
	Scale float64
	// Seed is that of the sample and of the learner rf. Default 42.
	Seed uint64
}

// Learner is a way to predict the next of a series of runs.
type Learner string

// The learners.
const (
	Average      Learner = "avg"      // their mean
	Linear       Learner = "lr"       // linear regression over their number
	Forest       Learner = "rf"       // a random forest of ten trees over their number
	Exponential  Learner = "ewma"     // an exponentially weighted mean, the last one counting 0.2
	QuantileOnly Learner = "quantile" // a quantile of them
)

// Learners are all of them.
var Learners = []Learner{Average, Linear, Forest, Exponential, QuantileOnly}

// SFSOptions are the parameters of sfs.
type SFSOptions struct {
	// Window is how many inter-arrival times the slice is made of. Default 100.
	Window int
	// Initial is the slice while there are none, Floor the least one. Default: 20 ms, 6 ms.
	Initial, Floor time.Duration
	// Overload is how many slices a call may wait before it is left to the kernel. Default 3.
	Overload float64
}

// Defaults are the options for a machine of cores.
func Defaults(cores int) Options {
	const ms = time.Millisecond
	return Options{
		Cores: cores,
		Weft: WeftOptions{MinBudget: 5 * ms, MaxBudget: 50 * ms, UnknownBudget: 15 * ms, Margin: 1.25, Quantile: 0.95, Short: 10 * ms, Crowd: 8, Slots: cores, Lead: 2,
			AgeFactor: 20, AgeMin: 10 * time.Second, AgeShare: 0.25, Turn: time.Second, Reserve: 0.1, Quantum: 50 * ms, Slack: 5 * ms},
		ALPS: ALPSOptions{Alpha: 1, Beta: 1, Theta: 50, Gamma: 1, Learner: Average, Quantile: 0.5, Window: 100, Hold: 8 * ms, Cap: 200 * ms, Epoch: 500 * ms,
			Scale: 1, Seed: 42},
		SFS: SFSOptions{Window: 100, Initial: 20 * ms, Floor: 6 * ms, Overload: 3},
	}
}

// ensureBook makes a book when there is none.
func (o *Options) ensureBook() {
	if o.Book == nil {
		o.Book = profile.NewBook(0)
	}
}

// Validate reports all that is wrong.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	w, a, s := &o.Weft, &o.ALPS, &o.SFS
	want(o.Cores >= 1, "cores is %d: want at least 1", o.Cores)
	want(w.MinBudget > 0 && w.MaxBudget >= w.MinBudget && w.UnknownBudget > 0, "budgets from %v to %v, unknown %v: want 0 < least ≤ greatest, and a positive one",
		w.MinBudget, w.MaxBudget, w.UnknownBudget)
	want(w.Margin > 0 && w.Quantile > 0 && w.Quantile <= 1, "margin %v of quantile %v: want a positive one of a quantile up to 1", w.Margin, w.Quantile)
	want(w.Crowd >= 1, "crowd is %d: want at least 1", w.Crowd)
	want(w.Slots >= 1, "slots is %d: want at least 1", w.Slots)
	want(w.Lead >= 1, "lead is %v: want at least 1", w.Lead)
	want(w.AgeFactor > 0 && w.AgeMin > 0 && w.Turn > 0, "ageing by %v, from %v, turn %v: want positive ones", w.AgeFactor, w.AgeMin, w.Turn)
	want(w.AgeShare > 0 && w.AgeShare <= 1, "share of those that have waited is %v: want more than 0 and at most 1", w.AgeShare)
	want(w.Reserve >= 0 && w.Reserve <= 1 && w.Quantum > 0, "reserve is %v in %v: want a share, and a positive time", w.Reserve, w.Quantum)
	want(w.Short >= 0 && w.Slack >= 0, "short is %v, slack %v: want none below 0", w.Short, w.Slack)
	for app, n := range w.Weights {
		want(n > 0 && n <= 1e6, "weight of %s is %v: want more than 0 and at most 1,000,000", app, n)
	}
	want(a.Alpha >= 0 && a.Beta >= 0 && a.Gamma > 0, "alpha %v, beta %v, gamma %v: want none below 0, and gamma above", a.Alpha, a.Beta, a.Gamma)
	want(a.Theta >= 0 && a.Theta <= 100, "theta is %v: want a percentage", a.Theta)
	want(slices.Contains(Learners, a.Learner), "learner is %q: want one of %s", a.Learner, learnerNames())
	want(a.Quantile >= 0 && a.Quantile <= 1, "quantile is %v: want a share", a.Quantile)
	want(a.Window >= 1 && a.Window <= 100_000, "window is %d: want 1 to 100,000", a.Window)
	want(a.Hold >= 0 && a.Cap > 0 && a.Epoch > 0 && a.Scale > 0, "hold %v, cap %v, epoch %v, scale %v: want positive ones", a.Hold, a.Cap, a.Epoch, a.Scale)
	want(s.Window >= 1 && s.Window <= 100_000 && s.Initial > 0 && s.Floor > 0 && s.Overload > 0,
		"sfs window %d, slice %v, floor %v, overload %v: want positive ones", s.Window, s.Initial, s.Floor, s.Overload)
	return errors.Join(errs...)
}

// learnerNames are all learners in a line.
func learnerNames() string {
	var names []string
	for _, l := range Learners {
		names = append(names, string(l))
	}
	return strings.Join(names, ", ")
}
