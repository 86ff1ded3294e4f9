package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench"
	"github.com/weft-run/weft/internal/bench/data"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/report"
	"github.com/weft-run/weft/internal/flow"
)

func (sh *shell) benchCommand() *cobra.Command {
	var o lab.Options
	var out string
	cmd := &cobra.Command{
		Use:   "bench experiment",
		Short: "Measure weft and what it is compared with, on this machine",
		Long: `Run an experiment: weft's policies and the baselines take turns in one run, every output is checked, and a table of
medians, p99 and ratios goes to stdout. The experiments are

` + benchList(),
		Example: `  weft bench cold-start --quick
  weft bench data-transfer --out results
  weft bench services --app counter,tree --rate 500,1000 --out results`,
		Args:      between(1, 1, "one experiment: "+strings.Join(bench.Names(), ", ")),
		ValidArgs: bench.Names(),
	}
	f := cmd.Flags()
	f.BoolVar(&o.Quick, "quick", false, "finish within a minute")
	f.DurationVar(&o.Budget, "budget", 0, "time for set-up and measuring (default 5m, with --quick 50s)")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the inputs and of the order of the variants")
	f.StringVar(&out, "out", "", "folder for the table as CSV and JSON and for the plot as SVG")
	f.StringVar(&o.Examples, "examples", "", "folder of weft's example apps (default: found above this folder)")
	f.StringSliceVar(&o.Apps, "app", nil, "of services and seq: counter, chain, tree, media, hotel (default: all)")
	f.Float64SliceVar(&o.Rates, "rate", nil, "of services: requests a second, such as 500,1000")
	form := outputFlag(cmd, "text", "json", "csv")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		known := false
		for _, name := range bench.Names() {
			known = known || name == args[0]
		}
		if !known {
			return usage(strings.TrimSpace(flow.Nearest(args[0], bench.Names())+" the experiments are "+strings.Join(bench.Names(), ", ")), "there is no experiment %q", args[0])
		}
		o.Out, o.Format, o.Stdout, o.Version = out, form.value, sh.stdout, version
		if o.Format == "text" {
			o.Format = "table"
		}
		o.Log = slog.New(slog.NewTextHandler(sh.stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
		r, err := bench.Run(cmd.Context(), args[0], o)
		return sh.measured(args[0], r, err)
	}
	cmd.AddCommand(sh.benchDataCommand())
	return cmd
}

// measured is how a measurement ends. With a report, an error is that of an interruption, and stdout has the report already: no more is to be
// printed there.
func (sh *shell) measured(name string, r *report.Report, err error) error {
	switch {
	case err == nil:
		return nil
	case r != nil:
		fmt.Fprintf(sh.stderr, "%s %v\n", sh.errStyle.paint(red, "weft bench:"), err)
		return silent(exitInterrupted)
	}
	return fmt.Errorf("measure %s: %w", name, err)
}

// benchList describes the experiments, one a line.
func benchList() string {
	var b strings.Builder
	for _, e := range bench.Experiments() {
		fmt.Fprintf(&b, "  %-14s %s\n", e.Name, e.Description)
	}
	return b.String()
}

// withoutTime leaves the time out of log lines that a person reads as they appear.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (sh *shell) benchDataCommand() *cobra.Command {
	spec := data.Spec{}
	var size string
	cmd := &cobra.Command{
		Use:   "data text|integers folder",
		Short: "Make the input of an experiment or example",
		Long: `Write seeded data into a folder as part-0, part-1 and so on: text, or integers separated by commas; the same bytes for
the same seed on every machine. answers.json beside them has what counting and sorting them must give.`,
		Example: "  weft bench data text words --size 100MiB --parts 3",
		Args:    between(2, 2, "a kind (text or integers) and a folder"),
	}
	f := cmd.Flags()
	f.StringVar(&size, "size", "10MiB", "bytes in all parts together")
	f.IntVar(&spec.Parts, "parts", 1, "number of files")
	f.Uint64Var(&spec.Seed, "seed", 1, "seed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec.Kind, spec.Dir = data.Kind(args[0]), args[1]
		bytes, err := app.ParseSize(size)
		if err != nil {
			return usage("write --size 100MiB", "--size: %v", err)
		}
		spec.Size = bytes
		if err := spec.Validate(); err != nil {
			return usage(cmd.CommandPath()+" --help says more", "%v", err)
		}
		if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
			return fmt.Errorf("make data: %w", err)
		}
		start := time.Now()
		if _, err := data.Generate(cmd.Context(), spec); err != nil {
			return fmt.Errorf("make data in %s: %w", spec.Dir, err)
		}
		fmt.Fprintf(sh.stderr, "wrote %s of %s into %s in %.1f s\n", plural(spec.Parts, "part"), spec.Kind, spec.Dir, time.Since(start).Seconds())
		return nil
	}
	return cmd
}
