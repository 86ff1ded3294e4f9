package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/diagram"
	"github.com/weft-run/weft/internal/flow"
)

func (sh *shell) graphCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "graph [app] [workflow]",
		Short: "Draw a workflow as boxes of text or as a picture",
		Long: `Draw a workflow (by default main, or the only one) of an app (a folder or a file, by default this folder) on stdout:
boxes of text for a terminal, SVG, or the dot language of Graphviz. A step with foreach is a stack of boxes (×n), one with a condition has dashed
edges (?).`,
		Example: `  weft graph
  weft graph examples/wordcount main --format svg > wordcount.svg`,
		Args: atMost(2, "an app and a workflow"),
	}
	form := &choice{value: "text", words: []string{"text", "svg", "dot"}}
	cmd.Flags().VarP(form, "format", "f", "form of the picture")
	fixed(cmd, "format", form.words)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		w, err := loadWorkflow(args)
		if err != nil {
			return err
		}
		g := picture(w)
		switch form.value {
		case "svg":
			return diagram.WriteSVG(sh.stdout, g)
		case "dot":
			return diagram.WriteDOT(sh.stdout, g)
		default:
			return diagram.WriteText(sh.stdout, g, diagram.TextOptions{Width: sh.width, Unicode: sh.unicode})
		}
	}
	return cmd
}

// loadWorkflow reads the workflow that is to be drawn, from an app or a workflow file of AlloyStack's.
func loadWorkflow(args []string) (*flow.Workflow, error) {
	path := appArgument(args)
	if isAlloyStack(path) {
		f, err := readAlloyStack(path)
		if err != nil {
			return nil, err
		}
		return f.Workflow(), nil
	}
	a, err := app.Load(path)
	if err != nil {
		return nil, err
	}
	return workflowArgument(a, args)
}

// picture turns a workflow into what diagram draws.
func picture(w *flow.Workflow) diagram.Graph {
	g := diagram.Graph{Name: w.Name}
	for _, s := range w.Steps {
		n := diagram.Node{Name: s.Name, Foreach: !s.Foreach.IsZero(), When: !s.When.IsZero()}
		switch {
		case s.Call.Kind == flow.SubWorkflow:
			n.Call = "workflow " + s.Call.Name
		case s.Call.IsZero() && !s.Wait.IsZero():
			n.Call = "wait"
		case s.Call.IsZero():
			n.Call = "value"
		case s.Call.Name != s.Name:
			n.Call = s.Call.Name
		}
		var notes []string
		if s.Retry.Max > 0 {
			notes = append(notes, fmt.Sprintf("retry %d", s.Retry.Max))
		}
		if s.Catch != nil {
			notes = append(notes, "catch "+cmp.Or(s.Catch.Call.Name, "value"))
		}
		n.Notes = strings.Join(notes, " · ")
		g.Nodes = append(g.Nodes, n)
		for _, from := range s.Needs {
			g.Edges = append(g.Edges, diagram.Edge{From: from, To: s.Name})
		}
	}
	return g
}
