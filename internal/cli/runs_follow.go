package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/telemetry"
)

func (sh *shell) runsWatchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run to its end and print its output",
		Long: `Show on stderr what happens in a run, from its start, and what its functions log, and print its output when it has
ended, as weft run does. An interrupt leaves the run alone.`,
		Args: between(1, 1, "the ID of a run"),
	}
	quiet := cmd.Flags().BoolP("quiet", "q", false, "no progress; what functions log is still shown")
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.Run(ctx, args[0])
		if err != nil {
			return unknownRun(ctx, c, err, args[0])
		}
		run, err := sh.follow(ctx, c, d.Run, *quiet)
		if err != nil {
			return err
		}
		return sh.presentRun(ctx, c, form.value, run)
	})
}

func (sh *shell) runsLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Print what the functions of a run have written to stderr",
		Args:  between(1, 1, "the ID of a run"),
	}
	follow := cmd.Flags().BoolP("follow", "f", false, "go on until the run has ended")
	times := cmd.Flags().BoolP("timestamps", "t", false, "print when each line was written")
	step := cmd.Flags().String("step", "", "only lines of this step, or item: count, count[2]")
	form := outputFlag(cmd, "text", "json")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		for line, err := range c.Logs(ctx, args[0], *follow) {
			if err != nil {
				return unknownRun(ctx, c, err, args[0])
			}
			e := logEvent(line)
			if *step != "" && *step != line.Step && *step != e.Path() {
				continue
			}
			var text string
			if form.value == "json" {
				b, err := json.Marshal(line)
				if err != nil {
					return fmt.Errorf("encode line: %w", err)
				}
				text = string(b)
			} else {
				if *times {
					text = sh.outStyle.paint(dim, line.At.Local().Format("15:04:05.000")) + " "
				}
				if path := e.Path(); path != "" {
					text += sh.outStyle.paint(cyan, path+" |") + " "
				}
				text += visible(line.Text)
			}
			if err := sh.printLine("%s", text); err != nil {
				return err
			}
		}
		return nil
	})
}

func (sh *shell) runsTraceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace RUN [FILE]",
		Short: "Draw how a run spent its time",
		Long: `Draw the trace of a run: as a timeline of text on stdout, or into a file, which is a picture if its name ends in .svg
and for chrome://tracing and ui.perfetto.dev if it ends in .json.`,
		Args: between(1, 2, "the ID of a run and a file"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		var draw func(io.Writer, *telemetry.Trace) error
		if len(args) > 1 {
			var err error
			if draw, err = traceFormat(args[1]); err != nil {
				return err
			}
		}
		trace, err := c.Trace(ctx, args[0])
		if err != nil {
			return unknownRun(ctx, c, err, args[0])
		}
		switch {
		case draw != nil:
			return writeFile(args[1], func(w io.Writer) error { return draw(w, trace) })
		case form.value != "text":
			return sh.printData(form.value, trace)
		}
		return telemetry.WriteText(sh.stdout, trace, telemetry.TextOptions{Width: min(sh.width, 120), Unicode: sh.unicode})
	})
}

func (sh *shell) runsCancelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cancel RUN...", Short: "End runs; what they are doing is stopped", Args: between(1, -1, "the IDs of runs")}
	reason := cmd.Flags().String("reason", "", "why, for those who look at the run")
	return sh.steer(cmd, func(ctx context.Context, c *client.Client, id string) error { return c.Cancel(ctx, id, *reason) })
}

func (sh *shell) runsRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry RUN...",
		Short: "Let runs go on that have failed or were cancelled",
		Long: `Let runs go on that have failed or were cancelled: what had finished is not done again, and what had not is tried as
if for the first time. A run goes on with the version of the app that it was started with.`,
		Args: between(1, -1, "the IDs of runs"),
	}
	return sh.steer(cmd, func(ctx context.Context, c *client.Client, id string) error { return c.Retry(ctx, id) })
}

func (sh *shell) runsPauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause RUN...", Short: "Let nothing new start in runs; their clocks stand still",
		Args: between(1, -1, "the IDs of runs"),
	}
	return sh.steer(cmd, func(ctx context.Context, c *client.Client, id string) error { return c.Pause(ctx, id) })
}

func (sh *shell) runsResumeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "resume RUN...", Short: "Let paused runs go on", Args: between(1, -1, "the IDs of runs")}
	return sh.steer(cmd, func(ctx context.Context, c *client.Client, id string) error { return c.Resume(ctx, id) })
}

// steer makes cmd one that does something to each of the runs that it is given.
func (sh *shell) steer(cmd *cobra.Command, do func(ctx context.Context, c *client.Client, id string) error) *cobra.Command {
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		for _, id := range args {
			if err := do(ctx, c, id); err != nil {
				return unknownRun(ctx, c, err, id)
			}
		}
		return nil
	})
}

func (sh *shell) runsSignalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "signal RUN NAME",
		Short: "Give a run a signal that one of its steps waits for",
		Long: `Give a run a signal. The step that has waited for it the longest gets it; if none waits yet, the first that does.
weft runs get shows what a run waits for.`,
		Example: `  weft runs signal 06k3… approve --value '{"by": "Ada"}'`,
		Args:    between(2, 2, "the ID of a run and the name of a signal"),
	}
	value := cmd.Flags().String("value", "", "what the signal brings: JSON, @FILE, or - for stdin (default null)")
	step := cmd.Flags().String("step", "", "only the step, or item, with this path: approve, ask[2]")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		raw, err := sh.readJSON("the signal's value", "--value", *value)
		if err != nil {
			return err
		}
		var v any
		if raw != nil {
			v = raw
		}
		if err := c.Signal(ctx, args[0], args[1], *step, v); err != nil {
			return unknownRun(ctx, c, err, args[0])
		}
		return nil
	})
}
