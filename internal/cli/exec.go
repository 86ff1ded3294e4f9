package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/node"
)

// execOptions are the flags of weft exec.
type execOptions struct {
	grants  *grants
	env     []string
	memory  string
	timeout time.Duration
}

func (sh *shell) execCommand() *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec [flags] module.wasm [args...]",
		Short: "Run one WebAssembly program in a sandbox",
		Long: `Run any WASI preview 1 command in the sandbox that functions run in, with this terminal's stdin, stdout and stderr. The
program sees no files and no network but those granted here. The exit status is the program's; 124 when --timeout ran out.`,
		Example: `  weft exec --dir .::/src:ro grep.wasm -r main /src
  echo hello | weft exec --memory 64MiB --timeout 5s upper.wasm`,
		Args: between(1, -1, "a module"),
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the module belongs to the program
	o.grants = grantFlags(cmd, "")
	f.StringArrayVar(&o.env, "env", nil, "set a variable: KEY=VALUE; may be repeated")
	f.StringVar(&o.memory, "memory", "", "limit of linear memory, such as 256MiB (default 128MiB)")
	f.DurationVar(&o.timeout, "timeout", 0, "end the program after this long (default none)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := sh.execRequest(o, args)
		if err != nil {
			return err
		}
		return sh.withNode(cmd.Context(), policy.None, func(n runner) error {
			code, err := n.Exec(cmd.Context(), r)
			switch {
			case cmd.Context().Err() != nil:
				return silent(exitInterrupted)
			case errors.Is(err, context.DeadlineExceeded):
				return &exitError{code: exitTimeout, err: fmt.Errorf("%s was ended after %s (--timeout)", r.Module, o.timeout)}
			case err != nil:
				return fmt.Errorf("run %s: %w", r.Module, err)
			}
			return silent(code)
		})
	}
	return cmd
}

// execRequest checks the flags.
func (sh *shell) execRequest(o execOptions, args []string) (node.ExecRequest, error) {
	r := node.ExecRequest{Module: args[0], Args: args[1:], Env: map[string]string{}, Dial: o.grants.dial, Listen: o.grants.listen, Timeout: o.timeout}
	const hint = "name a .wasm file, built for WASI preview 1 (GOOS=wasip1 GOARCH=wasm go build)"
	switch info, err := os.Stat(r.Module); {
	case err != nil:
		return r, usage(hint, "open module %s: %v", r.Module, errors.Unwrap(err))
	case info.IsDir():
		return r, usage(hint, "open module %s: it is a folder", r.Module)
	}
	for _, kv := range o.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return r, usage("write --env KEY=VALUE", "--env %q is no KEY=VALUE", kv)
		}
		r.Env[k] = v
	}
	if err := o.grants.check(); err != nil {
		return r, err
	}
	r.Files = o.grants.files
	if o.memory != "" {
		n, err := app.ParseSize(o.memory)
		switch {
		case err != nil:
			return r, usage("write --memory 256MiB", "--memory: %v", err)
		case n < app.MinMemory || n > app.MaxMemory:
			return r, usage("write --memory 256MiB", "--memory %s is not from 64KiB to 4GiB, which is all that WebAssembly can address", o.memory)
		}
		r.Memory = n
	}
	if o.timeout < 0 {
		return r, usage("write --timeout 30s", "--timeout %s is negative", o.timeout)
	}
	var ok1, ok2, ok3 bool
	r.Stdin, ok1 = sh.stdin.(*os.File)
	r.Stdout, ok2 = sh.stdout.(*os.File)
	r.Stderr, ok3 = sh.stderr.(*os.File)
	if !ok1 || !ok2 || !ok3 {
		return r, errors.New("weft exec needs files as stdin, stdout and stderr")
	}
	return r, nil
}
