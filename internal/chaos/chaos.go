package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
)

// Options say what a server has to live through.
type Options struct {
	Binary string // weft, as it is installed
	// Dir is where everything is. Default: a new folder in $TMPDIR. It is removed
	// in the end, unless something was wrong.
	Dir  string
	Seed uint64
	For  time.Duration // until nothing is killed any more; default a minute
	// Runs is how many are started. Default: 1,000 in a minute, and at most 20,000.
	Runs int
	// Every is the time from kill to kill, on average. Default 2 s.
	Every time.Duration
	// Log, if it is not nil, is told what happens.
	Log func(format string, args ...any)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.For <= 0 {
		o.For = time.Minute
	}
	if o.Runs <= 0 {
		o.Runs = min(max(int(1000*o.For/time.Minute), 20), 20_000)
	}
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
}

// Report counts what has happened.
type Report struct {
	Runs, Kills, Drains                                       int
	Succeeded, Cancelled, Retried, Pauses, Signals, Again     int
	Deployments, Backups, Buffers, Repeated, Executions, Told int
}

// life is what an observer of the server knows.
type life struct {
	o     Options
	node  *Node
	apps  *apps
	begun time.Time
	count struct {
		kills, drains, retried, pauses, signals, again, deployments, backups, buffers, repeated, told, executions atomic.Int64
	}

	mu      sync.Mutex // guards the rest
	patrons []*patron
	wrong   []error
}

// Run lets a server live, and die many times, and says what was wrong: the seed
// and the folder with all that is left are in the error.
func Run(ctx context.Context, o Options) (Report, error) {
	o.EnsureDefaults()
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "weft-chaos-")
		if err != nil {
			return Report{}, fmt.Errorf("make folder: %w", err)
		}
		o.Dir = dir
	}
	l := &life{o: o, begun: time.Now()}
	if err := l.live(ctx); err != nil {
		return l.report(), fmt.Errorf("seed %d, see %s: %w", o.Seed, o.Dir, err)
	}
	return l.report(), os.RemoveAll(o.Dir)
}

// report sums up.
func (l *life) report() Report {
	n := func(c *atomic.Int64) int { return int(c.Load()) }
	c := &l.count
	r := Report{
		Kills: n(&c.kills), Drains: n(&c.drains), Retried: n(&c.retried), Pauses: n(&c.pauses), Signals: n(&c.signals), Again: n(&c.again),
		Deployments: n(&c.deployments), Backups: n(&c.backups), Buffers: n(&c.buffers), Repeated: n(&c.repeated), Told: n(&c.told),
	}
	for _, p := range l.all() {
		r.Runs++
		switch _, status, _ := p.where(); status {
		case engine.Cancelled:
			r.Cancelled++
		case engine.Succeeded:
			r.Succeeded++
		}
	}
	r.Executions = n(&c.executions)
	return r
}

func (l *life) all() []*patron {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*patron(nil), l.patrons...)
}

// fault notes what is wrong. The first few things are enough.
func (l *life) fault(format string, args ...any) {
	err := fmt.Errorf("after %v: "+format, append([]any{time.Since(l.begun).Round(time.Millisecond)}, args...)...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 10 {
		l.wrong = append(l.wrong, err)
		l.o.Log("WRONG: %v", err)
	}
}

// faults is what was wrong so far.
func (l *life) faults() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.wrong...)
}

// failed reports whether it makes sense to go on.
func (l *life) failed() bool { return l.faults() != nil }

// random is a source of chance of its own for a part of the life.
func (l *life) random(part uint64) *rand.Rand { return rand.New(rand.NewPCG(l.o.Seed, part)) }

// Parts that have chance of their own; patrons have theirs from patronPart on.
const (
	killerPart = iota
	deployerPart
	pacePart
	patronPart = 1000
)

// Bounds of what a healthy server, on a busy machine, may take.
const (
	readyTime = 60 * time.Second // to start, with many runs to go on with
	drainTime = 60 * time.Second // to end
	calmTime  = 5 * time.Minute  // until all runs have ended, once nothing is killed
)

// live does it all.
func (l *life) live(ctx context.Context) (err error) {
	left, err := adopt()
	if err != nil {
		return err
	}
	defer left.release()
	if l.node, err = NewNode(l.o.Binary, l.o.Dir); err != nil {
		return err
	}
	defer func() { l.node.Kill() }() // it lives on only if something was wrong
	if l.apps, err = newApps(ctx, l.node); err != nil {
		return err
	}
	if err := l.node.Start(); err != nil {
		return err
	}
	if err := l.node.Ready(ctx, readyTime); err != nil {
		return err
	}
	first, err := l.versions(ctx)
	if err != nil {
		return err
	}
	l.torment(ctx, first)
	if l.failed() || ctx.Err() != nil {
		return errors.Join(l.faults(), ctx.Err())
	}
	l.check(ctx)
	if err := l.node.Stop(drainTime); err != nil {
		l.fault("%v", err)
	}
	l.remains(left)
	return l.faults()
}

// torment starts runs and kills the server, until all of them have ended.
func (l *life) torment(ctx context.Context, versions []*version) {
	over := time.Now().Add(l.o.For)
	meddling, stop := context.WithCancel(ctx)
	var meddlers, patrons sync.WaitGroup
	meddlers.Go(func() { l.killer(over) })
	meddlers.Go(func() { l.deployer(meddling, versions) })
	meddlers.Go(func() { l.spare(meddling) })
	meddlers.Go(func() { l.backups(meddling) })
	rng := l.random(pacePart)
	busy := make(chan struct{}, patronsMax)
	pause := l.o.For * 7 / 10 / time.Duration(l.o.Runs)
	begun := time.Now()
	calm, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := 0; i < l.o.Runs && !l.failed() && ctx.Err() == nil; i++ {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * pause)))
		busy <- struct{}{}
		p := l.patron(i, rng)
		patrons.Go(func() {
			defer func() { <-busy }()
			p.live(calm)
		})
	}
	for time.Now().Before(over) && !l.failed() && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	meddlers.Wait()
	l.o.Log("calm: %+v", l.report())
	ended := make(chan struct{})
	go func() {
		patrons.Wait()
		close(ended)
	}()
	limit := time.Now().Add(calmTime)
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		case <-time.After(100 * time.Millisecond):
			if time.Now().After(limit) {
				l.fault("%d runs have not ended %v after the last kill: %v", len(l.unended()), calmTime, l.unended())
			}
			if l.failed() {
				cancel()
			}
		}
	}
}

// patronsMax bounds the runs that are under way at a time.
const patronsMax = 60

// killer lets the server die, in many ways.
func (l *life) killer(over time.Time) {
	rng := l.random(killerPart)
	for !l.failed() {
		time.Sleep(l.o.Every/2 + upTo(rng, l.o.Every))
		if time.Now().After(over) {
			return
		}
		if rng.IntN(5) == 0 {
			l.drain(rng)
		} else if !l.kill() {
			return
		}
		// It is started at once, or after a while, and may die in its start.
		if rng.IntN(3) == 0 {
			time.Sleep(upTo(rng, 300*time.Millisecond))
		}
		for range []int{0, 0, 1, 3}[rng.IntN(4)] {
			if !l.start() {
				return
			}
			time.Sleep(upTo(rng, 500*time.Millisecond))
			if !l.kill() {
				return
			}
		}
		if !l.start() {
			return
		}
		if err := l.node.Ready(context.Background(), readyTime); err != nil {
			l.fault("%v", err)
			return
		}
	}
}

// upTo is a random part of a duration.
func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

func (l *life) start() bool {
	if err := l.node.Start(); err != nil {
		l.fault("%v", err)
		return false
	}
	l.o.Log("started %d", l.node.Pid())
	return true
}

func (l *life) kill() bool {
	pid := l.node.Pid()
	if err := l.node.Kill(); err != nil {
		l.fault("%v", err)
		return false
	}
	l.count.kills.Add(1)
	l.o.Log("killed %d", pid)
	if left := orphans(0); len(left) > 0 {
		l.fault("processes of server %d live on after its death: %v", pid, left)
		return false
	}
	return true
}

// drain tells the server to end, and may lose patience.
func (l *life) drain(rng *rand.Rand) {
	l.count.drains.Add(1)
	pid := l.node.Pid()
	l.node.Terminate()
	if rng.IntN(2) == 0 {
		time.Sleep(upTo(rng, 200*time.Millisecond))
		p := l.node.life()
		select {
		case <-p.ended:
		default:
			l.o.Log("killed %d, which was told to end", pid)
			l.count.kills.Add(1)
			p.cmd.Process.Kill()
			<-p.ended
			l.node.bury()
			return
		}
	}
	if err := l.node.Ended(drainTime); err != nil {
		l.fault("%v", err)
	}
	l.o.Log("ended %d", pid)
	if left := orphans(0); len(left) > 0 {
		l.fault("processes of server %d live on after its end: %v", pid, left)
	}
}

// away reports whether an error is what a client has to expect of a server that
// dies: no answer, half an answer, or that it is busy. Whatever else goes wrong
// is wrong.
func away(err error) bool {
	switch client.Status(err) {
	case 0, 429, 503:
		return err != nil
	}
	return false
}

// problem is the kind of problem that an answer is, such as "urn:weft:ended".
func problem(err error) string {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Type
	}
	return ""
}

// insist repeats a request until it has an answer that is not expected of a dying
// server; nil if ctx ended first.
func insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if !away(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20*time.Millisecond + rand.N(60*time.Millisecond)):
		}
	}
}

// gateFile is the file that opens a gate.
func (l *life) gateFile(name string) string { return filepath.Join(l.node.path("log"), name) }

// adopt makes this process the one that orphans fall to, so that what outlives a
// server is seen.
func adopt() (*adopted, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the parent of orphans: %w", err)
	}
	return &adopted{mounts: mounts()}, nil
}
