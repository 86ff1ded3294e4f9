package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
)

// validation is what weft validate prints as data.
type validation struct {
	Valid     bool       `json:"valid"`
	App       string     `json:"app,omitempty"`
	Functions []string   `json:"functions,omitempty"`
	Workflows []string   `json:"workflows,omitempty"`
	Services  []string   `json:"services,omitempty"`
	Errors    app.Errors `json:"errors,omitempty"`
}

func (sh *shell) validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate [app]",
		Short: "Check an app file and report everything that is wrong with it",
		Long: `Check the weft.yaml of an app (a folder or a file, by default this folder): keys, names, types, expressions and the
graph of each workflow. All errors are reported at once, each with its place and a hint. Nothing is built or run.`,
		Args: atMost(1, "one app"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		a, err := app.Load(appArgument(args))
		var wrong app.Errors
		switch {
		case errors.As(err, &wrong) && form.value != "text":
			if err := sh.printData(form.value, validation{Errors: wrong}); err != nil {
				return err
			}
			return silent(exitUsage)
		case err != nil:
			return err
		}
		v := validation{Valid: true, App: a.Name, Functions: slices.Sorted(maps.Keys(a.Functions)), Workflows: slices.Sorted(maps.Keys(a.Workflows)), Services: slices.Sorted(maps.Keys(a.Services))}
		if form.value != "text" {
			return sh.printData(form.value, v)
		}
		services := ""
		if n := len(v.Services); n > 0 {
			services = ", " + plural(n, "service")
		}
		_, err = fmt.Fprintf(sh.stdout, "%s is valid: %s, %s%s\n", a.File, plural(len(v.Functions), "function"), plural(len(v.Workflows), "workflow"), services)
		return err
	}
	return cmd
}
