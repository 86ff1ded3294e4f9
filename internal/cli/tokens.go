package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/yamlfile"
)

func (sh *shell) tokensCommand() *cobra.Command {
	return family("tokens", "Let others in, and shut them out", sh.tokensListCommand(), sh.tokensCreateCommand(), sh.tokensRevokeCommand())
}

func (sh *shell) tokensListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the tokens, without their texts", Args: atMost(0, "")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		list, err := c.Tokens(ctx)
		if err != nil {
			return err
		}
		t := table{heading: []string{"id", "name", "role", "created", "last used", "expires"}}
		for _, k := range list {
			expires := cell{text: "never"}
			switch {
			case k.Expires.IsZero():
			case time.Now().After(k.Expires):
				expires = cell{"has expired", red}
			default:
				expires.text = k.Expires.Local().Format(time.DateTime)
			}
			t.rows = append(t.rows, []cell{{text: k.ID}, {text: k.Name}, {text: k.Role.String()}, {text: since(k.Created)}, {text: since(k.Used)}, expires})
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) tokensCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, this once",
		Long: `Make a token for somebody or something that is not at this machine's socket. Its text is printed on stdout and kept
nowhere. The roles, each of which may do what the ones before it may: read looks, invoke starts runs and calls functions,
deploy changes apps and secrets, admin does everything.`,
		Example: `  weft tokens create ci --role deploy --expires 90d > token.txt`,
		Args:    between(1, 1, "a name"),
	}
	role := &choice{words: []string{"read", "invoke", "deploy", "admin"}, value: "invoke"}
	cmd.Flags().Var(role, "role", "what the token may do")
	fixed(cmd, "role", role.words)
	expires := cmd.Flags().String("expires", "", "how long it is valid, such as 90d (default: until it is revoked)")
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		q := wire.NewToken{Name: args[0]}
		var err error
		if q.Role, err = auth.ParseRole(role.value); err != nil {
			return usage("", "%v", err)
		}
		if *expires != "" {
			d, err := yamlfile.ParseDuration(*expires)
			if err != nil || d <= 0 {
				return usage("write --expires 90d or --expires 12h", "--expires %s is no duration", *expires)
			}
			q.Expires = d.String()
		}
		made, err := c.CreateToken(ctx, q)
		if err != nil {
			return err
		}
		if form.value != "text" {
			return sh.printData(form.value, made)
		}
		fmt.Fprintf(sh.stderr, "token %s, role %s; this is the only time that it is shown\n", made.ID, made.Role)
		return sh.printLine("%s", made.Text)
	})
}

func (sh *shell) tokensRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Short: "End a token; weft tokens list shows the IDs", Args: between(1, 1, "the ID of a token")}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		err := c.RevokeToken(ctx, args[0])
		if !vague(err) {
			return err
		}
		list, listErr := c.Tokens(ctx)
		if listErr != nil {
			return err
		}
		var names []string
		for _, k := range list {
			if k.Name == args[0] {
				return usage("weft tokens revoke "+k.ID+" ends the token with that name", "%q is the name of a token, not its ID", args[0])
			}
			names = append(names, k.ID)
		}
		return usage(hintOf(args[0], names, "weft tokens list shows them"), "there is no token %q", args[0])
	})
}
