package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/workload"
)

// SoakOptions say how long a server is watched.
type SoakOptions struct {
	Binary string // weft, as it is installed
	Dir    string // as in Options
	Seed   uint64
	For    time.Duration // default a minute
	Log    func(format string, args ...any)
}

// EnsureDefaults fills in what is not set.
func (o *SoakOptions) EnsureDefaults() {
	if o.For <= 0 {
		o.For = time.Minute
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
}

// SoakReport says what was done, and what that took.
type SoakReport struct {
	Invocations, Failures, Runs, Streams, Deployments, Followed int
	Samples                                                     []Sample
	Lines                                                       []string // of the figures, one each
}

// Runs are kept for soakRetention after their end; the engine looks for those
// that need not be every soakExpiry.
const (
	soakRetention = time.Minute
	soakExpiry    = time.Minute
)

// soak is a server under load.
type soak struct {
	o    SoakOptions
	life *life // of the faults
	node *Node
	apps *apps
	c    *client.Client

	invocations, failures, runs, streams, deployments, followed atomic.Int64
}

// Soak keeps a server busy with all that clients do, at a steady pace and
// without any harm, and looks at what that takes of the machine: the error says
// what grows.
func Soak(ctx context.Context, o SoakOptions) (SoakReport, error) {
	o.EnsureDefaults()
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "weft-soak-")
		if err != nil {
			return SoakReport{}, fmt.Errorf("make folder: %w", err)
		}
		o.Dir = dir
	}
	s := &soak{o: o, life: &life{o: Options{Seed: o.Seed, Dir: o.Dir, Log: o.Log}, begun: time.Now()}}
	samples, err := s.live(ctx)
	r := SoakReport{
		Invocations: int(s.invocations.Load()), Failures: int(s.failures.Load()), Runs: int(s.runs.Load()), Streams: int(s.streams.Load()),
		Deployments: int(s.deployments.Load()), Followed: int(s.followed.Load()), Samples: samples,
	}
	if err == nil && len(samples) < samplesMin {
		err = fmt.Errorf("there are %d samples, which is too few", len(samples))
	}
	if err == nil {
		for _, b := range bounds {
			line, wrong := b.check(samples)
			r.Lines = append(r.Lines, line)
			err = errors.Join(err, wrong)
		}
	}
	if err != nil {
		return r, fmt.Errorf("seed %d, see %s: %w", o.Seed, o.Dir, err)
	}
	return r, os.RemoveAll(o.Dir)
}

// live is the whole life of the server.
func (s *soak) live(ctx context.Context) (samples []Sample, err error) {
	left, err := adopt()
	if err != nil {
		return nil, err
	}
	defer left.release()
	if s.node, err = NewNode(s.o.Binary, s.o.Dir); err != nil {
		return nil, err
	}
	s.life.node = s.node
	defer s.node.Kill() // it lives on only if something was wrong
	if s.apps, err = newApps(ctx, s.node); err != nil {
		return nil, err
	}
	s.apps.retention = soakRetention
	s.life.apps = s.apps
	if err := s.node.Start(); err != nil {
		return nil, err
	}
	if err := s.node.Ready(ctx, readyTime); err != nil {
		return nil, err
	}
	if s.c, err = s.node.Client(4); err != nil {
		return nil, err
	}
	defer s.c.CloseIdle()
	if err := s.deploy(ctx, 0); err != nil {
		return nil, err
	}
	samples = s.load(ctx)
	s.settle(ctx)
	if err := s.node.Stop(drainTime); err != nil {
		s.life.fault("%v", err)
	}
	if left := orphans(0); len(left) > 0 {
		s.life.fault("processes are left: %v", left)
	}
	return samples, errors.Join(s.life.faults(), ctx.Err())
}

// samplesMin is how many samples a trend takes at least.
const samplesMin = 10

// load keeps the server busy for as long as it is told to, or until there are enough samples.
func (s *soak) load(ctx context.Context) (samples []Sample) {
	begun := time.Now()
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	for part, w := range []struct {
		every time.Duration
		work  func(context.Context, int, *rand.Rand) error
	}{
		{100 * time.Millisecond, s.invoke},
		{250 * time.Millisecond, s.run},
		{250 * time.Millisecond, s.run},
		{300 * time.Millisecond, s.failing},
		{500 * time.Millisecond, s.stream},
		{time.Second, s.follow},
		{3 * time.Second, s.changing},
		{15 * time.Second, s.backup},
	} {
		rng := s.life.random(uint64(part))
		workers.Go(func() {
			for i := 0; s.life.pause(working, w.every); i++ {
				// What has begun may end, so that its result can be looked at.
				one, cancel := context.WithTimeout(ctx, time.Minute)
				if err := w.work(one, i, rng); err != nil && ctx.Err() == nil {
					s.life.fault("%v", err)
				}
				cancel()
			}
		})
	}
	every := max(s.o.For/600, 250*time.Millisecond)
	for (time.Since(begun) < s.o.For || len(samples) < samplesMin) && s.life.pause(working, every) {
		m, err := sample(ctx, s.node, s.c, time.Since(begun))
		if err != nil {
			s.life.fault("measure: %v", err)
			break
		}
		samples = append(samples, m)
		if len(samples)%60 == 0 {
			s.o.Log("%v: %+v", m.At.Round(time.Second), m)
		}
	}
	stop()
	if s.life.failed() {
		abort()
	}
	workers.Wait()
	return samples
}

// settle waits until the server has nothing to do, which has to come soon after
// the last client has gone.
func (s *soak) settle(ctx context.Context) {
	s.c.CloseIdle()
	for deadline := time.Now().Add(time.Minute); ; {
		st, err := s.c.Stats(ctx)
		if err == nil && st.Runs.Active == 0 && st.Calls.Running == 0 && st.Calls.Waiting == 0 && st.Sandboxes.Busy == 0 {
			s.o.Log("at rest: %+v", st.Process)
			return
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			s.life.fault("a minute after the last client has gone there are %+v, %+v, %+v, %v", st.Runs, st.Calls, st.Sandboxes, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// invoke calls a function and looks at what it gives.
func (s *soak) invoke(ctx context.Context, i int, rng *rand.Rand) error {
	in := map[string]any{"n": float64(rng.IntN(1_000_000)), "pad": strings.Repeat("x", rng.IntN(20_000))}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	out, err := s.c.Invoke(ctx, client.InvokeRequest{App: chaosApp, Function: workload.Mix, Body: bytes.NewReader(body)})
	if err != nil {
		return fmt.Errorf("invoke %s: %w", workload.Mix, err)
	}
	defer out.Close()
	got, err := io.ReadAll(out)
	if err != nil {
		return fmt.Errorf("invoke %s: %w", workload.Mix, err)
	}
	want, err := json.Marshal(workload.Compute(workload.Mix, workload.Mix, 1, in, nil).Output)
	if err != nil {
		return err
	}
	if !bytes.Equal(bytes.TrimSpace(got), want) {
		return fmt.Errorf("invocation %d of %s gives %.200q, want %.200q", i, workload.Mix, got, want)
	}
	s.invocations.Add(1)
	return nil
}

// failing calls a function that fails, and one that is not there.
func (s *soak) failing(ctx context.Context, i int, _ *rand.Rand) error {
	f := []string{workload.Fail, "nothing"}[i%2]
	out, err := s.c.Invoke(ctx, client.InvokeRequest{App: chaosApp, Function: f, Body: strings.NewReader("{}")})
	if err == nil {
		out.Close()
		return fmt.Errorf("function %s has not failed", f)
	}
	var e *client.Error
	if !errors.As(err, &e) || f == workload.Fail && e.Kind != workload.KindExit || f != workload.Fail && !gone(err) {
		return fmt.Errorf("function %s failed in another way: %w", f, err)
	}
	s.failures.Add(1)
	return nil
}

// run starts a run, signals it, and looks at what it gives.
func (s *soak) run(ctx context.Context, _ int, rng *rand.Rand) error {
	p := s.life.newPatron(int(s.runs.Add(1)), rng)
	p.live(ctx)
	if _, status, over := p.where(); !over && ctx.Err() != nil {
		return fmt.Errorf("run %s is %s after a minute", p.run.ID, status)
	}
	return nil
}

// stream reads the beginning of a function's output and goes away.
func (s *soak) stream(ctx context.Context, _ int, rng *rand.Rand) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	out, err := s.c.Invoke(ctx, client.InvokeRequest{App: chaosApp, Function: drip, Body: strings.NewReader("{}"), Stream: true})
	if err != nil {
		return fmt.Errorf("stream %s: %w", drip, err)
	}
	defer out.Close()
	digest := workload.Digest([]any{drip, map[string]any{}})
	want := ""
	for i := range 50 {
		want += fmt.Sprintf("%s %d\n", digest, i)
	}
	part := make([]byte, rng.IntN(len(want)+1))
	if _, err := io.ReadFull(out, part); err != nil {
		return fmt.Errorf("stream %s: %w", drip, err)
	}
	if string(part) != want[:len(part)] {
		return fmt.Errorf("stream %s gives %.100q", drip, part)
	}
	s.streams.Add(1)
	return nil
}

// follow watches the events and logs of a run, and goes away before its end.
func (s *soak) follow(ctx context.Context, i int, rng *rand.Rand) error {
	runs, _, err := s.c.Runs(ctx, engine.Filter{App: chaosApp, Limit: 5})
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	if len(runs) == 0 {
		return nil
	}
	id := runs[rng.IntN(len(runs))].ID
	ctx, leave := context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
	defer leave()
	err = nil
	if i%2 == 0 {
		for _, e := range s.c.Events(ctx, id, 0) {
			err = e
		}
	} else {
		for _, e := range s.c.Logs(ctx, id, true) {
			err = e
		}
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow run %s: %w", id, err)
	}
	s.followed.Add(1)
	return nil
}

// versionsKept is how many versions of the app there are, those in use apart.
// versionsMade bounds how many different ones there are.
const versionsKept, versionsMade = 3, 50

// changing deploys another version of the app and deletes old ones.
func (s *soak) changing(ctx context.Context, i int, _ *rand.Rand) error { return s.deploy(ctx, i+1) }

func (s *soak) deploy(ctx context.Context, i int) error {
	v, err := s.apps.random(chaosApp, s.o.Seed+uint64(i%versionsMade))
	if err != nil {
		return err
	}
	d, err := s.c.Deploy(ctx, v.bundle, true)
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	if d.ID != v.id || !d.Active {
		return fmt.Errorf("deployed version %s of content %s, active: %v", d.ID, v.id, d.Active)
	}
	s.deployments.Add(1)
	versions, err := s.c.Versions(ctx, chaosApp)
	if err != nil {
		return fmt.Errorf("list versions: %w", err)
	}
	for _, old := range versions[min(versionsKept, len(versions)):] {
		if err := s.c.DeleteVersion(ctx, chaosApp, old.ID); err != nil && problem(err) != "urn:weft:in-use" {
			return fmt.Errorf("delete version %s: %w", old.ID, err)
		}
	}
	return nil
}

// backup takes a backup, or half of one.
func (s *soak) backup(ctx context.Context, i int, _ *rand.Rand) error {
	r, err := s.c.Backup(ctx)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer r.Close()
	if i%2 == 0 {
		_, err = io.CopyN(io.Discard, r, 1<<16)
	} else {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}
