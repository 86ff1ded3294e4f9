package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// runOptions are the flags of weft run.
type runOptions struct {
	input     string
	trace     string
	timeline  bool
	load      *choice
	pass      *choice
	cpu       *choice
	seed      uint64
	timeout   time.Duration
	functions string
	grants    *grants
	quiet     bool
	form      *choice
}

// ran is what weft run prints as data.
type ran struct {
	Run      string        `json:"run"`
	App      string        `json:"app"`
	Workflow string        `json:"workflow"`
	Status   flow.Status   `json:"status"`
	Output   any           `json:"output"`
	Failure  *flow.Failure `json:"failure,omitempty"`
	Seconds  float64       `json:"seconds"`
}

func (sh *shell) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [app] [workflow]",
		Short: "Run a workflow of an app and print its output",
		Long: `Run a workflow (by default main, or the only one) of an app (a folder or a file, by default this folder), building its
functions first where they changed. No server is needed and nothing is left behind.

The output goes to stdout: a string as it is, a buffer as its bytes, anything else as JSON. What functions write to
stderr goes to stderr behind the path of their step. With -o json the whole result is one object.

A file that ends in .json is read as a workflow of AlloyStack's; --functions names the folder of its functions, and --dir,
--dial and --listen grant them what the file's services are for.`,
		Example: `  weft run examples/wordcount --input '{"path": "/usr/share/doc"}'
  weft run . nightly --input @request.json --trace run.svg
  weft run config.json --functions ./functions --dir ./input::/data:ro`,
		Args: atMost(2, "an app and a workflow"),
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "", "input of the run: JSON, @FILE, or - for stdin (default null)")
	f.StringVar(&o.trace, "trace", "", "write the run's trace to FILE.svg (Gantt) or FILE.json (Chrome, Perfetto)")
	f.BoolVar(&o.timeline, "timeline", false, "print a timeline of the run on stderr")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the jitter of retries")
	f.DurationVar(&o.timeout, "timeout", 0, "cancel the run after this long (default none)")
	f.StringVar(&o.functions, "functions", "", "folder of the functions of an AlloyStack workflow")
	o.grants = grantFlags(cmd, " (AlloyStack)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress")
	o.load = choiceFlag(cmd, "load", "when modules of the system interface are set up (default: as the app file says)", app.LoadLazy, app.LoadEager)
	o.pass = choiceFlag(cmd, "pass", "how values pass between functions (default: as the app file says)", app.PassReference, app.PassFile)
	o.cpu = choiceFlag(cmd, "cpu", "policy by which calls get the processor", policy.Names...)
	o.cpu.value = policy.Weft
	o.form = outputFlag(cmd, "text", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return sh.run(cmd.Context(), o, args) }
	return cmd
}

// run does what weft run was asked for.
func (sh *shell) run(ctx context.Context, o runOptions, args []string) error {
	draw, err := traceFormat(o.trace)
	if err != nil {
		return err
	}
	input, err := sh.readInput(o.input)
	if err != nil {
		return err
	}
	if err := o.grants.check(); err != nil {
		return err
	}
	a, err := loadRunnable(appArgument(args), o.functions, o.grants)
	if err != nil {
		return err
	}
	w, err := workflowArgument(a, args)
	if err != nil {
		return err
	}
	if err := a.Outlines[w.Name].CheckInput(input); err != nil {
		return usage("give the input with --input; "+a.File+" says what workflow "+w.Name+" wants", "%v", err)
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, errRunTimeout)
		defer cancel()
	}
	return sh.withNode(ctx, o.cpu.value, func(n runner) error {
		if err := sh.build(ctx, n, a, o.quiet); err != nil {
			return runTimedOut(ctx, o.timeout, err)
		}
		p := sh.newProgress(o.quiet)
		start := time.Now()
		res, err := n.Run(ctx, node.RunRequest{App: a, Workflow: w.Name, Input: input, Seed: o.seed, Load: o.load.value, Pass: o.pass.value, Observer: p})
		p.Close()
		if err != nil {
			return runTimedOut(ctx, o.timeout, fmt.Errorf("run workflow %s of app %s: %w", w.Name, a.Name, err))
		}
		err = sh.present(ctx, o, res, draw, ran{App: a.Name, Workflow: w.Name, Seconds: time.Since(start).Seconds()})
		return errors.Join(err, res.buffers.Close())
	})
}

// errRunTimeout is why the context of a run with --timeout ended.
var errRunTimeout = errors.New("the time of --timeout is over")

// runTimedOut replaces an error that --timeout caused.
func runTimedOut(ctx context.Context, limit time.Duration, err error) error {
	if errors.Is(context.Cause(ctx), errRunTimeout) {
		return failed("give it more time with --timeout", "the run was cancelled after %s (--timeout)", limit)
	}
	return err
}

// present writes trace, timeline and output of a run, and turns a failure into an error.
func (sh *shell) present(ctx context.Context, o runOptions, out result, draw func(io.Writer, *telemetry.Trace) error, r ran) error {
	if draw != nil && out.Trace != nil {
		if err := writeFile(o.trace, func(w io.Writer) error { return draw(w, out.Trace) }); err != nil {
			return err
		}
		fmt.Fprintf(sh.stderr, "trace: %s\n", o.trace)
	}
	if o.timeline && out.Trace != nil {
		if err := telemetry.WriteText(sh.stderr, out.Trace, telemetry.TextOptions{Width: min(sh.width, 120), Unicode: sh.unicode}); err != nil {
			return err
		}
	}
	if o.form.value != "text" {
		r.Run, r.Status, r.Output, r.Failure = out.ID, out.Status, out.Output, out.Failure
		if err := sh.printData(o.form.value, r); err != nil {
			return err
		}
		return silent(runStatus(ctx, out.Status))
	}
	switch status := runStatus(ctx, out.Status); status {
	case exitOK:
		return sh.printOutput(out.Output, out.buffers.Open)
	case exitInterrupted:
		return &exitError{code: status, err: errors.New("interrupted: the run was cancelled")}
	default:
		err := runTimedOut(ctx, o.timeout, fmt.Errorf("run %s of workflow %s %s", out.ID, r.Workflow, describeEnd(string(out.Status), out.Failure)))
		var ee *exitError
		if errors.As(err, &ee) {
			return err
		}
		hint := ""
		if out.Failure != nil {
			hint = failureHints[out.Failure.Kind]
		}
		return &exitError{code: status, err: err, hint: hint}
	}
}

// runStatus is the exit status that says how the run ended.
func runStatus(ctx context.Context, s flow.Status) int {
	switch {
	case s == flow.Succeeded:
		return exitOK
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errRunTimeout):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// describeEnd says how a run ended: "failed in step count[3]: exit status 2".
func describeEnd(status string, f *flow.Failure) string {
	switch {
	case f == nil:
		return status
	case f.Step == "":
		return fmt.Sprintf("%s: %s", status, f.Message)
	default:
		return fmt.Sprintf("%s in step %s: %s", status, f.Step, f.Message)
	}
}

// failureHints say what can be done about a failure, by its kind.
var failureHints = map[string]string{
	flow.KindTimeout:    "raise timeout of the step or function in the app file, or give the step a retry",
	flow.KindExpression: "see the expression in the app file; weft graph shows what feeds the step",
	domain.KindExit:     "what the function wrote to stderr is above; a step that may fail takes a retry or a catch",
	domain.KindLimit:    "raise memory, cpu or max_output of the function in the app file, whichever it says",
	domain.KindOutput:   "output that is not JSON takes output: text or bytes in the app file; longer output takes a higher max_output",
	domain.KindDeadlock: "compare the names under which functions put and take, and which step needs which",
	engine.KindConflict: "publish a name in one step only, or give each step's buffer a name of its own",
}

// traceFormat chooses how to draw a trace by the file's name; nil for none.
func traceFormat(name string) (func(io.Writer, *telemetry.Trace) error, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".svg":
		return telemetry.WriteSVG, nil
	case ".json":
		return telemetry.WriteChrome, nil
	}
	if name == "" {
		return nil, nil
	}
	return nil, usage("a name in .svg gives a picture, one in .json a trace for chrome://tracing", "trace %s: the name says no format", name)
}

// printOutput writes the output of a run: text as it is, a buffer as its bytes, anything else as JSON, null not at all.
func (sh *shell) printOutput(output any, open func(slot string) (io.ReadCloser, int64, error)) error {
	if slot, ok := bufferName(output); ok {
		r, _, err := open(slot)
		if err != nil {
			return fmt.Errorf("read the run's output: %w", err)
		}
		defer r.Close()
		if _, err := io.Copy(sh.stdout, r); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	}
	switch v := output.(type) {
	case nil:
		return nil
	case string:
		if !strings.HasSuffix(v, "\n") {
			v += "\n"
		}
		if _, err := io.WriteString(sh.stdout, v); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	default:
		out, err := formatValue(v, sh.width)
		if err != nil {
			return err
		}
		if _, err := sh.stdout.Write(out); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	}
}

// bufferName returns the slot that v refers to, where it is a reference to a buffer.
func bufferName(v any) (string, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	slot, ok := m["$buffer"].(string)
	return slot, ok
}

// isAlloyStack tells a workflow file of AlloyStack's from an app by its name.
func isAlloyStack(path string) bool { return strings.EqualFold(filepath.Ext(path), ".json") }

// loadRunnable reads an app file, or a workflow of AlloyStack's when the name ends in .json.
func loadRunnable(path, functions string, g *grants) (*app.App, error) {
	if isAlloyStack(path) {
		return loadAlloyStack(path, functions, g)
	}
	if functions != "" {
		return nil, usage("an app file names the sources of its functions itself", "--functions goes with a workflow file of AlloyStack's (.json), not with %s", path)
	}
	if flags := g.given(); len(flags) > 0 {
		return nil, usage("an app file grants files, dial and listen to each of its functions itself",
			"%s goes with a workflow file of AlloyStack's (.json), not with %s", flags[0], path)
	}
	return app.Load(path)
}
