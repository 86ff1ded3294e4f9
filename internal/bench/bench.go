// Package bench has the experiments that measure weft and what weft is compared with, in one run on one machine:
//
//	report, err := bench.Run(ctx, "data-transfer", lab.Options{Quick: true, Out: "results", Stdout: os.Stdout})
//
// Each experiment is a file, but for those on the processor and those on services, which are the packages cpu and services below it. What an
// experiment is and how it is carried out is package lab; what comes of it, the table, the files and the plots, is package report.
//
// What experiments are made with are the packages data (seeded inputs with their answers), load (load generators), baseline (the same work
// without weft), crew (processes that compute on demand) and replay (lists of calls, played on them under a policy of the processor).
package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/cpu"
	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/report"
	"github.com/weft-run/weft/internal/bench/services"
)

// Experiments returns all experiments in the order of the documentation.
func Experiments() []lab.Experiment {
	own := []lab.Experiment{
		coldStart(),
		dataTransfer(),
		endToEnd(),
		breakdown(),
		p99(),
		resources(),
		overhead(),
		host(),
		invoke(),
		steps(),
		recovery(),
		coldProcess(),
	}
	return slices.Concat(own, cpu.Experiments(), services.Experiments())
}

// Names returns the names of all experiments.
func Names() []string {
	var names []string
	for _, e := range Experiments() {
		names = append(names, e.Name)
	}
	return names
}

// Run runs the experiment called name, prints its report in Options.Format and saves it in Options.Out.
func Run(ctx context.Context, name string, o lab.Options) (*report.Report, error) {
	for _, a := range o.Apps {
		if !slices.Contains(services.Apps(), a) {
			return nil, fmt.Errorf("application %q: there are only %s", a, strings.Join(services.Apps(), ", "))
		}
	}
	for _, e := range Experiments() {
		if e.Name == name {
			return lab.Run(ctx, e, o)
		}
	}
	return nil, fmt.Errorf("experiment %q: there is none of that name, only %s", name, strings.Join(Names(), ", "))
}

// ChildCommand is the first argument with which baselines start this executable as another process of theirs. The program calls ChildMain
// then, before it looks at anything else of its command line.
const ChildCommand = baseline.Command

// ChildMain is the main function of such a process; args are what follows ChildCommand. It returns the exit status.
func ChildMain(args []string) int {
	if len(args) > 0 && args[0] == crew.Role {
		return crew.Serve(args[1:])
	}
	return baseline.ChildMain(args)
}
