package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
)

func (sh *shell) secretsCommand() *cobra.Command {
	return family("secrets", "Keep what functions need and app files must not say",
		sh.secretsListCommand(), sh.secretsSetCommand(), sh.secretsDeleteCommand())
}

func (sh *shell) secretsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [APP]", Aliases: []string{"ls"}, Short: "List the names of secrets; nobody can list their values",
		Args: atMost(1, "an app"),
	}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		app := strings.Join(args, "")
		list, err := c.Secrets(ctx, app)
		if err != nil {
			return unknownApp(ctx, c, err, app)
		}
		if len(list) == 0 && app != "" {
			if err := known(ctx, c, app); err != nil {
				return err
			}
		}
		t := table{heading: []string{"app", "secret", "set"}}
		for _, s := range list {
			t.add(s.App, s.Name, since(s.Updated))
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) secretsSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set APP NAME",
		Short: "Set a secret of an app to what stdin or a file holds",
		Long: `Set a secret of an app. The value comes from stdin, without the line end at its end, or from a file, as it is; never
from the command line, which other processes can read. At a terminal it is asked for and not shown.`,
		Example: `  weft secrets set shop api-key < key.txt
  weft secrets set shop certificate --from-file cert.pem`,
		Args: between(2, 2, "an app and a name"),
	}
	file := cmd.Flags().String("from-file", "-", "file of the value; -: stdin")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		value, err := sh.readSecret(*file, "the value of secret "+args[1])
		if err != nil {
			return err
		}
		if err := c.SetSecret(ctx, args[0], args[1], value); err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		if err := known(ctx, c, args[0]); err != nil { // secrets come before the app that needs them
			fmt.Fprintf(sh.stderr, "set, for an app that is not deployed yet: %v\n", err)
		}
		return nil
	})
}

func (sh *shell) secretsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete APP NAME", Aliases: []string{"rm"}, Short: "Remove a secret of an app", Args: between(2, 2, "an app and a name")}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		err := c.DeleteSecret(ctx, args[0], args[1])
		if !vague(err) {
			return err
		}
		list, listErr := c.Secrets(ctx, args[0])
		if listErr != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		var names []string
		for _, s := range list {
			names = append(names, s.Name)
		}
		return usage(hintOf(args[1], names, "app "+args[0]+" has "+orNone(names)), "app %s has no secret %q", args[0], args[1])
	})
}
