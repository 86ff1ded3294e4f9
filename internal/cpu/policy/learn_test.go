package policy

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestQuantum has the formula of ALPS by hand. The first lines are numbers that the algorithm gives on a trace of short and
// long calls: runs of 3 ms without spread under full load give 1 ms, and long ones of 30 ms that spread by 26 nearly none.
func TestQuantum(t *testing.T) {
	spread := func(mean, sigma float64) []float64 { return []float64{mean - sigma, mean + sigma} }
	tests := []struct {
		name   string
		change func(*ALPSOptions)
		runs   []float64 // ms
		load   float64   // percent
		want   int       // ms
	}{
		{"short, idle", nil, []float64{3, 3, 3}, 10, 3},
		{"short, full load: int(3*0.5)", nil, []float64{3, 3, 3}, 100, 1},
		{"long: (30-26)*0.5", nil, spread(30, 26), 100, 2},
		{"long, spread above the mean", nil, spread(68, 186), 100, 0},
		{"long, no fine-tuning", func(o *ALPSOptions) { o.NoOverload, o.NoUnpredictability = true, true }, spread(68, 40), 100, 68},
		{"no unpredictability: 68*0.5", func(o *ALPSOptions) { o.NoUnpredictability = true }, spread(68, 40), 100, 34},
		{"no overload: 68-40", func(o *ALPSOptions) { o.NoOverload = true }, spread(68, 40), 100, 28},
		{"capped at 200", nil, spread(900, 0), 0, 200},
		{"alpha 0.5: int(15.5)", func(o *ALPSOptions) { o.Alpha = 0.5 }, spread(31, 0), 0, 15},
		{"beta 2, below theta: 30-2*5", func(o *ALPSOptions) { o.Beta = 2 }, spread(30, 5), 0, 20},
		{"beta 2, full load: 20*2*0.5", func(o *ALPSOptions) { o.Beta = 2 }, spread(30, 5), 100, 20},
		{"theta 80, load 79", func(o *ALPSOptions) { o.Theta = 80 }, spread(40, 0), 79, 40},
		{"theta 80, load 80: 40*100/100", func(o *ALPSOptions) { o.Theta = 80 }, spread(40, 0), 80, 40},
		{"theta 80, load 90: 40*90/100", func(o *ALPSOptions) { o.Theta = 80 }, spread(40, 0), 90, 36},
		{"gamma 2, load 100: 40*50/200", func(o *ALPSOptions) { o.Gamma = 2 }, spread(40, 0), 100, 10},
		{"load 75: 40*75/100", nil, spread(40, 0), 75, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Defaults(1).ALPS
			if tt.change != nil {
				tt.change(&o)
			}
			if got := o.quantum(tt.runs, tt.load); got != time.Duration(tt.want)*time.Millisecond {
				t.Errorf("%v, want %d ms", got, tt.want)
			}
		})
	}
}

func TestLearners(t *testing.T) {
	tests := []struct {
		learner Learner
		runs    []float64
		want    float64
	}{
		{Average, []float64{2, 4, 9}, 5},
		{Linear, []float64{2, 4, 6}, 8},
		{Linear, []float64{1, 2, 2}, 8.0 / 3}, // slope 1/2 through (2, 5/3)
		{Linear, []float64{7}, 7},
		{Exponential, []float64{5}, 5},
		{Exponential, []float64{1, 2}, (0.8*1 + 2) / 1.8},
		{Exponential, []float64{1, 2, 3}, (0.64*1 + 0.8*2 + 3) / 2.44},
		{QuantileOnly, []float64{9, 1, 5}, 5},
		{QuantileOnly, []float64{4, 1, 3, 2}, 3},
		{Forest, []float64{6}, 6},
		{Forest, []float64{3, 3, 3, 3}, 3},
		{Average, nil, 0},
		{Forest, nil, 0},
	}
	for _, tt := range tests {
		o := Defaults(1).ALPS
		o.Learner = tt.learner
		if got := o.predict(tt.runs); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s of %v: %v, want %v", tt.learner, tt.runs, got, tt.want)
		}
	}
}

// TestAForestLooksAtTheLastRuns: what it predicts past the end comes from the end.
func TestAForestLooksAtTheLastRuns(t *testing.T) {
	runs := make([]float64, 100)
	for i := range runs {
		runs[i] = float64(i)
	}
	if got := forest(runs, 42); got < 90 || got > 99 {
		t.Errorf("got %v, want nearly 99", got)
	}
	if forest(runs, 42) != forest(runs, 42) {
		t.Error("one seed gives two answers")
	}
}

func TestSampleIsOneCoresShare(t *testing.T) {
	o := Defaults(4)
	o.ensureBook()
	a := newALPS(o)
	for i := range 1000 {
		a.enter(arrival{time.Duration(i), "f"})
	}
	lines := a.sample()
	if len(lines) != 100 {
		t.Fatalf("%d lines of the last 400 on 4 cores", len(lines))
	}
	for i, l := range lines {
		if l.at < 600 || i > 0 && l.at <= lines[i-1].at {
			t.Fatalf("line %d is of %d, after %d", i, l.at, lines[max(i-1, 0)].at)
		}
	}
}

func TestSlicesOfSFS(t *testing.T) {
	o := Defaults(2)
	o.ensureBook()
	s := newSFS(o)
	if s.slice != 20*time.Millisecond {
		t.Errorf("before anything came: %v", s.slice)
	}
	now := time.Duration(0)
	for range 10 {
		s.measure(now)
		now += 10 * time.Millisecond
	}
	if s.slice != 20*time.Millisecond { // 10 ms times 2 cores
		t.Errorf("after gaps of 10 ms: %v", s.slice)
	}
	for range 200 {
		s.measure(now)
		now += time.Millisecond
	}
	if s.slice != 6*time.Millisecond { // the floor
		t.Errorf("after gaps of 1 ms: %v", s.slice)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	tests := map[string]func(*Options){
		"cores is 0":             func(o *Options) { o.Cores = 0 },
		"budgets":                func(o *Options) { o.Weft.MaxBudget = 1 },
		"slots is 0":             func(o *Options) { o.Weft.Slots = 0 },
		"lead is 0.5":            func(o *Options) { o.Weft.Lead = 0.5 },
		"reserve is 2":           func(o *Options) { o.Weft.Reserve = 2 },
		"weight of shop is -1":   func(o *Options) { o.Weft.Weights = map[string]float64{"shop": -1} },
		"gamma 0":                func(o *Options) { o.ALPS.Gamma = 0 },
		"theta is 101":           func(o *Options) { o.ALPS.Theta = 101 },
		`learner is "guess"`:     func(o *Options) { o.ALPS.Learner = "guess" },
		"window is 0":            func(o *Options) { o.ALPS.Window = 0 },
		"sfs window 0":           func(o *Options) { o.SFS.Window = 0 },
		"quantile is -1":         func(o *Options) { o.ALPS.Quantile = -1 },
		"margin 0":               func(o *Options) { o.Weft.Margin = 0 },
		"turn 0s":                func(o *Options) { o.Weft.Turn = 0 },
		"those that have waited": func(o *Options) { o.Weft.AgeShare = 0 },
	}
	for want, change := range tests {
		o := Defaults(2)
		change(&o)
		if _, err := New(Weft, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := New("fast", Defaults(1)); err == nil || !strings.Contains(err.Error(), `"fast"`) {
		t.Errorf("got %v", err)
	}
	for _, name := range Names {
		if s, err := New(name, Defaults(1)); err != nil || s.Name() != name {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}
