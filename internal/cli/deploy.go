package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/client"
)

func (sh *shell) deployCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy [app]",
		Short: "Build an app and bring it to a server",
		Long: `Build the functions of an app (a folder or a file, by default this folder), pack them with the app file and the files
that they are granted, and deploy that to the server. The server needs no compiler, and gets nothing that it has already.

What is deployed is a version, named by its content. New runs get it at once, unless --no-activate leaves them with the
one that is active; runs that are under way stay with theirs.`,
		Args: atMost(1, "one app"),
	}
	rest := cmd.Flags().Bool("no-activate", false, "leave new runs with the version that is active now")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "no progress")
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		a, err := app.Load(appArgument(args))
		if err != nil {
			return err
		}
		d, err := sh.deploy(ctx, c, a, !*rest, *quiet)
		if err != nil {
			return err
		}
		if form.value != "text" {
			return sh.printData(form.value, d)
		}
		return sh.printLine("%s", describeDeployed(d))
	})
}

// deploy builds an app and deploys it.
func (sh *shell) deploy(ctx context.Context, c *client.Client, a *app.App, activate, quiet bool) (wire.Deployed, error) {
	parts, err := sh.buildParts(ctx, a, quiet)
	if err != nil {
		return wire.Deployed{}, err
	}
	b, err := bundle.Collect(a, parts)
	if err != nil {
		return wire.Deployed{}, usage("weft validate shows what the app file grants", "%v", err)
	}
	d, err := c.Deploy(ctx, b, activate)
	if err != nil {
		return d, fmt.Errorf("deploy app %s: %w", a.Name, err)
	}
	return d, nil
}

// describeDeployed says what a deployment has brought: "app shop: version 1f…, active: 2 functions, 1 workflow".
func describeDeployed(d wire.Deployed) string {
	state := "active"
	switch {
	case d.Existed && d.Active:
		state = "active, deployed before"
	case d.Existed:
		state = "not active, deployed before"
	case !d.Active:
		state = "not active"
	}
	parts := []string{plural(len(d.Functions), "function"), plural(len(d.Workflows), "workflow")}
	if n := len(d.Services); n > 0 {
		parts = append(parts, plural(n, "service"))
	}
	return fmt.Sprintf("app %s: version %s, %s: %s", d.App, d.ID, state, strings.Join(parts, ", "))
}
