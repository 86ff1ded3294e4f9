package sim_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/cpu/sim"
)

const ms = time.Millisecond

// at is a job that arrives at a and needs d, in milliseconds.
func at(a, d int) sim.Job {
	return sim.Job{Arrival: time.Duration(a) * ms, CPU: time.Duration(d) * ms}
}

// ends are the ends of the jobs in milliseconds.
func ends(o *sim.Outcome) string {
	var out []string
	for _, r := range o.Results {
		out = append(out, fmt.Sprint(float64(r.End)/1e6))
	}
	return strings.Join(out, " ")
}

func TestByHand(t *testing.T) {
	sleeper := at(0, 4)
	sleeper.Sleeps = []sim.Sleep{{At: 2 * ms, For: 10 * ms}}
	tests := []struct {
		name     string
		jobs     []sim.Job
		o        sim.Options
		agent    sim.Agent
		ends     string
		switches int
	}{
		{"one job", []sim.Job{at(3, 4)}, sim.Options{}, sim.FIFO(), "7", 1},
		{"fifo", []sim.Job{at(0, 5), at(1, 1), at(2, 1)}, sim.Options{}, sim.FIFO(), "5 6 7", 3},
		{"fifo on two cores", []sim.Job{at(0, 5), at(1, 3), at(2, 1)}, sim.Options{Cores: 2}, sim.FIFO(), "5 4 5", 3},
		// 0-2 a, 2-4 b, 4-6 a, 6-7 b, 7-8 a
		{"round robin", []sim.Job{at(0, 5), at(0, 3)}, sim.Options{}, sim.RoundRobin(2 * ms), "8 7", 5},
		{"round robin alone keeps its core", []sim.Job{at(0, 9)}, sim.Options{}, sim.RoundRobin(2 * ms), "9", 1},
		// the one that comes at 3 waits for the turn that ends at 4
		{"round robin, a newcomer", []sim.Job{at(0, 5), at(3, 1)}, sim.Options{}, sim.RoundRobin(2 * ms), "6 5", 3},
		// 0-1 a, 1-3 b (2 < 9), 3-4 a, 4-5 c, 5-13 a
		{"srpt", []sim.Job{at(0, 10), at(1, 2), at(4, 1)}, sim.Options{}, sim.SRPT(), "13 3 5", 5},
		{"srpt keeps what is nearly done", []sim.Job{at(0, 10), at(8, 3)}, sim.Options{}, sim.SRPT(), "10 13", 2},
		{"srpt on two cores", []sim.Job{at(0, 10), at(0, 20), at(1, 2)}, sim.Options{Cores: 2}, sim.SRPT(), "10 22 3", 4},
		// held until 8: then b, which came at 1, has less (2) than a (12)
		{"srtf with a hold", []sim.Job{at(0, 20), at(1, 2)}, sim.Options{}, sim.SRTF(8 * ms), "22 10", 3},
		{"a switch costs", []sim.Job{at(0, 10), at(1, 2)}, sim.Options{SwitchCost: ms}, sim.SRPT(), "15 4", 3},
		// a has 15 ms; then b, c before it; the slot is a's from then on
		{"levels", []sim.Job{at(0, 30), at(10, 5), at(16, 4)}, sim.Options{}, &sim.Levels{Quantum: 100 * ms}, "39 20 24", 4},
		// both fall at 30; the first to fall runs to its end, the second waits for the slot
		{"levels, one slot", []sim.Job{at(0, 25), at(0, 20)}, sim.Options{}, &sim.Levels{Quantum: 100 * ms}, "40 45", 4},
		{"a sleeper lets others run", []sim.Job{sleeper, at(1, 5)}, sim.Options{}, sim.FIFO(), "14 7", 3},
		{"a sleeping job has no slot", []sim.Job{func() sim.Job {
			j := at(0, 40)
			j.Sleeps = []sim.Sleep{{At: 20 * ms, For: 30 * ms}}
			return j
		}(), at(0, 40)}, sim.Options{}, &sim.Levels{Quantum: 100 * ms}, "85 60", 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := sim.Run(tt.jobs, tt.o, tt.agent)
			if err != nil {
				t.Fatal(err)
			}
			if got := ends(out); got != tt.ends || out.Switches != tt.switches {
				t.Errorf("ends %s with %d switches, want %s with %d", got, out.Switches, tt.ends, tt.switches)
			}
		})
	}
}

func TestSharingByHand(t *testing.T) {
	sleeper := at(0, 4)
	sleeper.Sleeps = []sim.Sleep{{At: 2 * ms, For: 10 * ms}}
	tests := []struct {
		name  string
		jobs  []sim.Job
		cores int
		ends  string
	}{
		{"alone", []sim.Job{at(0, 4)}, 1, "4"},
		{"two", []sim.Job{at(0, 4), at(0, 2)}, 1, "6 4"},
		{"three on two cores", []sim.Job{at(0, 2), at(0, 2), at(0, 4)}, 2, "3 3 5"},
		{"one comes later", []sim.Job{at(0, 4), at(2, 1)}, 1, "5 4"},
		{"a sleeper", []sim.Job{sleeper, at(0, 20)}, 1, "18 24"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := sim.Sharing(tt.jobs, sim.Options{Cores: tt.cores})
			if err != nil {
				t.Fatal(err)
			}
			if got := ends(out); got != tt.ends {
				t.Errorf("ends %s, want %s", got, tt.ends)
			}
		})
	}
}

func TestResults(t *testing.T) {
	jobs := []sim.Job{at(0, 6), at(1, 2)}
	jobs[0].Class, jobs[1].Class = "long", "short"
	jobs[0].Deadline = 7 * ms
	jobs[1].Sleeps = []sim.Sleep{{At: ms, For: 3 * ms}}
	out, err := sim.Run(jobs, sim.Options{}, sim.SRPT()) // 0-1 a, 1-2 b, 2-5 a, 5-6 b, 6-8 a
	if err != nil {
		t.Fatal(err)
	}
	a, b := out.Results[0], out.Results[1]
	if a.Turnaround() != 8*ms || a.Wait() != 2*ms || a.Slowdown() != 8.0/6 || a.RTE() != 6.0/8 || a.Switches != 2 || a.Start != 0 {
		t.Errorf("a: %+v", a)
	}
	if b.Turnaround() != 5*ms || b.Wait() != 0 || b.Slowdown() != 1 || b.RTE() != 2.0/5 || b.Start != ms {
		t.Errorf("b: %+v", b)
	}
	if out.Busy != 8*ms || out.Span != 8*ms {
		t.Errorf("busy %v of %v", out.Busy, out.Span)
	}
	s := out.Stats()
	if len(s) != 3 || s[0].Class != "long" || s[0].Late != 1 || s[1].Mean != 5*ms || s[2].Class != sim.All || s[2].Calls != 2 || s[2].Mean != 6500*time.Microsecond || s[2].P50 != 5*ms || s[2].P99 != 8*ms {
		t.Errorf("stats %+v", s)
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, tt := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{{hundred, 0.5, 50}, {hundred, 0.95, 95}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1}, {hundred[:1], 0.5, 1}, {nil, 0.5, 0}, {hundred[:3], 0.5, 2}} {
		if got := sim.Percentile(tt.of, tt.q); got != tt.want {
			t.Errorf("%v of %d: %d, want %d", tt.q, len(tt.of), got, tt.want)
		}
	}
}

func TestJobsThatCannotBePlayed(t *testing.T) {
	asleep := func(s ...sim.Sleep) sim.Job { j := at(0, 5); j.Sleeps = s; return j }
	for name, jobs := range map[string][]sim.Job{
		"order":            {at(1, 1), at(0, 1)},
		"negative":         {at(0, -1)},
		"sleeps at end":    {asleep(sim.Sleep{At: 5 * ms, For: 1})},
		"sleeps backwards": {asleep(sim.Sleep{At: 3 * ms}, sim.Sleep{At: 2 * ms})},
	} {
		if _, err := sim.Run(jobs, sim.Options{}, sim.FIFO()); !errors.Is(err, sim.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := sim.Sharing(jobs, sim.Options{}); !errors.Is(err, sim.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// idler never lets anything run.
type idler struct{ sim.Fixed }

func (idler) Arrived(m *sim.Machine, _ *sim.Task) { m.Wake(m.Now() + time.Second) }
func (idler) Timer(m *sim.Machine)                { m.Wake(m.Now() + time.Second) }

func TestASchedulerThatDoesNothingIsFoundOut(t *testing.T) {
	if _, err := sim.Run([]sim.Job{at(0, 1)}, sim.Options{}, idler{}); !errors.Is(err, sim.ErrStuck) {
		t.Errorf("got %v", err)
	}
}

// draw makes jobs.
func draw(t *rapid.T, sleeps bool) []sim.Job {
	n := rapid.IntRange(1, 40).Draw(t, "jobs")
	var now time.Duration
	jobs := make([]sim.Job, n)
	for i := range jobs {
		now += time.Duration(rapid.IntRange(0, 30).Draw(t, "gap")) * 300 * time.Microsecond
		jobs[i] = sim.Job{Arrival: now, CPU: time.Duration(rapid.IntRange(1, 200).Draw(t, "cpu")) * 170 * time.Microsecond}
		if sleeps && rapid.Bool().Draw(t, "sleeps") {
			jobs[i].Sleeps = []sim.Sleep{{At: jobs[i].CPU / 3, For: time.Duration(rapid.IntRange(0, 20).Draw(t, "for")) * ms}}
		}
	}
	return jobs
}

// disciplines are all of them, by name.
func disciplines() map[string]sim.Agent {
	return map[string]sim.Agent{"fifo": sim.FIFO(), "rr": sim.RoundRobin(ms), "srpt": sim.SRPT(), "srtf": sim.SRTF(8 * ms),
		"levels": &sim.Levels{}, "deep": &sim.Levels{Budgets: []time.Duration{ms, 5 * ms}, Slots: 1}}
}

// TestNoCoreIdlesWhileThereIsWork: on one core the work that is left at any time is the same whoever schedules, so the
// last job of each busy period ends at the same time; and no result contradicts itself.
func TestNoCoreIdlesWhileThereIsWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.IntRange(1, 3).Draw(t, "cores")
		jobs := draw(t, cores > 1)
		work := time.Duration(0)
		for _, j := range jobs {
			work += j.CPU
		}
		var span time.Duration
		for name, agent := range disciplines() {
			out, err := sim.Run(jobs, sim.Options{Cores: cores}, agent)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if out.Busy != work {
				t.Fatalf("%s: %v of work, and the cores have worked %v", name, work, out.Busy)
			}
			for i, r := range out.Results {
				if r.Start < r.Job.Arrival || r.End < r.Start+r.Job.CPU+r.Job.Asleep() || r.Wait() < 0 || r.RTE() > 1 || r.Slowdown() < 1 {
					t.Fatalf("%s, job %d: %+v", name, i, r)
				}
			}
			if cores == 1 {
				if span != 0 && out.Span != span {
					t.Fatalf("%s ends at %v, another at %v", name, out.Span, span)
				}
				span = out.Span
			}
		}
		shared, err := sim.Sharing(jobs, sim.Options{Cores: cores})
		if err != nil {
			t.Fatal(err)
		}
		if d := shared.Busy - work; d < -time.Duration(3*len(jobs)+3) || d > time.Duration(3*len(jobs)+3) {
			t.Fatalf("sharing: %v of work, and the cores have worked %v", work, shared.Busy)
		}
		if d := shared.Span - span; cores == 1 && (d > 100 || d < -100) {
			t.Fatalf("sharing ends at %v, others at %v", shared.Span, span)
		}
	})
}

// mean is the mean turnaround.
func mean(o *sim.Outcome) time.Duration { s := o.Stats(); return s[len(s)-1].Mean }

func TestNobodyBeatsTheOracleOnOneCore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs := draw(t, false)
		best, err := sim.Run(jobs, sim.Options{}, sim.SRPT())
		if err != nil {
			t.Fatal(err)
		}
		for name, agent := range disciplines() {
			out, err := sim.Run(jobs, sim.Options{}, agent)
			if err != nil {
				t.Fatal(err)
			}
			if mean(out) < mean(best)-1 {
				t.Fatalf("%s: mean %v, the oracle %v", name, mean(out), mean(best))
			}
		}
		shared, err := sim.Sharing(jobs, sim.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if mean(shared) < mean(best)-time.Microsecond {
			t.Fatalf("sharing: mean %v, the oracle %v", mean(shared), mean(best))
		}
	})
}

func TestSwitchesCost(t *testing.T) {
	jobs := []sim.Job{at(0, 50), at(0, 50)}
	out, err := sim.Run(jobs, sim.Options{SwitchCost: 100 * time.Microsecond}, sim.RoundRobin(ms))
	if err != nil {
		t.Fatal(err)
	}
	if out.Switches != 100 || out.Overhead != 10*ms || out.Span != 110*ms || out.Busy != 100*ms {
		t.Errorf("%d switches, overhead %v, span %v, busy %v", out.Switches, out.Overhead, out.Span, out.Busy)
	}
}

func TestRunsAreReported(t *testing.T) {
	var runs []string
	o := sim.Options{Ran: func(job int, d time.Duration) { runs = append(runs, fmt.Sprintf("%d:%v", job, d)) }}
	if _, err := sim.Run([]sim.Job{at(0, 20), at(1, 2)}, o, sim.SRTF(8*ms)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(runs, " "); got != "0:8ms 1:2ms 0:12ms" {
		t.Errorf("runs %s", got)
	}
}
