// Package cli is the weft command: one file for each subcommand, and what they share.
//
// Main runs the command line of the process and returns its exit status:
//
//	func main() { os.Exit(cli.Main()) }
//
// Only data goes to stdout; progress, logs of functions and errors go to stderr. Colours and the live progress line
// appear on terminals only. Every command that prints data takes -o text, json or yaml, and then gives its errors as
// data too. Exit statuses are listed in exit.go and in docs/cli.md.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-run/weft/internal/flow"

	"github.com/weft-run/weft/internal/bench"
)

// Main runs the command line of this process. The first interrupt cancels what is under way, the second kills.
func Main() int {
	if len(os.Args) > 1 && os.Args[1] == bench.ChildCommand {
		return bench.ChildMain(os.Args[2:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write to a closed pipe fails and what was started is ended, as after any error
	return execute(ctx, newTerminal(os.Stdin, os.Stdout, os.Stderr, os.Getenv), parts{open: openNode, builder: openBuilder}, os.Args[1:])
}

// parts are what the commands are made with; tests have others.
type parts struct {
	open    opener        // starts a node for the commands that need one
	builder builderOpener // opens the builder of modules for those that deploy
}

// shell is what the commands work with.
type shell struct {
	*terminal
	parts
	target target // the server that --context and --server name
}

// execute runs one command line and reports its error.
func execute(ctx context.Context, t *terminal, p parts, args []string) int {
	sh := &shell{terminal: t, parts: p}
	root := sh.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return sh.report(ctx, cmd, err)
}

// root builds the command tree.
func (sh *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Run serverless workflows of sandboxed functions on your own machine",
		Long: `weft runs serverless workflows from one binary: functions are WebAssembly sandboxes that
start in well under a millisecond, and what one function makes the next one reads by reference.

  weft init hello && weft run hello    a first app, and its first run
  weft serve                           a server, to which weft deploy brings apps that stay`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.ArbitraryArgs,
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "weft help lists the commands"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean weft " + strings.Join(near, " or weft ") + "?"
		}
		return usage(hint, "there is no command %q", args[0])
	}
	root.SetIn(sh.stdin)
	root.SetOut(sh.stdout)
	root.SetErr(sh.stderr)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(strings.TrimSpace(nearFlag(cmd, err)+" "+cmd.CommandPath()+" --help lists the flags"), "%v", err)
	})
	sh.targetFlags(root)
	root.AddGroup(&cobra.Group{ID: "here", Title: "On this machine:"}, &cobra.Group{ID: "server", Title: "With a server:"}, &cobra.Group{ID: "keep", Title: "Keeping a server:"})
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
		}
		root.AddCommand(commands...)
	}
	group("here", sh.initCommand(), sh.validateCommand(), sh.generateCommand(), sh.buildCommand(), sh.runCommand(), sh.graphCommand(), sh.execCommand(),
		sh.doctorCommand(), sh.benchCommand(), sh.cpuCommand(), sh.schemaCommand(), sh.versionCommand())
	group("server", sh.deployCommand(), sh.replayCommand(), sh.devCommand(), sh.invokeCommand(), sh.startCommand(), sh.runsCommand(), sh.appsCommand(), sh.functionsCommand(), sh.workflowsCommand(),
		sh.callCommand(), sh.servicesCommand(), sh.requestsCommand(), sh.locksCommand(), sh.txnsCommand(), sh.stateCommand(),
		sh.secretsCommand(), sh.contextCommand())
	group("keep", sh.serveCommand(), sh.topCommand(), sh.tokensCommand(), sh.backupCommand(), sh.restoreCommand())
	return root
}

// nearFlag is a hint for a long flag that cmd does not have.
func nearFlag(cmd *cobra.Command, err error) string {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return flow.Nearest("--"+name, names)
}

// atMost is an argument check for commands that take up to n arguments, which names describes.
func atMost(n int, names string) cobra.PositionalArgs {
	return between(0, n, names)
}

// between is an argument check for commands that take low to high arguments, which names describes.
func between(low, high int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage(cmd.CommandPath()+" --help says more", "%s needs %s", cmd.CommandPath(), names)
		case high >= 0 && len(args) > high && high == 0:
			return usage(cmd.CommandPath()+" --help says more", "%s takes no arguments, and here is %q", cmd.CommandPath(), args[0])
		case high >= 0 && len(args) > high && cmd.Flags().Lookup("input") != nil:
			return usage("an input takes --input, see "+cmd.CommandPath()+" --help", "%s takes %s and nothing more, and here is %q", cmd.CommandPath(), names, args[high])
		case high >= 0 && len(args) > high:
			return usage(cmd.CommandPath()+" --help says more", "%s takes %s and nothing more, and here is %q", cmd.CommandPath(), names, args[high])
		}
		return nil
	}
}

// writeFile writes a file by way of draw, and removes it again when that fails.
func writeFile(name string, draw func(w io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
		if err != nil {
			os.Remove(name) // the write's own error says more
			err = fmt.Errorf("write %s: %w", name, err)
		}
	}()
	return draw(f)
}
