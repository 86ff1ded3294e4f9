package lab

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Options says how an experiment is run and where its results go.
type Options struct {
	Quick  bool          // finish within a minute
	Budget time.Duration // of set-up and measuring together; default 5 minutes, 50 s when Quick
	Seed   uint64        // of inputs and of the order of the variants; default 1
	Out    string        // folder for NAME.csv, NAME.json and NAME.svg; empty: none are written
	Format string        // what Run prints: table (default), json or csv

	Apps   []string  // applications of the experiments on services; default: all
	Rates  []float64 // at which services asks them, in requests a second; default: some that suit each application
	Stdout io.Writer // where it prints; default nowhere

	Program  string       // weft's executable, which serves as `PROGRAM serve`; default that of this process
	Peers    string       // folder of what `make peers` has built; default bench/peers/bin beside the examples
	Examples string       // folder of weft's example apps; default the one found above the working folder
	Version  string       // of weft, for the machine's description; default from the build
	Log      *slog.Logger // progress; default nowhere

	// Start makes the node that runs weft's variants. It is called once for an experiment, with a folder that is removed afterwards.
	// Default: a node of this process.
	Start func(ctx context.Context, dir string) (Weft, error)
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	if o.Budget <= 0 {
		o.Budget = 5 * time.Minute
		if o.Quick {
			o.Budget = 50 * time.Second
		}
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Format == "" {
		o.Format = "table"
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Start == nil {
		o.Start = StartNode
	}
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	for _, r := range o.Rates {
		if !(r > 0 && r <= 1e6) {
			return fmt.Errorf("rate %v: want more than 0 requests a second, and at most a million", r)
		}
	}
	switch o.Format {
	case "table", "json", "csv":
		return nil
	}
	return fmt.Errorf("output format %q: want table, json or csv", o.Format)
}
