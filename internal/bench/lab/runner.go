package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/bench/report"
)

// ErrDigest marks a sample whose output was not the expected one. It ends the experiment: a wrong answer has no speed.
var ErrDigest = errors.New("wrong output")

// point is one counted value, before it is summed up.
type point struct {
	unit    string
	against string
	numbers []float64
}

// series holds the counted values of one case, by measure, and the measures in the order in which they were first seen.
type series struct {
	measures []string
	points   map[string]*point
}

func (s *series) add(v Value) error {
	p := s.points[v.Measure]
	if p == nil {
		if s.points == nil {
			s.points = map[string]*point{}
		}
		p = &point{unit: v.Unit, against: v.Against}
		s.points[v.Measure] = p
		s.measures = append(s.measures, v.Measure)
	}
	if p.unit != v.Unit {
		return fmt.Errorf("measure %q is in %s and in %s", v.Measure, p.unit, v.Unit)
	}
	p.numbers = append(p.numbers, v.Number)
	return nil
}

// measurement runs the rounds of one group.
type measurement struct {
	group   *Group
	series  []series // one per case
	random  *rand.Rand
	checked int // outputs compared and found right
}

// measure samples every case of the group in rounds, in a new order each round, until deadline; Rounds.Min and Max bound the number of rounds.
// It fails on the first sample whose output is wrong. With an error it returns what was measured before.
func measure(ctx context.Context, g *Group, seed uint64, deadline time.Time) (*measurement, error) {
	m := &measurement{group: g, series: make([]series, len(g.cases)), random: rand.New(rand.NewPCG(seed, 0x77656674))}
	for _, c := range g.cases {
		if c.Expect == "" {
			return nil, fmt.Errorf("measure %s %s: no expected output to check against", g.name, c.Variant)
		}
	}
	var longest time.Duration
	for i := range max(g.rounds.WarmUp, 0) {
		if i > 0 && time.Until(deadline) < 3*longest {
			break // warm-up must not eat the measurement
		}
		began := time.Now()
		if err := m.round(ctx, false); err != nil {
			return m, err
		}
		longest = max(longest, time.Since(began))
	}
	for i := range g.rounds.Max {
		if i >= g.rounds.Min && time.Now().Add(longest).After(deadline) {
			break
		}
		began := time.Now()
		if err := m.round(ctx, true); err != nil {
			return m, err
		}
		if i == 0 {
			longest = 0 // the warm-up is no guide to how long a warm round takes
		}
		longest = max(longest, time.Since(began))
	}
	return m, nil
}

// rank puts the cases that are Last behind the others.
var rank = map[bool]int{false: 0, true: 1}

// round samples each case once.
func (m *measurement) round(ctx context.Context, count bool) error {
	order := m.random.Perm(len(m.group.cases))
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(rank[m.group.cases[a].Last], rank[m.group.cases[b].Last])
	})
	for _, i := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &m.group.cases[i]
		s, err := c.Sample(ctx)
		if err != nil {
			return fmt.Errorf("measure %s %s: %w", m.group.name, c.Variant, err)
		}
		if s.Digest != c.Expect {
			return fmt.Errorf("measure %s %s: %w: digest %q, expected %q", m.group.name, c.Variant, ErrDigest, s.Digest, c.Expect)
		}
		m.checked++
		if !count {
			continue
		}
		for _, v := range s.Values {
			if err := m.series[i].add(v); err != nil {
				return fmt.Errorf("measure %s %s: %w", m.group.name, c.Variant, err)
			}
		}
	}
	return nil
}

// interruption is the error of a context that has ended while something was measured.
type interruption struct {
	where string
	cause error
}

func (i *interruption) Error() string { return "interrupted " + i.where }

func (i *interruption) Unwrap() error { return i.cause }

// measureAll gives each group its share of the time that is left until deadline, in the order in which they were added. With an interruption it
// returns what was measured before.
func measureAll(ctx context.Context, l *Lab, deadline time.Time) ([]*measurement, error) {
	weight := 0.0
	for _, g := range l.groups {
		weight += g.rounds.Weight
	}
	var done []*measurement
	for i, g := range l.groups {
		if len(g.cases) == 0 {
			weight -= g.rounds.Weight
			continue
		}
		share := time.Duration(float64(time.Until(deadline)) * g.rounds.Weight / weight)
		weight -= g.rounds.Weight
		l.Log.Info("measuring", "group", g.name, "cases", len(g.cases), "number", i+1, "of", len(l.groups))
		l.Until = time.Now().Add(max(share, 0))
		m, err := measure(ctx, g, l.Seed+uint64(i), l.Until)
		if err != nil && ctx.Err() != nil && !errors.Is(err, ErrDigest) {
			return append(done, m), &interruption{fmt.Sprintf("while measuring %s, group %d of %d", g.name, i+1, len(l.groups)), ctx.Err()}
		}
		if err != nil {
			return nil, err
		}
		done = append(done, m)
	}
	return done, nil
}

// errUnchecked is returned instead of a report in which some output was not compared.
var errUnchecked = errors.New("no output was checked")

// sumUp makes the report of what was measured.
func sumUp(e Experiment, m report.Machine, done []*measurement) (*report.Report, error) {
	r := &report.Report{Experiment: e.Name, Machine: m, Description: e.Description, Baselines: e.Baselines}
	for _, d := range done {
		if err := d.addTo(r); err != nil {
			return nil, err
		}
	}
	if r.Outputs == 0 || len(r.Rows) == 0 {
		return nil, errUnchecked
	}
	r.Checked = true
	for _, q := range e.Required {
		if row := r.Row(q.Variant, q.Measure); row != nil {
			row.Required = q.Text
		}
	}
	r.Compare()
	return r, nil
}

// addTo appends the rows of the group: its measures in the order in which its cases report them, and under each the variants in the order of the
// cases.
func (m *measurement) addTo(r *report.Report) error {
	var measures []string
	for i := range m.series {
		for _, name := range m.series[i].measures {
			if !slices.Contains(measures, name) {
				measures = append(measures, name)
			}
		}
	}
	for _, name := range measures {
		for i := range m.series {
			p := m.series[i].points[name]
			if p == nil {
				continue
			}
			if err := r.Add(report.Row{Variant: m.group.cases[i].Variant, Measure: name, Unit: p.unit, Against: p.against}, p.numbers); err != nil {
				return err
			}
		}
	}
	r.Outputs += m.checked
	return nil
}
