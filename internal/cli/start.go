package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
)

// startOptions are the flags of weft start.
type startOptions struct {
	input   string
	files   []string
	version string
	key     string
	wait    time.Duration
	follow  bool
	quiet   bool
	form    *choice
}

// waitMost is how long one request waits for the end of a run; longer waits take several.
const waitMost = 30 * time.Second

func (sh *shell) startCommand() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start APP[/WORKFLOW]",
		Short: "Start a run of a workflow on a server",
		Long: `Start a run of a workflow (by default main, or the only one) of a deployed app, and print its ID. What is started is on
the server's disk and survives its crashes.

With --wait the command waits for the run's end and prints its output, as weft run does; when the time is over it ends
with status 124 and the run goes on. With --follow it waits as long as it takes and shows on stderr what happens and what
functions log; an interrupt leaves the run alone.

Requests that get no answer are repeated without starting a second run. --key does the same for you: two starts with the
same key and input are one run.`,
		Example: `  weft start shop/checkout --input @order.json --key order-4711
  weft start images --file photo=cat.jpg --follow`,
		Args: between(1, 1, "APP/WORKFLOW"),
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "", "input of the run: JSON, @FILE, or - for stdin (default null)")
	f.StringArrayVar(&o.files, "file", nil, "upload a file and put it into the input under a key: KEY=FILE; may be repeated")
	f.StringVar(&o.version, "version", "", "version of the app (default: the active one)")
	f.StringVar(&o.key, "key", "", "idempotency key: the same key and input give the same run")
	f.DurationVar(&o.wait, "wait", 0, "wait so long for the run's end (default: not at all)")
	f.BoolVarP(&o.follow, "follow", "f", false, "wait for the run's end and show what happens")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress; what functions log is still shown")
	o.form = outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error { return sh.start(ctx, c, o, args[0]) })
}

// start does what weft start was asked for.
func (sh *shell) start(ctx context.Context, c *client.Client, o startOptions, what string) error {
	switch {
	case o.wait < 0:
		return usage("write --wait 30s", "--wait %s is negative", o.wait)
	case o.wait > 0 && o.follow:
		return usage("--follow waits as long as it takes", "--wait and --follow exclude each other")
	}
	app, workflow, err := split(what, ofWorkflow)
	if err != nil {
		return err
	}
	input, err := sh.readJSON("the run's input", "--input", o.input)
	if err != nil {
		return err
	}
	if workflow == "" {
		list, err := c.Workflows(ctx, app)
		if err != nil {
			return unknownApp(ctx, c, err, app)
		}
		var names []string
		for _, w := range list {
			names = append(names, w.Name)
		}
		if workflow, err = pick(ofWorkflow, app, names); err != nil {
			return err
		}
	}
	if input, err = sh.upload(ctx, c, input, o.files); err != nil {
		return err
	}
	begun := time.Now()
	q := client.StartRequest{App: app, Workflow: workflow, Version: o.version, Key: o.key, Wait: min(o.wait, waitMost)}
	if input != nil {
		q.Input = input
	}
	run, err := c.Start(ctx, q)
	if err != nil {
		if o.version != "" && vague(err) {
			err = unknownVersion(ctx, c, err, app, o.version)
		}
		return unknownPart(ctx, c, err, ofWorkflow, app, workflow)
	}
	switch {
	case o.follow:
		if run, err = sh.follow(ctx, c, run, o.quiet); err != nil {
			return err
		}
		return sh.presentRun(ctx, c, o.form.value, run)
	case o.wait > 0:
		if run, err = await(ctx, c, run, o.wait-time.Since(begun)); err != nil {
			return leftRunning(ctx, err, run.ID)
		}
		if !run.Status.Ended() {
			if o.form.value != "text" {
				if err := sh.printData(o.form.value, run); err != nil {
					return err
				}
				return silent(exitTimeout)
			}
			return &exitError{code: exitTimeout, hint: "weft runs watch " + run.ID + " waits for its end", err: fmt.Errorf("run %s is %s after %s (--wait)", run.ID, run.Status, o.wait)}
		}
		return sh.presentRun(ctx, c, o.form.value, run)
	case o.form.value != "text":
		return sh.printData(o.form.value, run)
	}
	return sh.printLine("%s", run.ID)
}

// upload brings files to the server and puts them into the input, an object.
func (sh *shell) upload(ctx context.Context, c *client.Client, input json.RawMessage, files []string) (json.RawMessage, error) {
	if len(files) == 0 {
		return input, nil
	}
	object := map[string]json.RawMessage{}
	if input != nil {
		if err := json.Unmarshal(input, &object); err != nil || object == nil {
			return nil, usage("--file KEY=FILE adds to --input '{…}'", "the run's input is no object, and --file wants to put %s into it", files[0])
		}
	}
	names := map[string]string{}
	for _, pair := range files {
		key, name, ok := strings.Cut(pair, "=")
		if !ok || key == "" || name == "" {
			return nil, usage("write --file photo=cat.jpg", "--file %q is no KEY=FILE", pair)
		}
		if _, there := object[key]; there || names[key] != "" {
			return nil, usage("give each file a key of its own", "--file %s: the input has %s already", pair, key)
		}
		names[key] = name
	}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		f, err := os.Open(names[key])
		if err != nil {
			return nil, usage("write --file KEY=FILE", "upload %s: %v", names[key], err)
		}
		b, err := c.Upload(ctx, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("upload %s: %w", names[key], err)
		}
		if object[key], err = json.Marshal(b); err != nil {
			return nil, fmt.Errorf("upload %s: %w", names[key], err)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode the run's input: %w", err)
	}
	return text, nil
}

// await waits for the end of a run, at most for so long. A run that has not ended by then is no error.
func await(ctx context.Context, c *client.Client, run engine.Run, most time.Duration) (engine.Run, error) {
	if run.Status.Ended() || most <= 0 {
		return run, nil
	}
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for _, err := range c.Events(limited, run.ID, 0) {
		if err != nil && limited.Err() == nil {
			return run, err
		}
	}
	if ctx.Err() != nil {
		return run, ctx.Err()
	}
	d, err := c.Run(ctx, run.ID)
	if err != nil {
		return run, err
	}
	return d.Run, nil
}

// presentRun prints the output of a run that has ended, or says how it failed.
func (sh *shell) presentRun(ctx context.Context, c *client.Client, form string, run engine.Run) error {
	code := exitOK
	if run.Status != engine.Succeeded {
		code = exitFailed
	}
	if form != "text" {
		if err := sh.printData(form, run); err != nil {
			return err
		}
		return silent(code)
	}
	if code == exitOK {
		return sh.printOutput(run.Output, func(slot string) (io.ReadCloser, int64, error) { return c.Buffer(ctx, run.ID, slot) })
	}
	hint := "weft runs logs " + run.ID + " has what its functions wrote; weft runs retry " + run.ID + " goes on from what had finished"
	if run.Failure != nil && failureHints[run.Failure.Kind] != "" {
		hint = failureHints[run.Failure.Kind] + "; weft runs retry " + run.ID + " goes on from what had finished"
	}
	return &exitError{code: code, hint: hint, err: fmt.Errorf("run %s of workflow %s %s", run.ID, run.Workflow, describeEnd(string(run.Status), run.Failure))}
}

// leftRunning replaces the error of waiting for a run that was interrupted.
func leftRunning(ctx context.Context, err error, id string) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return &exitError{code: exitInterrupted, err: errors.New("interrupted; run " + id + " goes on"), hint: "weft runs watch " + id + " follows it again, weft runs cancel " + id + " ends it"}
	}
	if client.Status(err) == http.StatusNotFound {
		return fmt.Errorf("run %s is gone: %w", id, err)
	}
	return err
}
