package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/telemetry"
)

func (sh *shell) appsCommand() *cobra.Command {
	return family("apps", "Look at the apps on a server, and choose their versions",
		sh.appsListCommand(), sh.appsVersionsCommand(), sh.appsActivateCommand(), sh.appsRollbackCommand(), sh.appsDeleteCommand())
}

func (sh *shell) appsListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the deployed apps", Args: atMost(0, "")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		apps, err := c.Apps(ctx)
		if err != nil {
			return err
		}
		t := table{heading: []string{"app", "active version", "changed"}}
		for _, a := range apps {
			active := cell{text: a.Active}
			if a.Active == "" {
				active = cell{"none", yellow}
			}
			t.rows = append(t.rows, []cell{{text: a.Name}, active, {text: since(a.Updated)}})
		}
		return sh.printTable(form, apps, t)
	})
}

func (sh *shell) appsVersionsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "versions APP", Short: "List the versions of an app, the newest first", Args: between(1, 1, "an app")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Versions(ctx, args[0])
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		if form.value != "table" {
			return sh.printData(form.value, list)
		}
		a, err := c.App(ctx, args[0])
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		t := table{heading: []string{"", "version", "deployed", "by", "size", "functions"}}
		for _, v := range list {
			mark := cell{}
			if v.ID == a.Active {
				mark = cell{"*", green}
			}
			t.rows = append(t.rows, []cell{mark, {text: v.ID}, {text: since(v.Created)}, {text: v.By}, {text: size(v.Size)}, {text: strings.Join(v.Functions, ", ")}})
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) appsActivateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "activate APP VERSION", Short: "Give new runs of an app another version",
		Args: between(2, 2, "an app and a version"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		v, err := c.Activate(ctx, args[0], args[1])
		if err != nil {
			return unknownVersion(ctx, c, err, args[0], args[1])
		}
		return sh.printActive(form, v)
	})
}

func (sh *shell) appsRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback APP", Short: "Give new runs of an app the version that was active before",
		Args: between(1, 1, "an app"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		v, err := c.Rollback(ctx, args[0])
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		return sh.printActive(form, v)
	})
}

// printActive says which version is active now.
func (sh *shell) printActive(form *choice, v registry.Version) error {
	if form.value != "text" {
		return sh.printData(form.value, v)
	}
	return sh.printLine("app %s: version %s is active, deployed %s", v.App, v.ID, v.Created.Local().Format(time.DateTime))
}

func (sh *shell) appsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete APP [VERSION]",
		Short: "Remove an app, or one version of it that is not active",
		Long:  `Remove an app with all its versions, or one version that is not active. What runs still use cannot be removed.`,
		Args:  between(1, 2, "an app, or an app and a version"),
	}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 2 {
			if err := c.DeleteVersion(ctx, args[0], args[1]); err != nil {
				return unknownVersion(ctx, c, err, args[0], args[1])
			}
			return nil
		}
		if err := c.DeleteApp(ctx, args[0]); err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		return nil
	})
}

func (sh *shell) functionsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "functions APP", Short: "List the functions of an app on a server", Args: between(1, 1, "an app")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Functions(ctx, args[0])
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		t := table{heading: []string{"function", "memory", "timeout", "running", "waiting", "most", "makes"}}
		for _, f := range list {
			most := "any"
			if f.Max > 0 {
				most = strconv.Itoa(f.Max)
			}
			t.add(f.Name, size(f.Memory), telemetry.FormatDuration(seconds(f.Timeout)), strconv.Itoa(f.Running), strconv.Itoa(f.Waiting), most, f.ContentType)
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) workflowsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "workflows APP", Short: "List the workflows of an app on a server", Args: between(1, 1, "an app")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Workflows(ctx, args[0])
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		t := table{heading: []string{"workflow", "steps", "durability", "triggers", "description"}}
		for _, w := range list {
			t.add(w.Name, strconv.Itoa(len(w.Steps)), w.Durability, strings.Join(w.Triggers, ", "), w.Description)
		}
		return sh.printTable(form, list, t)
	})
}

// seconds is a time that the server gives as a number.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// size writes a number of bytes with three digits at most: "740 B", "12.3 KiB", "4.5 GiB".
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), 0
	for v >= 1000 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	format := "%.1f %s"
	if v >= 99.95 {
		format = "%.0f %s"
	}
	return fmt.Sprintf(format, v, [...]string{"KiB", "MiB", "GiB", "TiB", "PiB"}[unit])
}
