package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store/pebble"
)

// lifeVar makes the test binary a process that keeps runs in a folder.
const lifeVar = "WEFT_TEST_ENGINE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lifeVar); dir != "" {
		if err := liveIn(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killedRuns is how many runs the process is asked for.
const killedRuns = 60

// killedFile is an app whose steps take a while, with outputs that are too
// large for the store.
const killedFile = `
name: shop
functions:
  large: {source: large.wasm}
  length: {source: length.wasm}
workflows:
  main:
    steps:
      a: {call: large}
      pause: {needs: [a], wait: 5ms}
      b: {call: length, needs: [a, pause], with: "${ .a }", retry: {max: 3, backoff: 1ms}}
`

// folder lets an engine use a data folder.
type folder struct{ *data.Folder }

func (f folder) Open(owner, name string) (engine.Blob, int64, error) {
	return f.Folder.Open(owner, name)
}

// liveIn asks an engine for all runs, under keys, and says what it is told.
func liveIn(dir string) error {
	s, err := pebble.Open(filepath.Join(dir, "store"), pebble.Options{})
	if err != nil {
		return err
	}
	blobs, err := data.Open(filepath.Join(dir, "data"), data.Options{})
	if err != nil {
		return err
	}
	a, err := parse(killedFile)
	if err != nil {
		return err
	}
	boxes := &sandboxes{fn: map[string]func(any) (any, *flow.Failure){
		"large": func(input any) (any, *flow.Failure) {
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			return strings.Repeat("x", int(input.(float64))*2000), nil
		},
		"length": func(input any) (any, *flow.Failure) {
			if rand.IntN(4) == 0 {
				return nil, &flow.Failure{Kind: "lost", Message: "its host ended", Free: true}
			}
			return len(input.(string)), nil
		},
	}}
	e := engine.New(engine.Options{
		World: engine.Real, Sandboxes: boxes, Store: s, Blobs: folder{blobs}, Catalog: &bench{program: a}, Speculate: true,
		Broken: func(err error) { fmt.Println("error", err) },
	})
	if err := e.Recover(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range killedRuns {
		wg.Go(func() {
			r, _, err := e.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "main", Input: float64(i), Key: fmt.Sprint(i)})
			if err == nil {
				fmt.Println("accepted", i, r.ID)
				r, err = e.Wait(context.Background(), r.ID)
			}
			if err != nil {
				fmt.Println("error", err)
				return
			}
			fmt.Println("ended", i, r.Status, r.Output)
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		return err
	}
	return s.Close()
}

// Whenever the process is killed, the next one goes on: no run that was accepted
// is lost, none ends in two ways.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	accepted, ended := map[string]string{}, map[string]string{}
	kills := 0
	for lives := 0; len(ended) < killedRuns || kills < 5; lives++ {
		if lives == 200 {
			t.Fatalf("after %d lives %d of %d runs have ended", lives, len(ended), killedRuns)
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), lifeVar+"="+dir)
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// It dies after so many lines, so that slow machines see as much of it.
		lines := rand.IntN(2 * killedRuns)
		scan := bufio.NewScanner(out)
		for n := 0; scan.Scan(); n++ {
			if n == lines && lives < 100 {
				kills++
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			word, rest, _ := strings.Cut(scan.Text(), " ")
			i, what, _ := strings.Cut(rest, " ")
			known := map[string]map[string]string{"accepted": accepted, "ended": ended}[word]
			if known == nil {
				t.Fatalf("life %d says %q", lives, scan.Text())
			}
			if before := known[i]; before != "" && before != what {
				t.Errorf("run %s was %s as %s, and is as %s", i, word, before, what)
			}
			known[i] = what
		}
		err = c.Wait()
		if err != nil && !strings.Contains(err.Error(), "killed") {
			t.Fatalf("life %d: %v", lives, err)
		}
	}
	for i := range killedRuns {
		if got, want := ended[fmt.Sprint(i)], fmt.Sprintf("succeeded %d", i*2000); got != want {
			t.Errorf("run %d %s, want %s", i, got, want)
		}
	}
	t.Logf("killed %d times", kills)
}
