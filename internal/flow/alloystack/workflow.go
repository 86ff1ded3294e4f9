package alloystack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/flow"
)

// Functions returns the functions that the stages call, without repetition, in
// the order of their first call.
func (f *File) Functions() []string {
	var functions []string
	for _, stage := range f.Stages {
		for _, instance := range stage {
			if name := f.function(instance.App); !slices.Contains(functions, name) {
				functions = append(functions, name)
			}
		}
	}
	return functions
}

// Modules returns the modules of weft that stand for the file's services,
// sorted.
func (f *File) Modules() []string {
	var modules []string
	for _, s := range f.Services {
		if s.Module != "" {
			modules = append(modules, s.Module)
		}
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// Uses reports whether the functions of the file may use a module of weft's:
// a service stands for it, and they use services at all.
func (f *File) Uses(module string) bool {
	return f.LibOS && slices.Contains(f.Modules(), module)
}

func (f *File) function(app string) string {
	i := slices.IndexFunc(f.Apps, func(a App) bool { return a.Name == app })
	return f.Apps[i].Function
}

// Workflow makes the workflow of the file. A stage of one app is one step,
// APP_STAGE, with a foreach if there are several instances; a stage of
// several apps has a step for each instance, APP_STAGE_ID. All steps of a
// stage need all steps of the stage before. Calls name the functions of
// [File.Functions].
func (f *File) Workflow() *flow.Workflow {
	w := &flow.Workflow{Name: f.Name}
	used := map[string]bool{}
	var before []string
	for i, stage := range f.Stages {
		var names []string
		add := func(s flow.Step, app string) {
			for s.Name = stepName(app, s.Name); used[s.Name]; {
				s.Name += "_" // an app may be called like another one's step
			}
			used[s.Name] = true
			s.Call, s.Needs = flow.Target{Kind: flow.Function, Name: f.function(app)}, before
			w.Steps, names = append(w.Steps, s), append(names, s.Name)
		}
		switch app := stage[0].App; {
		case len(stage) == 1:
			add(flow.Step{Name: fmt.Sprintf("_%d", i), With: flow.Literal(stage[0].input())}, app)
		case stage.uniform():
			inputs := make([]any, len(stage))
			for j, instance := range stage {
				inputs[j] = instance.input()
			}
			add(flow.Step{Name: fmt.Sprintf("_%d", i), Foreach: flow.Literal(inputs)}, app)
		default:
			for j, instance := range stage {
				add(flow.Step{Name: fmt.Sprintf("_%d_%d", i, j), With: flow.Literal(instance.input())}, instance.App)
			}
		}
		before = names
	}
	return w
}

func (s Stage) uniform() bool {
	return !slices.ContainsFunc(s, func(i Instance) bool { return i.App != s[0].App })
}

func (i Instance) input() map[string]any {
	input := make(map[string]any, len(i.Args))
	for key, value := range i.Args {
		input[key] = value
	}
	return input
}

// stepName makes a name that weft allows for a step of an app's.
func stepName(app, suffix string) string {
	const longest = 40
	name := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		case 'A' <= c && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '_'
	}, app)
	if name[0] < 'a' || name[0] > 'z' {
		name = "app_" + name
	}
	return name[:min(len(name), longest)] + suffix
}
