package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
)

// execOptions are the flags of weft exec.
type execOptions struct {
	dirs    []string
	env     []string
	memory  string
	timeout time.Duration
	dial    []string
	listen  []int
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
	f.StringArrayVar(&o.dirs, "dir", nil, "grant a folder, file, .zip or FAT .img: HOST::GUEST[:ro]; may be repeated")
	f.StringArrayVar(&o.env, "env", nil, "set a variable: KEY=VALUE; may be repeated")
	f.StringVar(&o.memory, "memory", "", "limit of linear memory, such as 256MiB (default 128MiB)")
	f.DurationVar(&o.timeout, "timeout", 0, "end the program after this long (default none)")
	f.StringArrayVar(&o.dial, "dial", nil, "grant connections to HOST:PORT; may be repeated")
	f.IntSliceVar(&o.listen, "listen", nil, "grant accepting on a loopback PORT; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := sh.execRequest(o, args)
		if err != nil {
			return err
		}
		return sh.withNode(cmd.Context(), func(n runner) error {
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
	r := node.ExecRequest{Module: args[0], Args: args[1:], Env: map[string]string{}, Dial: o.dial, Listen: o.listen, Timeout: o.timeout}
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
	for _, d := range o.dirs {
		g, err := parseDir(d)
		if err != nil {
			return r, usage("write --dir HOST::GUEST or HOST::GUEST:ro, such as --dir .::/data:ro", "--dir %s: %v", d, err)
		}
		r.Files = append(r.Files, g)
	}
	for _, d := range o.dial {
		if host, port, ok := strings.Cut(d, ":"); !ok || host == "" || port == "" {
			return r, usage("write --dial HOST:PORT", "--dial %q is no HOST:PORT", d)
		}
	}
	for _, p := range o.listen {
		if p < 1 || p > 65535 {
			return r, usage("ports are 1 to 65535", "--listen %d is no port", p)
		}
	}
	if o.memory != "" {
		n, err := parseSize(o.memory)
		if err != nil {
			return r, usage("write --memory 256MiB", "--memory %s: %v", o.memory, err)
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

// parseDir reads a grant as --dir has it. Unlike in an app file, what is granted on the command line may be written
// unless it ends in :ro.
func parseDir(s string) (app.FileGrant, error) {
	g, err := app.ParseFileGrant(s)
	if err != nil || strings.HasSuffix(s, ":ro") {
		return g, err
	}
	g.Write = g.Kind != app.GrantZip
	return g, nil
}

// parseSize reads a number of bytes with a unit: 65536, 64KiB, 256MiB, 1.5GiB.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	scale, ok := map[string]float64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[s[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(n > 0) {
		return 0, errors.New("not a size; a size has a unit, such as KiB, MiB or GiB")
	}
	if n *= scale; n > 4<<30 {
		return 0, errors.New("more than 4GiB, which is all that WebAssembly can address")
	}
	return int64(n), nil
}
