package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	gobuild "go/build"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weft":         func() { os.Exit(Main()) },
		"weft-stage":   func() { os.Exit(stageMain()) },
		"stage-server": func() { os.Exit(stageServerMain()) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("REWRITE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LANG", "C.UTF-8")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			caches, err := os.UserCacheDir()
			if err != nil {
				return err
			}
			env.Setenv("GOCACHE", cmp.Or(os.Getenv("GOCACHE"), filepath.Join(caches, "go-build"))) // HOME is the script's folder
			env.Setenv("GOMODCACHE", cmp.Or(os.Getenv("GOMODCACHE"), filepath.Join(gobuild.Default.GOPATH, "pkg", "mod")))
			repo, err := filepath.Abs("../..")
			env.Setenv("REPO", repo)
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"await": untilDone, "build-bank": buildBank},
		Condition: func(cond string) (bool, error) {
			if cond == "node" {
				return nodeWorks(), nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		},
	})
}

// untilDone is the command await of scripts: it runs a command again and again until it succeeds, at most for a minute,
// since what a script has started in the background takes its time. With a first argument /PATTERN/ the command's stdout
// has to match too.
func untilDone(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("")
	if len(args) > 0 && strings.HasPrefix(args[0], "/") {
		re, err := regexp.Compile("(?m)" + strings.Trim(args[0], "/"))
		ts.Check(err)
		pattern, args = re, args[1:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: await [/pattern/] command [args...]")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not come to its end: %v\n%s%s", strings.Join(args, " "), err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// buildBank is the command build-bank of scripts: it builds the services of package node's tests at a path.
func buildBank(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: build-bank path")
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", ts.MkAbs(args[0]), "../node/testdata/bank")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("build the bank: %v\n%s", err, out)
	}
}

// nodeWorks reports whether this test binary carries a domain host and the machine lets it run.
func nodeWorks() bool {
	n, err := openNode(context.Background(), node.Config{CacheDir: filepath.Join(os.TempDir(), "weft-test-cache")})
	if err != nil {
		return false
	}
	n.Close()
	return true
}

// stageMain is weft with a stage node in place of the real one: it acts out what a workflow's name says.
func stageMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := parts{
		open:    func(context.Context, node.Config) (runner, error) { return stage{}, nil },
		builder: func(string) (moduleBuilder, error) { return stageBuilder{}, nil },
	}
	return execute(ctx, newTerminal(os.Stdin, os.Stdout, os.Stderr, os.Getenv), p, os.Args[1:])
}

// stage is a node that runs nothing.
type stage struct{}

func (stage) Close() error { return nil }

func (stage) Build(_ context.Context, a *app.App, p engine.Observer) error {
	if a.Name == "broken" {
		return errors.New("function f: exit status 1")
	}
	p.Observe(telemetry.Event{Kind: telemetry.EventBuildStarted, Function: "f"})
	p.Observe(telemetry.Event{Kind: telemetry.EventBuildFinished, Function: "f", Took: 1500 * time.Millisecond})
	p.Observe(telemetry.Event{Kind: telemetry.EventBuildFinished, Function: "g", Text: "cached"})
	return nil
}

func (stage) Run(ctx context.Context, r node.RunRequest) (result, error) {
	tell := func(kind telemetry.EventKind, index, attempt int, text string) {
		r.Observer.Observe(telemetry.Event{Kind: kind, Step: "s", Index: index, Attempt: attempt, Text: text, Took: time.Millisecond})
	}
	o := &engine.Result{ID: "r-1", Status: flow.Succeeded, Output: r.Input, Trace: &telemetry.Trace{Run: "r-1", Spans: []telemetry.Span{
		{Kind: telemetry.KindStep, Step: "s", Index: telemetry.NoIndex, End: time.Millisecond},
		{Kind: telemetry.KindAttempt, Step: "s", Index: telemetry.NoIndex, Attempt: 1, Host: "host 1", End: time.Millisecond},
	}}}
	tell(telemetry.EventStepStarted, 0, 1, "")
	switch r.Workflow {
	case "policies":
		o.Output = map[string]any{"load": r.Load, "pass": r.Pass, "seed": r.Seed}
	case "text":
		o.Output = "plain <text>"
	case "buffer":
		o.Output = map[string]any{"$buffer": "s/out", "size": 5}
	case "noisy":
		tell(telemetry.EventLog, 0, 1, "to stderr \x1b[2J")
		tell(telemetry.EventStepRetried, 0, 1, "exit status 9")
	case "bad":
		o.Status, o.Output = flow.Failed, nil
		o.Failure = &flow.Failure{Kind: flow.KindTimeout, Message: "took longer than 30s", Step: "s[0]"}
		tell(telemetry.EventStepFailed, 0, 1, o.Failure.Message)
	case "unsupported":
		return result{}, fmt.Errorf("services: %w", errors.ErrUnsupported)
	case "slow":
		fmt.Fprintln(os.Stdout, "running")
		<-ctx.Done()
		o.Status = flow.CancelledRun
	}
	return result{o, stageBuffers{}}, nil
}

func (stage) Exec(_ context.Context, r node.ExecRequest) (int, error) {
	if slices.Contains(r.Args, "sleep") {
		return 0, context.DeadlineExceeded
	}
	fmt.Fprintf(r.Stdout, "args %q env %v files %v dial %v listen %v memory %d timeout %s\n", r.Args, r.Env, r.Files, r.Dial, r.Listen, r.Memory, r.Timeout)
	if len(r.Args) > 0 {
		return strconv.Atoi(r.Args[0])
	}
	return 0, nil
}

// stageBuffers are the buffers of a stage run.
type stageBuffers struct{}

func (stageBuffers) Close() error { return nil }

func (stageBuffers) Open(slot string) (io.ReadCloser, int64, error) {
	return io.NopCloser(strings.NewReader("bytes")), 5, nil
}
