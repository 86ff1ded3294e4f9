package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
)

func (sh *shell) cpuSetCommand() *cobra.Command {
	var names []string
	for _, p := range policy.Parameters {
		names = append(names, p.Name+"=")
	}
	for _, p := range policy.Names {
		names = append(names, "policy="+p)
	}
	for _, b := range backend.Names {
		names = append(names, "backend="+b)
	}
	cmd := &cobra.Command{
		Use:   "set NAME=VALUE...",
		Short: "Change the policy of the processor while calls run",
		Long: `Change the policy by which calls get the processor, the backend that carries it out, or parameters. What is not named
stays as it is; with --reset it gets its default. The change holds until the server ends: what is to hold longer goes into
its configuration (cpu, cpu_backend, cpu_parameters).

A parameter is named as weft cpu -o json shows it, or without its policy where that is clear: alps.theta or theta; without
a value, weft.slots=, it gets its default. The weight of an app is weight.APP, by default 1. It takes a token of role admin.`,
		Example: `  weft cpu set policy=alps theta=40
  weft cpu set weft.slots=1 weight.shop=2
  weft cpu set policy=none`,
		Args:      between(1, 64, "a setting such as policy=alps"),
		ValidArgs: names,
	}
	reset := cmd.Flags().Bool("reset", false, "give what is not named its default")
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		change := wire.CPUChange{Parameters: map[string]any{}}
		for _, a := range args {
			name, value, ok := strings.Cut(a, "=")
			if !ok {
				return usage("write policy=alps or weft.slots=2", "%q is no NAME=VALUE", a)
			}
			known := map[string][]string{"policy": policy.Names, "backend": backend.Names}[name]
			if known != nil && value == "" {
				return usage("what is not named stays as it is, or gets its default with --reset", "%s is empty: there are %s", name, strings.Join(known, ", "))
			}
			switch name {
			case "policy":
				change.Policy = value
			case "backend":
				change.Backend = value
			default:
				change.Parameters[name] = value
			}
		}
		s, err := c.ChangeCPU(ctx, change, *reset)
		if err != nil {
			return err
		}
		return sh.printCPU(form.value, s)
	})
}

// printCPU prints the state once.
func (sh *shell) printCPU(form string, s wire.CPU) error {
	if form != "table" {
		return sh.printData(form, s)
	}
	v := cpuView{style: sh.outStyle, width: sh.tableWidth(), state: s}
	return sh.printLine("%s", strings.Join(v.lines(), "\n"))
}

// watchCPU shows the state again and again.
func (sh *shell) watchCPU(ctx context.Context, c *client.Client) error {
	v := cpuView{style: sh.outStyle}
	seen := false
	return sh.screen(ctx, func(ctx context.Context) error {
		s, err := c.CPU(ctx)
		if v.fault = err; err == nil {
			v.state, seen = s, true
		}
		return lasting(err, !seen)
	}, func(width, height int) string {
		v.width = width
		return frame(v.lines(), height)
	})
}

// cpuView is what weft cpu shows.
type cpuView struct {
	style style
	width int
	state wire.CPU
	fault error // why the latest look has failed
}

// lines are what is shown.
func (v *cpuView) lines() []string {
	s := &v.state
	n := &s.Counts
	head := "policy " + s.Policy
	if s.Backend != "" {
		head += fmt.Sprintf("  backend %s, %s", s.Backend, plural(s.Tiers, "tier"))
		if !s.Undo {
			head += ", demotions last"
		}
	}
	lines := []string{v.style.paint(bold, head)}
	for _, note := range s.Notes {
		lines = append(lines, v.style.paint(dim, note))
	}
	if v.fault != nil {
		lines = append(lines, v.style.paint(red, "as it was; "+v.fault.Error()))
	}
	if s.Policy == policy.None {
		return append(lines, "the kernel alone decides; weft cpu set policy=weft switches it on")
	}
	lines = append(lines,
		fmt.Sprintf("calls    %d express  %d normal  %d batch  %d waiting  %d asleep", n.Express, n.Normal, n.Batch, n.Waiting, n.Sleeping),
		fmt.Sprintf("so far   %d arrived  %d demoted  %d boosted  %d stopped  queued for %s on average", n.Arrivals, n.Demotions, n.Boosts, n.Stops, roughly(seconds(n.Queued))),
		fmt.Sprintf("figures  prediction off by %.0f %%  fairness %.2f  scheduler used %s", s.Error*100, s.Fairness, roughly(seconds(s.Used))))
	if n.Met+n.Missed > 0 {
		lines = append(lines, fmt.Sprintf("         deadlines: %d met  %d missed", n.Met, n.Missed))
	}
	if n.Refused+n.Failed > 0 {
		lines = append(lines, fmt.Sprintf("         kernel: %d raises refused  %d commands failed", n.Refused, n.Failed))
	}
	lines = v.table(lines, v.calls())
	lines = v.table(lines, v.profiles())
	return v.table(lines, v.apps())
}

// table appends one below an empty line, unless it has no rows.
func (v *cpuView) table(lines []string, t table) []string {
	if len(t.rows) == 0 {
		return lines
	}
	var b strings.Builder
	if err := t.write(&b, v.style, v.width); err != nil {
		return append(lines, err.Error())
	}
	return append(append(lines, ""), strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
}

// cpuRows bounds the rows of a table.
const cpuRows = 20

func (v *cpuView) calls() table {
	t := table{heading: []string{"tier", "state", "age", "cpu", "call"}}
	calls := slices.Clone(v.state.Calls)
	order := map[string]int{}
	for tier := policy.Express; tier <= policy.Batch; tier++ {
		order[tier.String()] = int(tier)
	}
	slices.SortStableFunc(calls, func(a, b wire.CPUCall) int { return order[a.Tier] - order[b.Tier] })
	for _, c := range calls[:min(len(calls), cpuRows)] {
		name := shortName(c.Function)
		if c.OnPath {
			name += " (critical)"
		}
		t.add(c.Tier, c.State, roughly(seconds(c.Age)), roughly(seconds(c.Used)), name)
	}
	return t
}

func (v *cpuView) profiles() table {
	t := table{heading: []string{"calls", "mean", "p50", "p95", "rank", "off by", "function"}}
	for _, p := range v.state.Profiles[:min(len(v.state.Profiles), cpuRows)] {
		off := "-"
		if p.Known && p.Error > 0 {
			off = fmt.Sprintf("%.0f %%", p.Error*100)
		}
		t.add(fmt.Sprint(p.Calls), roughly(seconds(p.Mean)), roughly(seconds(p.P50)), roughly(seconds(p.P95)), roughly(seconds(p.Rank)), off, shortName(p.Function))
	}
	return t
}

func (v *cpuView) apps() table {
	t := table{heading: []string{"calls", "cpu", "speed", "weight", "app"}}
	rows := slices.SortedStableFunc(slices.Values(v.state.Apps), func(a, b wire.CPUApp) int { return int(b.CPU*1e3) - int(a.CPU*1e3) })
	for _, a := range rows[:min(len(rows), cpuRows)] {
		weight, ok := v.state.Parameters[policy.WeightPrefix+a.App]
		if !ok {
			weight = 1
		}
		t.add(fmt.Sprint(a.Calls), roughly(seconds(a.CPU)), fmt.Sprintf("%.2f", a.Speed), fmt.Sprint(weight), a.App)
	}
	return t
}

// shortName is the name of a function with the beginning of its version.
func shortName(name string) string {
	app, rest, ok := strings.Cut(name, "@")
	version, function, found := strings.Cut(rest, "/")
	if !ok || !found {
		return name
	}
	if version == "" {
		return app + "/" + function
	}
	return app + "/" + function + " (" + version[:min(len(version), 8)] + ")"
}
