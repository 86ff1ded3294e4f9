package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
)

func (sh *shell) locksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "locks [APP]", Short: "List the locks of services: who has them, and who waits for whom",
		Long: `List the locks of services, by place, with who has them and who waits for them, in their order; and below who waits for whom:
under each request that others wait for those that do. Locks end with the segment, so what is here is of now.`,
		Args: atMost(1, "an app"),
	}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Locks(ctx, only(args))
		if err == nil && len(list) == 0 && len(args) > 0 {
			err = known(ctx, c, args[0])
		}
		if err != nil {
			return err
		}
		t := table{heading: []string{"place", "mode", "", "request", "method"}}
		for _, l := range list {
			has := cell{"has it", green}
			if l.Waiting {
				has = cell{"waits", yellow}
			}
			t.rows = append(t.rows, []cell{{text: l.Place}, {text: l.Mode}, has, {text: l.Request}, {text: l.Target.String()}})
		}
		if err := sh.printTable(form, list, t); err != nil || form.value != "table" {
			return err
		}
		if lines := waitsFor(list); len(lines) > 0 {
			return sh.printLine("\n%s\n%s", sh.outStyle.paint(dim, "WHO WAITS FOR WHOM"), strings.Join(lines, "\n"))
		}
		return nil
	})
}

// waitsFor draws who waits for whom: each one that waits under the first one that has what
// it waits for, once. A long list comes in pages, between which things change: together they may
// have a circle, of which there is none at any moment.
func waitsFor(list []wire.Lock) (lines []string) {
	below := map[string][]wire.Lock{} // by whom is waited for
	targets, waits := map[string]wire.Target{}, map[string]bool{}
	var order []string
	for _, l := range list {
		if _, seen := targets[l.Request]; !seen {
			order = append(order, l.Request)
		}
		targets[l.Request] = l.Target
		if l.Waiting && len(l.For) > 0 {
			waits[l.Request] = true
			below[l.For[0]] = append(below[l.For[0]], l)
		}
	}
	drawn := map[string]bool{}
	var draw func(id, indent string)
	draw = func(id, indent string) {
		for i, l := range below[id] {
			branch, next := "├─ ", "│  "
			if i == len(below[id])-1 {
				branch, next = "└─ ", "   "
			}
			line := fmt.Sprintf("%s%s%s  %v  waits for %s", indent, branch, l.Request, l.Target, l.Place)
			if n := len(l.For) - 1; n > 0 {
				line += fmt.Sprintf(", behind %d more", n)
			}
			lines = append(lines, line)
			if !drawn[l.Request] {
				drawn[l.Request] = true
				draw(l.Request, indent+next)
			}
		}
	}
	for _, id := range order {
		if !waits[id] && len(below[id]) > 0 {
			lines = append(lines, fmt.Sprintf("%s  %v", id, targets[id]))
			draw(id, "")
		}
	}
	return lines
}
