package diagram

import (
	"bufio"
	"fmt"
	"io"
)

// WriteDOT writes the graph in the dot language of Graphviz.
func WriteDOT(w io.Writer, g Graph) error {
	out := bufio.NewWriter(w)
	conditional := map[string]bool{}
	fmt.Fprintf(out, "digraph %q {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n", g.Name)
	for _, n := range g.Nodes {
		label := n.Name
		for _, more := range []string{n.Call, n.Notes} {
			if more != "" {
				label += "\n" + more
			}
		}
		shape := ""
		if n.Foreach {
			shape = ", shape=box3d"
		}
		if n.When {
			conditional[n.Name] = true
			shape += ", style=\"rounded,dashed\""
		}
		fmt.Fprintf(out, "  %q [label=%q%s];\n", n.Name, label, shape)
	}
	for _, e := range g.Edges {
		style := ""
		if conditional[e.To] {
			style = " [style=dashed]"
		}
		fmt.Fprintf(out, "  %q -> %q%s;\n", e.From, e.To, style)
	}
	fmt.Fprint(out, "}\n")
	return out.Flush()
}
