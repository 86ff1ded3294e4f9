package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	forkserver "github.com/weft-run/weft/internal/sandbox/process"
)

// coldFirst is the measure of functions of which nothing is there, not even a fork server, without what they import.
const coldFirst = "first call of a function, to its first line, importing "

// Variants of coldFirst.
const (
	withParent    = "parent" // its fork server is forked from a process that has imported what it imports
	withoutParent = "alone"
)

// heavy are modules of Python's own library that take long to import.
var heavy = []string{"asyncio", "decimal", "json", "unittest"}

// setUpFamilies measures first calls of functions in Python with and without a parent, in a pool of this process: each sample is a function of
// another version.
func setUpFamilies(ctx context.Context, l *lab.Lab) error {
	host, err := hostbin.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	exe, err := sandbox.Executable(host)
	if err != nil {
		return err
	}
	l.Cleanup(exe.Close)
	spawner, err := sandbox.NewSpawner(ctx, sandbox.SpawnerOptions{Exec: exe})
	if err != nil {
		return err
	}
	l.Cleanup(spawner.Close)
	if err := spawner.CanConfine(); err != nil {
		l.Skip(withoutParent, err.Error())
		return nil
	}
	pool, err := forkserver.New(forkserver.Options{Spawner: spawner, Spare: -1})
	if err != nil {
		return err
	}
	l.Cleanup(pool.Close)
	own, err := firsts(l, pool, heavy, "")
	if err != nil {
		return err
	}
	cases := [][]lab.Case{own}
	if folder, err := folderOf(ctx, "numpy"); err != nil {
		l.Skip("first calls that import numpy", err.Error())
	} else if numpy, err := firsts(l, pool, []string{"numpy"}, folder); err != nil {
		return err
	} else {
		cases = append(cases, numpy)
	}
	_, root := spawner.Isolated()
	if !root {
		l.Skip(withParent, "functions have a parent only where root runs the node")
	}
	for _, pair := range cases {
		g := l.Group("first calls", lab.Rounds{WarmUp: 1, Min: 2, Max: 100})
		for _, c := range pair {
			if root || c.Variant != withParent {
				g.Add(c)
			}
		}
	}
	return nil
}

// folderOf finds where the machine's Python has a package.
func folderOf(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "python3", "-c", "import os, "+name+"; print(os.path.dirname(os.path.dirname("+name+".__file__)))").Output()
	if err != nil {
		return "", fmt.Errorf("the machine's python3 has no %s: install it, or say in PYTHONPATH where it is", name)
	}
	return string(bytes.TrimSpace(out)), nil
}

// firsts are the two variants of functions that import modules, which are in a folder or, if that is empty, in Python's own library.
func firsts(l *lab.Lab, pool *forkserver.Pool, modules []string, folder string) ([]lab.Case, error) {
	dir, err := os.MkdirTemp(l.Dir, "first-")
	if err != nil {
		return nil, err
	}
	source := "import time\nimport " + strings.Join(modules, ", ") + "\n\ndef handler(event, context):\n    return [time.monotonic_ns(), hash('weft')]\n"
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(source), 0o644); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the sandbox has another user
		return nil, err
	}
	var cases []lab.Case
	for _, variant := range []string{withParent, withoutParent} {
		f := forkserver.Function{Name: variant, Runtime: forkserver.Python, Dir: dir, Module: "main", Common: modules}
		if folder != "" {
			f.Layers = []string{folder}
		}
		if variant == withParent {
			f.Family = "bench"
		}
		var hashes []string // of a string, which are the same in all that one interpreter has forked
		calls := 0
		cases = append(cases, lab.Case{Variant: variant, Expect: began, Sample: func(ctx context.Context) (lab.Sample, error) {
			calls++
			next := f
			next.Version = strings.Join(modules, " ") + strconv.Itoa(calls)
			defer pool.Drop(next.Version)
			took, hash, err := first(ctx, pool, &next)
			if err != nil {
				return lab.Sample{}, err
			}
			sample := lab.Sample{Digest: began, Values: []lab.Value{lab.Millis(coldFirst+strings.Join(modules, ", "), took)}}
			if known := slices.Contains(hashes, hash); len(hashes) > 0 && known != (variant == withParent) {
				sample.Digest = fmt.Sprintf("forked from the same process as an earlier one: %v", known)
			}
			hashes = append(hashes, hash)
			return sample, nil
		}})
	}
	return cases, nil
}

// first calls a function, and returns what passed before its first line and how its interpreter hashes.
func first(ctx context.Context, pool *forkserver.Pool, f *forkserver.Function) (took time.Duration, hash string, err error) {
	before, err := monotonic()
	if err != nil {
		return 0, "", err
	}
	call, err := pool.Start(ctx, forkserver.Call{Function: f})
	if err != nil {
		return 0, "", err
	}
	result := call.Wait()
	after, err := monotonic()
	switch {
	case err != nil:
		return 0, "", err
	case result.Failure != nil:
		return 0, "", result.Failure
	}
	at, hash, _ := strings.Cut(strings.Trim(string(result.Output), "[]"), ",")
	ns, err := strconv.ParseInt(at, 10, 64)
	if t := time.Duration(ns); err != nil || t <= before || t >= after {
		return 0, "", fmt.Errorf("%w: said %.100q between %d and %d", lab.ErrDigest, result.Output, before, after)
	}
	return time.Duration(ns) - before, hash, nil
}
