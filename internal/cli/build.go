package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/telemetry"
)

// built is what weft build prints as data.
type built struct {
	App       string   `json:"app"`
	Functions []string `json:"functions"`
	Seconds   float64  `json:"seconds"`
}

func (sh *shell) buildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build [app]",
		Short: "Build the functions of an app into the cache",
		Long: `Build every function of an app (a folder or a file, by default this folder) from source to machine code. weft run does
the same when something changed; what has not changed is taken from the cache, $XDG_CACHE_HOME/weft or $WEFT_CACHE.`,
		Args: atMost(1, "one app"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "no progress")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := app.Load(appArgument(args))
		if err != nil {
			return err
		}
		start := time.Now()
		if err := sh.withNode(cmd.Context(), policy.None, func(n runner) error { return sh.build(cmd.Context(), n, a, *quiet) }); err != nil {
			return err
		}
		b := built{App: a.Name, Functions: slices.Sorted(maps.Keys(a.Functions)), Seconds: time.Since(start).Seconds()}
		if form.value != "text" {
			return sh.printData(form.value, b)
		}
		_, err = fmt.Fprintf(sh.stdout, "%s: %s ready in %s\n", a.Name, plural(len(b.Functions), "function"), telemetry.FormatDuration(time.Since(start)))
		return err
	}
	return cmd
}

// build builds the app's functions, with progress on stderr.
func (sh *shell) build(ctx context.Context, n runner, a *app.App, quiet bool) error {
	p := sh.newProgress(quiet)
	defer p.Close()
	if err := n.Build(ctx, a, p); err != nil {
		return fmt.Errorf("build app %s: %w", a.Name, err)
	}
	return nil
}
