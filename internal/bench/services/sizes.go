package services

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
)

// sizes is how much is asked.
type sizes struct {
	alone   int           // requests of a client alone, a round, at most: no more than a window has room for
	clients int           // who ask at the same time
	window  time.Duration // in which they do
	rates   int           // of the open loop; 0: all
	rounds  int           // at least
	repeats int           // of a window that other load disturbed, at most
	ladder  []int         // numbers of clients, of which the peak is sought
	peaks   int           // times that the peak is measured then
}

// windowMin is the shortest window that sizes are cut to.
const windowMin = 100 * time.Millisecond

// step is a group of cases, one for each of an application's variants.
type step struct {
	what    string
	rounds  lab.Rounds
	windows float64            // that a sample takes, about
	fits    func(*served) bool // the variants that it is for; nil: all
	sample  func(a *served, ctx context.Context) (lab.Sample, error)
}

// steps are those of an application.
func (z sizes) steps(app application) []step {
	rounds := lab.Rounds{Min: z.rounds, Max: 20}
	out := []step{
		{what: "alone", rounds: rounds, windows: 1, sample: func(a *served, ctx context.Context) (lab.Sample, error) {
			return a.alone(ctx, z.alone, z.window)
		}},
		{what: "many", rounds: rounds, windows: 1, sample: func(a *served, ctx context.Context) (lab.Sample, error) {
			return a.many(ctx, z.clients, z.window)
		}},
	}
	rates := app.rates
	if z.rates > 0 {
		rates = rates[:min(z.rates, len(rates))]
	}
	for _, rate := range rates {
		// What comes too fast is answered, or refused, for some time after the window.
		out = append(out, step{what: fmt.Sprintf("%v/s", rate), rounds: lab.Rounds{WarmUp: -1, Max: 5}, windows: 1.5, sample: func(a *served, ctx context.Context) (lab.Sample, error) {
			return a.atRate(ctx, rate, z.window)
		}})
	}
	if app.onOneKey != nil {
		out = append(out, step{
			what: "one key", rounds: lab.Rounds{WarmUp: -1, Min: 1, Max: z.rounds},
			windows: float64(len(z.ladder))/2 + 3*float64(z.peaks) + 2,
			fits:    func(a *served) bool { return !a.changed || a.variant == variantWasm },
			sample: func(a *served, ctx context.Context) (lab.Sample, error) {
				return a.plateau(ctx, z.ladder, z.peaks, z.window)
			},
		})
	}
	return out
}

// of are the variants that the step is for.
func (s step) of(variants []*served) []*served {
	if s.fits == nil {
		return variants
	}
	var out []*served
	for _, a := range variants {
		if s.fits(a) {
			out = append(out, a)
		}
	}
	return out
}

// least is how many windows the least rounds take of the step's cases.
func (s step) least(variants []*served) float64 {
	r := s.rounds
	r.EnsureDefaults()
	return float64(len(s.of(variants))*(max(r.WarmUp, 0)+r.Min)) * s.windows
}

// add adds the group, whose share of the budget is as its least rounds.
func (s step) add(l *lab.Lab, variants []*served) {
	s.rounds.Weight = s.least(variants)
	g := l.Group(variants[0].name+", "+s.what, s.rounds)
	for _, a := range s.of(variants) {
		g.Add(lab.Case{Variant: a.variant, Expect: allAnswered, Sample: func(ctx context.Context) (lab.Sample, error) {
			out, err := s.sample(a, ctx)
			if err == nil {
				out.Digest = allAnswered
			}
			return out, err
		}})
	}
}

// windows is how many windows the least of everything takes.
func (z sizes) windows(apps [][]*served) float64 {
	sum := 0.0
	for _, variants := range apps {
		for _, s := range z.steps(variants[0].application) {
			sum += s.least(variants)
		}
	}
	return sum
}

// fit returns sizes of which the least takes no more than the time that is left, a fifth of it for what is between windows: with shorter windows
// and, where that is not enough, fewer of them. Where nothing is enough it returns the least sizes that there are.
func (z sizes) fit(apps [][]*served, left time.Duration) sizes {
	fewer := z
	fewer.rounds, fewer.peaks, fewer.ladder = 1, 1, nil
	for i := 0; i < len(z.ladder); i += 2 {
		fewer.ladder = append(fewer.ladder, z.ladder[i])
	}
	for _, f := range []sizes{z, fewer} {
		room := time.Duration(0.8 * float64(left) / f.windows(apps))
		if room >= windowMin || room >= z.window {
			f.window = min(room, z.window)
			return f
		}
	}
	fewer.window = min(windowMin, z.window)
	return fewer
}

// cut says what has been made smaller in sizes that fit.
func (z sizes) cut(fitting sizes) []string {
	var out []string
	if fitting.window < z.window {
		out = append(out, fmt.Sprintf("for the budget, windows are of %v instead of %v", fitting.window.Round(time.Millisecond), z.window))
	}
	if fitting.rounds < z.rounds || fitting.peaks < z.peaks {
		out = append(out, fmt.Sprintf("for the budget, rounds are at least %d instead of %d, measurements of a peak %d instead of %d, and it is sought among %v clients instead of %v",
			fitting.rounds, z.rounds, fitting.peaks, z.peaks, fitting.ladder, z.ladder))
	}
	return out
}
