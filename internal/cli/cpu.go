package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/trace"
	"github.com/weft-run/weft/internal/cpu/whatif"
	"github.com/weft-run/weft/internal/flow"
)

func (sh *shell) cpuCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cpu",
		Short: "Watch and set which calls get the processor",
		Long: `Show which of the running calls have the processor, by which policy (none, alps, sfs or weft), and what was learned of
functions, once a second, until q or Ctrl-C. With --once, or where stdout is no terminal, it is shown once. docs/cpu.md
explains the policies. whatif and generate need no server.`,
		Args: atMost(0, ""),
	}
	once := cmd.Flags().Bool("once", false, "show it once and leave")
	form := outputFlag(cmd, "table", "json", "yaml")
	sh.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		if form.value == "table" && !*once && sh.outStyle.live {
			return sh.watchCPU(ctx, c)
		}
		s, err := c.CPU(ctx)
		if err != nil {
			return err
		}
		return sh.printCPU(form.value, s)
	})
	cmd.AddCommand(sh.cpuSetCommand(), sh.cpuWhatifCommand(), sh.cpuGenerateCommand())
	return cmd
}

// whatifOptions are the flags of weft cpu whatif.
type whatifOptions struct {
	cores               int
	names               []string
	cold                bool
	read                trace.Options
	durations           string
	from, minutes       int
	play                whatif.Options
	alps                policy.ALPSOptions
	learner             string
	slots               int
	reserve             float64
	weights             map[string]string
	noUnpredict, noOver bool
}

func (sh *shell) cpuWhatifCommand() *cobra.Command {
	var o whatifOptions
	known := policy.Defaults(1)
	cmd := &cobra.Command{
		Use:   "whatif TRACE",
		Short: "Simulate a trace of calls under several policies",
		Long: `Play a trace of calls on a simulated machine under each policy, and print the turnaround that each class of calls would
have. Besides the policies none, alps, sfs and weft there are srpt, the oracle that knows what every call still needs, ps
(ideal sharing), fifo, rr (round robin) and mlfq.

The trace is a file or - for stdin: weft's CSV (arrival_ms,function,cpu_ms and, if you like, class,app,deadline_ms,sleeps),
lines of ALPS (id n job iat port), or Azure Functions 2021 (app,func,end_timestamp,duration). Of Azure Functions 2019 it is
the file of invocations, and --durations names the other one.

Policies that learn know the functions of the trace already, as a node does that has run for a while; with --cold they
begin with nothing.`,
		Example: `  weft cpu generate short-long --cores 2 --load 2 --length 4s | weft cpu whatif - --cores 2
  weft cpu whatif trace.csv --policy srpt,none,weft -o json`,
		Args: between(1, 1, "a trace"),
	}
	f := cmd.Flags()
	f.IntVar(&o.cores, "cores", runtime.NumCPU(), "cores of the machine")
	f.StringSliceVar(&o.names, "policy", []string{whatif.SRPT, policy.None, policy.ALPS, policy.SFS, policy.Weft}, "policies, the one to compare with first")
	f.BoolVar(&o.cold, "cold", false, "know nothing of the functions before the trace begins")
	f.DurationVar(&o.play.Quantum, "quantum", 1400*time.Microsecond, "how long a call runs while others of its tier wait")
	f.DurationVar(&o.play.SwitchCost, "switch-cost", 0, "what a core needs to begin with another call")
	f.BoolVar(&o.play.FIFO, "fifo", false, "let calls of the express tier run without turns, as in a real-time class")
	f.Float64Var(&o.read.Pace, "pace", 1, "factor of the times between arrivals; smaller is more load (ALPS: 0.21)")
	f.Float64Var(&o.read.Share, "share", 1, "part of a duration that is CPU time, in traces that have only durations")
	f.StringVar(&o.durations, "durations", "", "second file of Azure Functions 2019: percentiles of durations")
	f.IntVar(&o.from, "from", 1, "first minute of a day of Azure Functions 2019")
	f.IntVar(&o.minutes, "minutes", 10, "how many minutes of it")
	f.Uint64Var(&o.read.Seed, "seed", 1, "seed of what is drawn for Azure Functions 2019")
	f.IntVar(&o.slots, "slots", 0, "weft: threads of long calls that may run at a time (default: the cores)")
	f.Float64Var(&o.reserve, "reserve", known.Weft.Reserve, "weft: share of the cores that long calls get in any case")
	f.StringToStringVar(&o.weights, "weight", nil, "weft: how much an app counts: APP=NUMBER")
	f.Float64Var(&o.alps.Alpha, "alpha", known.ALPS.Alpha, "alps: factor of what is learned")
	f.Float64Var(&o.alps.Beta, "beta", known.ALPS.Beta, "alps: how much the spread counts against it")
	f.Float64Var(&o.alps.Theta, "theta", known.ALPS.Theta, "alps: utilisation in percent from which quanta shrink")
	f.Float64Var(&o.alps.Gamma, "gamma", known.ALPS.Gamma, "alps: divisor of quanta under load")
	f.BoolVar(&o.noUnpredict, "no-unpredictability", false, "alps: without that fine-tuning")
	f.BoolVar(&o.noOver, "no-overload", false, "alps: without that fine-tuning")
	learner := &choice{value: string(policy.Average)}
	for _, l := range policy.Learners {
		learner.words = append(learner.words, string(l))
	}
	f.Var(learner, "learner", "alps: how a quantum is made of simulated runs")
	fixed(cmd, "learner", learner.words)
	fixed(cmd, "policy", whatif.Names())
	form := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		o.learner = learner.value
		play, err := o.options()
		if err != nil {
			return err
		}
		jobs, err := sh.readTrace(args[0], &o)
		if err != nil {
			return err
		}
		if !o.cold {
			play.Learned = jobs
		}
		reports, err := whatif.Compare(jobs, o.names, play)
		if err != nil {
			return err
		}
		return sh.printTable(form, map[string]any{"cores": o.cores, "calls": len(jobs), "policies": reports}, whatifTable(reports))
	}
	return cmd
}

// options makes the simulator's options of the flags.
func (o *whatifOptions) options() (whatif.Options, error) {
	for _, name := range o.names {
		if !slices.Contains(whatif.Names(), name) {
			return whatif.Options{}, usage("the policies are "+strings.Join(whatif.Names(), ", "), "there is no policy %q%s", name, near(name))
		}
	}
	if o.cores < 1 || o.cores > 1024 {
		return whatif.Options{}, usage("", "--cores is %d: want 1 to 1024", o.cores)
	}
	if o.play.Quantum < 10*time.Microsecond || o.play.SwitchCost < 0 || o.play.SwitchCost > time.Second {
		return whatif.Options{}, usage("", "--quantum is %v and --switch-cost %v: want at least 10µs, and from 0 to 1s", o.play.Quantum, o.play.SwitchCost)
	}
	p := policy.Defaults(o.cores)
	a := &p.ALPS
	a.Alpha, a.Beta, a.Theta, a.Gamma, a.Learner = o.alps.Alpha, o.alps.Beta, o.alps.Theta, o.alps.Gamma, policy.Learner(o.learner)
	a.NoUnpredictability, a.NoOverload = o.noUnpredict, o.noOver
	p.Weft.Reserve = o.reserve
	if o.slots != 0 {
		p.Weft.Slots = o.slots
	}
	p.Weft.Weights = map[string]float64{}
	for _, app := range slices.Sorted(maps.Keys(o.weights)) {
		var n float64
		if _, err := fmt.Sscan(o.weights[app], &n); err != nil {
			return whatif.Options{}, usage("", "--weight %s=%s: want a number", app, o.weights[app])
		}
		p.Weft.Weights[app] = n
	}
	if err := p.Validate(); err != nil {
		return whatif.Options{}, usage("docs/cpu.md says what the parameters mean", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	play := o.play
	play.Policy = p
	return play, nil
}

// near is a proposal for a policy that does not exist.
func near(name string) string {
	if n := flow.Nearest(name, whatif.Names()); n != "" {
		return "; " + n
	}
	return ""
}

// readTrace reads what the argument names.
func (sh *shell) readTrace(name string, o *whatifOptions) ([]sim.Job, error) {
	const hint = "weft cpu whatif --help says which formats there are"
	r, closing, err := sh.openTrace(name)
	if err != nil {
		return nil, err
	}
	defer closing()
	var jobs []sim.Job
	if o.durations == "" {
		jobs, err = trace.Read(r, o.read)
	} else {
		var d *os.File
		if d, err = os.Open(o.durations); err != nil {
			return nil, usage("", "open durations: %v", err)
		}
		defer d.Close()
		jobs, err = trace.ReadAzure2019(trace.Azure2019{Invocations: r, Durations: d, From: o.from, Minutes: o.minutes}, o.read)
	}
	switch {
	case errors.Is(err, trace.ErrFormat):
		return nil, usage(hint, "%s: %v", name, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return jobs, nil
}

// openTrace opens a file or stdin.
func (sh *shell) openTrace(name string) (io.Reader, func(), error) {
	if name == "-" {
		return sh.stdin, func() {}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, usage("", "open trace: %v", err)
	}
	return f, func() { f.Close() }, nil
}

// whatifTable shows reports: for each class one row a policy, so that those to compare are
// below each other.
func whatifTable(reports []whatif.Report) table {
	t := table{heading: []string{"class", "policy", "calls", "mean", "p50", "p95", "p99", "worst", "slowdown", "rte", "late", "by " + reports[0].Policy}}
	for _, first := range reports[0].Stats {
		for i := range reports {
			r := &reports[i]
			s := r.Of(first.Class)
			late := "-"
			if s.Late > 0 {
				late = fmt.Sprint(s.Late)
			}
			t.add(s.Class, r.Policy, fmt.Sprint(s.Calls), roughly(s.Mean), roughly(s.P50), roughly(s.P95), roughly(s.P99), roughly(s.Worst),
				fmt.Sprintf("%.1f", s.Slowdown), fmt.Sprintf("%.2f", s.RTE), late, fmt.Sprintf("%.2f", float64(s.Mean)/float64(max(first.Mean, 1))))
		}
	}
	return t
}

// roughly is a duration in three digits or so.
func roughly(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d < 100*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func (sh *shell) cpuGenerateCommand() *cobra.Command {
	var w trace.Window
	mixes := slices.Sorted(maps.Keys(trace.Mixes))
	cmd := &cobra.Command{
		Use:   "generate MIX",
		Short: "Make a trace of calls from a seed",
		Long: `Write calls as CSV to stdout, for weft cpu whatif. The mixes are short-long (1 to 10 ms, and 3 in 100 of 1 to 2 s), huawei and
azure (those of ALPS's traces) and heavy-tail. The same flags give the same calls.`,
		Example:   `  weft cpu generate short-long --cores 2 --load 2 --length 4s --seed 7 > trace.csv`,
		Args:      between(1, 1, "a mix: "+strings.Join(mixes, ", ")),
		ValidArgs: mixes,
	}
	f := cmd.Flags()
	f.IntVar(&w.Cores, "cores", runtime.NumCPU(), "cores that the load refers to")
	f.Float64Var(&w.Load, "load", 1, "work that arrives, by what the cores can do meanwhile")
	f.DurationVar(&w.Length, "length", 10*time.Second, "time in which calls arrive")
	f.Uint64Var(&w.Seed, "seed", 1, "seed")
	arrivals := choiceFlag(cmd, "arrivals", "how calls are spread (default: as the mix has it)", string(trace.Poisson), string(trace.Even), string(trace.Bursty), string(trace.Uniform))
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		mix, ok := trace.Mixes[args[0]]
		if !ok {
			return usage("the mixes are "+strings.Join(mixes, ", "), "there is no mix %q", args[0])
		}
		w.Arrivals = trace.Arrivals(arrivals.value)
		if err := w.Validate(); err != nil {
			return usage("", "%v", err)
		}
		return trace.Write(sh.stdout, mix(w))
	}
	return cmd
}
