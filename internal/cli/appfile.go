package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
)

// appArgument is the app that a command was asked for, by default the one in this folder.
func appArgument(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// workflowArgument finds the workflow that a command was asked for: the named one, else main, else the only one.
func workflowArgument(a *app.App, args []string) (*flow.Workflow, error) {
	names := slices.Sorted(maps.Keys(a.Workflows))
	has := "this app has " + strings.Join(names, ", ")
	near := func(name string) string {
		return strings.TrimSpace(flow.Nearest(name, names) + " " + has)
	}
	switch {
	case len(names) == 0:
		return nil, usage("add a workflow to "+a.File, "app %s has no workflow", a.Name)
	case len(args) > 1 && a.Workflows[args[1]] == nil:
		return nil, usage(near(args[1]), "app %s has no workflow %q", a.Name, args[1])
	case len(args) > 1:
		return a.Workflows[args[1]], nil
	case a.Workflows["main"] != nil:
		return a.Workflows["main"], nil
	case len(names) == 1:
		return a.Workflows[names[0]], nil
	}
	return nil, usage(has+": name one of them", "app %s has several workflows and none of them is called main", a.Name)
}
