package trigger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/internal/trigger"
)

// errDead is what a process gets from the world after its death.
var errDead = errors.New("the process is dead")

// world is what a Cron talks to: a store and an engine that outlive it. It can let
// the process die at any of the calls.
type world struct {
	*memory.Store

	mu      sync.Mutex
	calls   int // so far
	last    int // the call at which the process dies; 0: it does not
	dead    bool
	keys    []string           // of the runs, in their order
	running map[string]bool    // runs in progress, by key, which is their ID
	length  time.Duration      // of a run
	refuse  func(string) error // a start, by key
	tried   atomic.Int32       // calls of Start
}

func newWorld(seed uint64) *world {
	return &world{Store: memory.New(memory.Options{Manual: true, Seed: seed}), running: map[string]bool{}}
}

// call counts a call, and says whether the process is dead.
func (w *world) call() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.calls == w.last {
		w.dead = true
	}
	if w.dead {
		return errDead
	}
	return nil
}

func (w *world) Append(ctx context.Context, b *store.Batch) (store.Version, error) {
	if err := w.call(); err != nil {
		return 0, err
	}
	return w.Store.Append(ctx, b)
}

func (w *world) Durable(ctx context.Context, v store.Version) error {
	if err := w.call(); err != nil {
		return err
	}
	w.Sync()
	if err := w.call(); err != nil {
		return err
	}
	return w.Store.Durable(ctx, v)
}

func (w *world) start(_ context.Context, j trigger.Job, due time.Time, key string) (string, error) {
	if want := "cron/" + j.App + "/" + j.Name + "/" + due.UTC().Format(time.RFC3339); key != want {
		return "", fmt.Errorf("key %s, want %s", key, want)
	}
	if err := w.call(); err != nil {
		return "", err
	}
	w.mu.Lock()
	w.tried.Add(1)
	if w.refuse != nil {
		if err := w.refuse(key); err != nil {
			w.mu.Unlock()
			return "", err
		}
	}
	if !slices.Contains(w.keys, key) {
		w.keys = append(w.keys, key)
		w.running[key] = w.length > 0
		if w.length > 0 {
			time.AfterFunc(w.length, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.running[key] = false
			})
		}
	}
	w.mu.Unlock()
	return key, w.call()
}

func (w *world) isRunning(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[id]
}

// runs lists what has started since the last call, as "NAME HH:MM".
func (w *world) runs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, key := range w.keys {
		part := strings.Split(key, "/")
		due, err := time.Parse(time.RFC3339, part[3])
		if err != nil {
			panic(err)
		}
		out = append(out, part[2]+" "+due.Format("15:04"))
	}
	w.keys = nil
	return strings.Join(out, ", ")
}

// revive is the machine after a death.
func (w *world) revive() {
	w.Crash()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.last = false, 0
}

// process is one life of a Cron.
type process struct {
	*trigger.Cron
	end func() error // ends Run and gives its error
}

// boot makes a Cron with jobs and runs it.
func (w *world) boot(t *testing.T, jobs ...trigger.Job) (*process, error) {
	t.Helper()
	c, err := trigger.NewCron(trigger.Options{Store: w, Start: w.start, Running: w.isRunning, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "shop", jobs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return &process{c, func() error { cancel(); return <-done }}, nil
}

func (w *world) mustBoot(t *testing.T, jobs ...trigger.Job) *process {
	t.Helper()
	p, err := w.boot(t, jobs...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func job(name, expr string) trigger.Job {
	return trigger.Job{Name: name, Schedule: trigger.Schedule{Expr: expr}}
}

// until lets time pass up to a time of the first day, which begins with the test.
func until(t *testing.T, clock string) {
	t.Helper()
	d, err := time.ParseDuration(strings.Replace(clock, ":", "h", 1) + "m")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)))
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

func (w *world) expect(t *testing.T, want string) {
	t.Helper()
	if got := w.runs(); got != want {
		t.Errorf("started %q, want %q", got, want)
	}
}

func TestCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		p := w.mustBoot(t, job("a", "0 * * * *"), job("b", "*/30 * * * *"))
		until(t, "0:29")
		w.expect(t, "") // a job that is new starts nothing for the time of its birth
		until(t, "1:00")
		w.expect(t, "b 00:30, a 01:00, b 01:00")

		// A job that stays goes on, one that is left out ends, a new one begins.
		if err := p.Set(t.Context(), "shop", []trigger.Job{job("b", "*/30 * * * *"), job("c", "15 * * * *")}); err != nil {
			t.Fatal(err)
		}
		until(t, "2:00")
		w.expect(t, "c 01:15, b 01:30, b 02:00")

		// What comes back, or has another schedule, starts nothing for the past.
		if err := p.Set(t.Context(), "shop", []trigger.Job{job("a", "0 * * * *"), job("b", "*/20 * * * *")}); err != nil {
			t.Fatal(err)
		}
		until(t, "2:59")
		w.expect(t, "b 02:20, b 02:40")
		status := p.Jobs("shop")
		if len(status) != 2 || status[0].Name != "a" || status[1].Run != "cron/shop/b/2000-01-01T02:40:00Z" || status[1].Next.Format("15:04") != "03:00" {
			t.Errorf("status: %+v", status)
		}

		if err := p.Forget(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		until(t, "5:00")
		w.expect(t, "")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		p = w.mustBoot(t, job("a", "0 * * * *"))
		until(t, "6:30")
		w.expect(t, "a 06:00") // forgotten, so new
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestJobsThatAreRefused(t *testing.T) {
	w := newWorld(1)
	c, err := trigger.NewCron(trigger.Options{Store: w, Start: w.start})
	if err != nil {
		t.Fatal(err)
	}
	bad := trigger.Job{Name: strings.Repeat("n", 129), Schedule: trigger.Schedule{Expr: "0 0 30 2"}, Overlap: "x", Missed: "y"}
	err = c.Set(t.Context(), "shop", []trigger.Job{job("a", "* * * * *"), job("a", "* * * * *"), bad})
	for _, want := range []string{`two jobs of app shop are called "a"`, "1 to 128 bytes", `cron expression "0 0 30 2"`, `overlap is "x"`, `missed is "y"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
	if jobs := c.Jobs(""); len(jobs) != 0 {
		t.Errorf("refused, but there: %v", jobs)
	}
	if err := c.Set(t.Context(), "shop", []trigger.Job{job("never", "0 0 30 2 *")}); err != nil || !c.Jobs("")[0].Next.IsZero() {
		t.Errorf("a job that is never due: %v, %+v", err, c.Jobs(""))
	}
	for _, app := range []string{"", "a/b", "a\n", strings.Repeat("a", 64)} {
		if c.Set(t.Context(), app, nil) == nil || c.Forget(t.Context(), app) == nil {
			t.Errorf("app %q is taken", app)
		}
	}
	if _, err := trigger.NewCron(trigger.Options{}); err == nil {
		t.Error("a Cron without a store")
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		overlap trigger.Overlap
		want    string
	}{
		{"", "a 00:10, a 00:40, a 01:10"},
		{trigger.OverlapQueue, "a 00:10, a 00:20, a 00:30"},
		{trigger.OverlapAllow, "a 00:10, a 00:20, a 00:30, a 00:40, a 00:50, a 01:00, a 01:10"},
	} {
		t.Run(string(c.overlap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(1)
				w.length = 25 * time.Minute
				j := job("a", "*/10 * * * *")
				j.Overlap = c.overlap
				p := w.mustBoot(t, j)
				until(t, "1:12")
				w.expect(t, c.want)
				if err := p.end(); err != nil {
					t.Errorf("Run: %v", err)
				}
				time.Sleep(w.length)
			})
		})
	}
}

// Times that wait for a run to end outlive the process, and are not counted as
// missed.
func TestQueueOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.length = 55 * time.Minute
		j := job("a", "*/10 * * * *")
		j.Overlap, j.Missed = trigger.OverlapQueue, trigger.MissedSkip
		p := w.mustBoot(t, j)
		until(t, "0:35") // 00:10 runs, 00:20 and 00:30 wait
		if got := p.Jobs("shop")[0].Owed; got != 2 {
			t.Errorf("%d are owed, want 2", got)
		}
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		w.revive()
		until(t, "0:55")
		p = w.mustBoot(t, j)
		until(t, "3:30")
		w.expect(t, "a 00:10, a 00:20, a 00:30, a 01:00") // 00:40 and 00:50 were missed
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		time.Sleep(w.length)
	})
}

func TestMissed(t *testing.T) {
	for _, c := range []struct {
		missed trigger.Missed
		want   string
	}{
		{"", "a 03:00, a 03:30"},
		{trigger.MissedSkip, "a 03:30"},
		{trigger.MissedAll, "a 01:00, a 01:30, a 02:00, a 02:30, a 03:00, a 03:30"},
	} {
		t.Run(string(c.missed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(1)
				j := job("a", "*/30 * * * *")
				j.Missed = c.missed
				p := w.mustBoot(t, j)
				until(t, "0:40")
				w.expect(t, "a 00:30")
				if err := p.end(); err != nil {
					t.Errorf("Run: %v", err)
				}
				until(t, "3:10")
				p = w.mustBoot(t, j)
				until(t, "3:40")
				w.expect(t, c.want)
				if err := p.end(); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// A node that is back within a minute has missed nothing, whatever the policy.
func TestRestartIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		j := job("a", "0 1 * * *")
		j.Missed = trigger.MissedSkip
		p := w.mustBoot(t, j)
		until(t, "0:59")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		until(t, "1:00")
		time.Sleep(50 * time.Second)
		p = w.mustBoot(t, j)
		until(t, "2:00")
		w.expect(t, "a 01:00")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAllMissedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		j := job("a", "* * * * *")
		j.Missed, j.Overlap = trigger.MissedAll, trigger.OverlapAllow
		if err := w.mustBoot(t, j).end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		time.Sleep(365*24*time.Hour + 10*time.Second)
		p := w.mustBoot(t, j)
		synctest.Wait()
		if got := strings.Split(w.runs(), ", "); len(got) != trigger.MissedMax || got[0] != "a 22:21" || got[99] != "a 00:00" {
			t.Errorf("%d runs: %v", len(got), got)
		}
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A start that fails is tried again, and given up when the next time comes.
func TestStartThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		var failing atomic.Bool
		failing.Store(true)
		w.refuse = func(key string) error {
			if failing.Load() {
				return errors.New("full")
			}
			return nil
		}
		p := w.mustBoot(t, job("a", "*/10 * * * *"))
		until(t, "0:12")
		failing.Store(false)
		until(t, "0:14")
		w.expect(t, "a 00:10")
		if n := w.tried.Load(); n < 6 || n > 10 {
			t.Errorf("%d calls in two minutes", n)
		}

		failing.Store(true)
		until(t, "0:35")
		failing.Store(false)
		until(t, "0:37")
		w.expect(t, "a 00:30")

		// It is owed through a death as well.
		failing.Store(true)
		until(t, "0:43")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		w.revive()
		failing.Store(false)
		p = w.mustBoot(t, job("a", "*/10 * * * *"))
		until(t, "0:45")
		w.expect(t, "a 00:40")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A start that hangs is given up and tried again, and the job that it is for can
// be changed meanwhile.
func TestStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		var hang atomic.Bool
		hang.Store(true)
		c, err := trigger.NewCron(trigger.Options{Store: w, Start: func(ctx context.Context, j trigger.Job, due time.Time, key string) (string, error) {
			if hang.Load() {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return w.start(ctx, j, due, key)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), "shop", []trigger.Job{job("a", "*/10 * * * *")}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		until(t, "0:10")
		if err := c.Set(t.Context(), "shop", []trigger.Job{job("a", "*/10 * * * *"), job("b", "5 * * * *")}); err != nil {
			t.Fatal(err)
		}
		hang.Store(false)
		until(t, "0:19")
		w.expect(t, "a 00:10")

		hang.Store(true)
		until(t, "0:20")
		if err := c.Forget(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		hang.Store(false)
		until(t, "2:00")
		w.expect(t, "")
		hang.Store(true)
		if err := c.Set(t.Context(), "shop", []trigger.Job{job("a", "*/10 * * * *")}); err != nil {
			t.Fatal(err)
		}
		until(t, "2:10")
		cancel() // in the middle of a start
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		p := w.mustBoot(t, job("a", "*/10 * * * *"))
		w.Inject(func(string) error { return errors.New("disk") })
		until(t, "1:00")
		if err := p.end(); !errors.Is(err, store.ErrFailed) {
			t.Errorf("Run: %v", err)
		}
		w.expect(t, "") // nothing starts that is not durably owed
		if err := p.Set(t.Context(), "shop", []trigger.Job{job("b", "*/10 * * * *")}); !errors.Is(err, store.ErrFailed) {
			t.Errorf("Set: %v", err)
		}
	})
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	for value, want := range map[string]string{"": "damaged", "\x00{}": "damaged", "\x01{": "damaged", "\x02{}": "newer version"} {
		w := newWorld(1)
		var b store.Batch
		b.Put([]byte("cron/shop/a"), []byte(value))
		if _, err := w.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		_, err := w.boot(t, job("a", "* * * * *"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `job "a" of app shop`) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// A job that has started by a clock that was days ahead does not wait for that day.
func TestClockThatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		var b store.Batch
		b.Put([]byte("cron/shop/a"), []byte("\x01"+`{"expr":"0 * * * *","zone":"UTC","last":"2031-01-01T00:00:00Z"}`))
		b.Put([]byte("cron/shop/b"), []byte("\x01"+`{"expr":"0 * * * *","zone":"UTC","last":"2000-01-01T02:00:00Z"}`))
		if _, err := w.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		p := w.mustBoot(t, job("a", "0 * * * *"), job("b", "0 * * * *"))
		until(t, "3:30") // b has started for its times until two o'clock
		w.expect(t, "a 01:00, a 02:00, a 03:00, b 03:00")
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A place's clock decides when a job is due, and the key says it in UTC.
func TestZone(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		p := w.mustBoot(t, trigger.Job{Name: "a", Schedule: trigger.Schedule{Expr: "0 3 * * *", Zone: berlin}})
		until(t, "4:00")
		w.expect(t, "a 02:00")
		if next := p.Jobs("")[0].Next.Format(time.RFC3339); next != "2000-01-02T03:00:00+01:00" {
			t.Errorf("next: %s", next)
		}
		if err := p.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
