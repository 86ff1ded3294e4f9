package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/client"
)

func (sh *shell) replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay APP [app]", Short: "Find out whether requests that wait could go on with another build",
		Long: `Run the journals of the requests to the services of APP that have waited and not ended with other code, without any effect, and
compare what it asks with what was asked: no state is read or written, no side effect done, nothing called.

The code is a folder or a file with the app, which is built, brought to the server without being activated, and removed there afterwards; or,
without one, --version, or the active version. Requests go on with the version that they began on anyway; with other code only after
weft requests restart --on. The status is 1 if a request diverges.`,
		Example: `  weft replay shop ./shop
  weft replay shop --request shop.orders:order-17`,
		Args: between(1, 2, "an app, and a folder with another build of it"),
	}
	request := cmd.Flags().String("request", "", "only this request")
	version := cmd.Flags().String("version", "", "a version of the app that is deployed")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "no progress")
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) (err error) {
		use := *version
		if len(args) == 2 {
			if use != "" {
				return usage("leave one of them out", "there are two versions, %s and %s", args[1], use)
			}
			a, err := app.Load(args[1])
			if err != nil {
				return err
			}
			if a.Name != args[0] {
				return usage("give the folder of that app", "%s has the app %s, not %s", args[1], a.Name, args[0])
			}
			if _, err := c.App(ctx, a.Name); err != nil {
				return unknownApp(ctx, c, err, a.Name)
			}
			d, err := sh.deploy(ctx, c, a, false, *quiet)
			if err != nil {
				return err
			}
			use = d.ID
			if !d.Existed {
				defer func() {
					if gone := c.DeleteVersion(context.WithoutCancel(ctx), a.Name, d.ID); gone != nil {
						err = errors.Join(err, fmt.Errorf("remove version %s again: %w", d.ID, gone))
					}
				}()
			}
		}
		list, err := c.Replay(ctx, args[0], use, *request)
		if err != nil {
			return unknownApp(ctx, c, err, args[0])
		}
		t := table{heading: []string{"request", "method", "state", "questions", "with that code"}}
		bad := 0
		for _, r := range list {
			said := cell{"the same", green}
			if !r.Same {
				bad++
				said = cell{divergence(r), red}
			}
			t.rows = append(t.rows, []cell{{text: r.Request}, {text: r.Target.String()}, {r.State, requestInks[r.State]}, {text: fmt.Sprint(r.Questions)}, said})
		}
		if err := sh.printTable(form, list, t); err != nil {
			return err
		}
		if bad > 0 {
			return failed("they go on with the version that they began on, as long as nobody restarts them", "%d of %s would be parked with that code", bad, plural(len(list), "request"))
		}
		return nil
	})
}

// divergence says what is not the same.
func divergence(r wire.Replay) string {
	d := r.Divergence
	switch {
	case d == nil:
		return r.Failure
	case d.Detail:
		return fmt.Sprintf("%v: question %d, %q, comes with other arguments or writes", d.Method, d.Question, d.Was)
	}
	return fmt.Sprintf("%v: question %d was %q, now it is %q", d.Method, d.Question, d.Was, d.Now)
}
