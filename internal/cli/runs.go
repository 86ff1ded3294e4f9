package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/yamlfile"
)

func (sh *shell) runsCommand() *cobra.Command {
	return family("runs", "Look at the runs on a server, and steer them",
		sh.runsListCommand(), sh.runsGetCommand(), sh.runsWatchCommand(), sh.runsLogsCommand(), sh.runsTraceCommand(),
		sh.runsCancelCommand(), sh.runsRetryCommand(), sh.runsPauseCommand(), sh.runsResumeCommand(), sh.runsSignalCommand())
}

// statusInks are the colours of states.
var statusInks = map[string]ink{
	string(engine.Running): cyan, string(engine.Paused): yellow, string(engine.Succeeded): green, string(engine.Failed): red, string(engine.Cancelled): yellow,
}

// pageMost is how many runs one request lists.
const pageMost = 1000

func (sh *shell) runsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List runs, the newest first",
		Example: `  weft runs list --status failed --since 24h
  weft runs list --app shop --workflow checkout -o json`,
		Args: atMost(0, ""),
	}
	var f engine.Filter
	cmd.Flags().StringVar(&f.App, "app", "", "only runs of this app")
	cmd.Flags().StringVar(&f.Workflow, "workflow", "", "only runs of this workflow")
	cmd.Flags().StringVar(&f.Trigger, "trigger", "", "only runs whose trigger begins with this, such as cron")
	since := cmd.Flags().String("since", "", "only runs started so long ago (2h, 7d), or since a time (2026-01-31, RFC 3339)")
	limit := cmd.Flags().Int("limit", 50, "at most so many; 0: all")
	status := choiceFlag(cmd, "status", "only runs in this state", string(engine.Running), string(engine.Paused), string(engine.Succeeded), string(engine.Failed), string(engine.Cancelled))
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, _ []string) (err error) {
		if f.Since, err = parseSince(*since, time.Now()); err != nil {
			return err
		}
		if *limit < 0 {
			return usage("write --limit 50", "--limit %d is negative", *limit)
		}
		f.Status = engine.Status(status.value)
		runs, err := listRuns(ctx, c, f, *limit)
		if err != nil {
			return err
		}
		if len(runs) == 0 && f.App != "" {
			if err := known(ctx, c, f.App); err != nil {
				return err
			}
		}
		t := table{heading: []string{"run", "workflow", "status", "started", "took", "trigger"}}
		for _, r := range runs {
			row := []cell{{text: r.ID}, {text: r.App + "/" + r.Workflow}, {string(r.Status), statusInks[string(r.Status)]}, {text: age(time.Since(r.Created))}, {text: took(r)}, {text: r.Trigger}}
			t.rows = append(t.rows, row)
		}
		return sh.printTable(form, runs, t)
	})
}

// listRuns lists at most limit runs, all for 0.
func listRuns(ctx context.Context, c *client.Client, f engine.Filter, limit int) ([]engine.Run, error) {
	all := []engine.Run{}
	for {
		f.Limit = pageMost
		if limit > 0 {
			f.Limit = min(limit-len(all), pageMost)
		}
		runs, next, err := c.Runs(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
		if next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		f.After = next
	}
}

// parseSince reads a time that is given as one, or as how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := yamlfile.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usage("write --since 2h, --since 7d or --since 2026-01-31", "--since %s is neither a duration nor a time", s)
}

// age writes how long ago something was: "just now", "5m ago", "3d ago".
func age(d time.Duration) string {
	if d < 2*time.Second {
		return "just now"
	}
	return oneUnit(d) + " ago"
}

// oneUnit writes a time in one unit: "90s", "5m", "3d".
func oneUnit(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// since writes how long ago a time was, "never" for none.
func since(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return age(time.Since(at))
}

// took is how long a run took, or has taken so far.
func took(r engine.Run) string {
	if r.Ended.IsZero() {
		return oneUnit(time.Since(r.Created)) + " so far"
	}
	return telemetry.FormatDuration(r.Ended.Sub(r.Created))
}

func (sh *shell) runsGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get RUN",
		Short: "Show a run: its state, its steps, input and output",
		Args:  between(1, 1, "the ID of a run"),
	}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.Run(ctx, args[0])
		if err != nil {
			return unknownRun(ctx, c, err, args[0])
		}
		if form.value != "table" {
			return sh.printData(form.value, d)
		}
		return sh.printRun(d)
	})
}

// printRun draws a run: what is known of it as a list, and its steps as a table.
func (sh *shell) printRun(d engine.Detail) error {
	facts := table{heading: []string{"run", d.ID}, facts: true}
	facts.add("workflow", d.App+"/"+d.Workflow)
	facts.add("version", d.Version)
	facts.rows = append(facts.rows, []cell{{text: "status"}, {string(d.Status), statusInks[string(d.Status)]}})
	if d.Failure != nil {
		facts.rows = append(facts.rows, []cell{{text: "failure"}, {strings.TrimLeft(describeEnd("", d.Failure), ": "), red}})
	}
	facts.add("started", d.Created.Local().Format(time.DateTime)+", "+age(time.Since(d.Created)))
	facts.add("took", took(d.Run))
	add := func(name, value string) {
		if value != "" {
			facts.add(name, value)
		}
	}
	add("trigger", d.Trigger)
	add("key", d.Key)
	add("durability", d.Durability)
	if d.Retries > 0 {
		add("retried", plural(d.Retries, "time"))
	}
	for _, s := range d.Signals {
		facts.rows = append(facts.rows, []cell{{text: "waits for"}, {fmt.Sprintf("signal %s (step %s): weft runs signal %s %s", s.Name, s.Path, d.ID, s.Name), yellow}})
	}
	add("input", brief(d.Input))
	add("output", brief(d.Output))
	if err := facts.write(sh.stdout, sh.outStyle, sh.tableWidth()); err != nil {
		return err
	}
	steps := table{heading: []string{"step", "status", "items", ""}}
	for _, s := range d.Steps {
		items := ""
		if s.Items > 0 {
			items = fmt.Sprintf("%d of %d", s.Done, s.Items)
		}
		text := ""
		if s.Failure != nil {
			text = firstLine(s.Failure.Message)
		}
		steps.rows = append(steps.rows, []cell{{text: s.Step}, {string(s.Status), stepInks[s.Status]}, {text: items}, {text: text, ink: dim}})
	}
	if err := sh.printLine(""); err != nil {
		return err
	}
	return steps.write(sh.stdout, sh.outStyle, sh.tableWidth())
}

// stepInks are the colours of the states of steps.
var stepInks = map[flow.Status]ink{
	flow.Running: cyan, flow.Succeeded: green, flow.Failed: red, flow.Waiting: dim, flow.Skipped: dim, flow.Caught: yellow,
}

// brief writes a value on one line, cut where it is long.
func brief(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	const most = 300
	if r := []rune(string(text)); len(r) > most {
		return string(r[:most]) + "… (" + strconv.Itoa(len(text)) + " bytes)"
	}
	return string(text)
}
