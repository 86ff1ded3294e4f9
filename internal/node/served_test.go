package node_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/trigger"
)

// Calls go on while versions come and go under them, and each has one version
// from its beginning to its end.
func TestCallsWhileVersionsChange(t *testing.T) {
	s := serve(t, t.TempDir())
	if err := s.Secrets.Set(t.Context(), "test", "key", []byte("secret-0")); err != nil {
		t.Fatal(err)
	}
	version := func(i int) string {
		return actorApp(fmt.Sprintf(", env: {A: \"%d\", B: \"%d\"}, secrets: [{name: key, env: KEY}]", i, i))
	}
	deploy(t, s, version(0))
	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				out, err := invoke(t.Context(), s, "f", "env A;sleep 1;env B")
				a, b, _ := strings.Cut(out, `","`)
				if err != nil || strings.Trim(a, `["]`)[len("env A: "):] != strings.Trim(b, `["]`)[len("env B: "):] {
					t.Errorf("a call: %s, %v", out, err)
					return
				}
			}
		})
	}
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, _, err := s.Runs.Start(t.Context(), engine.StartRequest{App: "test", Workflow: "main", Input: map[string]any{"do": "env A"}})
			if err == nil {
				r, err = s.Runs.Wait(t.Context(), r.ID)
			}
			if err != nil || r.Status != engine.Succeeded {
				t.Errorf("a run: %+v, %v", r, err)
				return
			}
		}
	})
	var last registry.Version
	for i := 1; i <= 9; i++ {
		v := deploy(t, s, version(i))
		switch i % 3 {
		case 0:
			if _, err := s.Apps.Rollback(t.Context(), "test"); err != nil {
				t.Error(err)
			}
			if err := s.Apps.DeleteVersion(t.Context(), "test", v.ID); err != nil && !errors.Is(err, registry.ErrInUse) {
				t.Error(err)
			}
		case 1:
			if err := s.Secrets.Set(t.Context(), "test", "key", fmt.Appendf(nil, "secret-%d", i)); err != nil {
				t.Error(err)
			}
			s.Refresh("test")
			if out := mustInvoke(t, s, "f", "env KEY"); out != fmt.Sprintf(`["env KEY: secret-%d"]`, i) {
				t.Errorf("after a change of the secret: %s", out)
			}
		case 2:
			if err := s.Apps.DeleteVersion(t.Context(), "test", last.ID); err != nil && !errors.Is(err, registry.ErrInUse) {
				t.Error(err)
			}
		}
		last = v
	}
	close(stop)
	work.Wait()
}

// deployments is how many versions TestDeploymentsLeaveNothing deploys.
func deployments() int {
	if n, err := strconv.Atoi(os.Getenv("WEFT_TEST_DEPLOYMENTS")); err == nil {
		return n
	}
	return 30
}

// However many versions come and go: descriptors and goroutines are those of the
// ones that are served.
func TestDeploymentsLeaveNothing(t *testing.T) {
	s := serve(t, t.TempDir())
	version := func(i int) string { return actorApp(fmt.Sprintf(", env: {N: \"%d\"}", i)) }
	round := func(i int) {
		v := deploy(t, s, version(i))
		if out := mustInvoke(t, s, "f", "env N"); out != fmt.Sprintf(`["env N: %d"]`, i) {
			t.Fatalf("version %d: %s", i, out)
		}
		if r := ended(t, s, start(t, s, map[string]any{"do": "env N"}).ID); r.Status != engine.Succeeded || r.Version != v.ID {
			t.Fatalf("version %d: %+v", i, r)
		}
		if i%2 == 0 {
			s.Refresh("test")
		}
		if versions, err := s.Apps.Versions("test"); err != nil {
			t.Fatal(err)
		} else if len(versions) > 10 {
			if err := s.Apps.DeleteVersion(t.Context(), "test", versions[len(versions)-1].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := deployments()
	for i := range n / 6 {
		round(i)
	}
	before := take(t)
	for i := n / 6; i < n; i++ {
		round(i)
	}
	var files int
	if !eventually(func() bool { // hosts of versions that are gone end by themselves
		now := take(t)
		files = len(now.files)
		return files <= len(before.files)+10 && now.goroutines <= before.goroutines+20
	}) {
		t.Errorf("%d descriptors, there were %d; more of: %v", files, len(before.files), surplus(before.files, take(t).files))
	}
	t.Logf("after %d deployments: %d descriptors, after %d: %d", n/6, len(before.files), n, files)
}

// As many hosts are ready as the active version asks for, whichever way it has
// become active.
func TestReadyInstancesAreThoseOfTheActiveVersion(t *testing.T) {
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Idle = time.Second })
	ready := func(n int, when string) {
		t.Helper()
		if !eventually(func() bool { return s.Sandboxes().Idle == n }) {
			t.Errorf("%s: %d hosts wait, want %d", when, s.Sandboxes().Idle, n)
		}
	}
	two := deploy(t, s, actorApp(", instances: {ready: 2}, env: {N: two}"))
	ready(2, "deployed")
	prepared := s.Sandboxes().Prepared
	if prepared < 2 {
		t.Errorf("%d functions are prepared", prepared)
	}
	deploy(t, s, actorApp(", env: {N: none}"))
	ready(0, "another version")
	if _, err := s.Apps.Rollback(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	ready(2, "rolled back")
	three := deploy(t, s, actorApp(", instances: {ready: 3}, env: {N: three}"))
	ready(3, "a version with the same code")
	// A version that is asked for, but is not active, has none.
	out, err := s.Invoke(t.Context(), node.InvokeRequest{App: "test", Version: two.ID, Function: "f", Body: strings.NewReader("{}"), Size: 2})
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	s.Refresh("test")
	ready(3, "after a change of a secret")
	if _, err := s.Apps.Activate(t.Context(), "test", two.ID); err != nil {
		t.Fatal(err)
	}
	ready(2, "activated")
	if err := s.Apps.DeleteVersion(t.Context(), "test", three.ID); err != nil {
		t.Fatal(err)
	}
	ready(2, "a version with the same code is deleted")
	if err := s.Apps.Delete(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	ready(0, "deleted")
}

func TestCallsAtATime(t *testing.T) {
	s := serve(t, t.TempDir())
	deploy(t, s, actorApp(", instances: {max: 1, queue: 1}"))
	type answer struct {
		err error
	}
	answers := make(chan answer)
	call := func() {
		_, err := invoke(t.Context(), s, "f", "sleep 300")
		answers <- answer{err}
	}
	go call()
	if !eventually(func() bool { return s.Gate.Stats().Running == 1 }) {
		t.Fatal("the first call does not begin")
	}
	go call()
	if !eventually(func() bool { return s.Gate.Stats().Waiting == 1 }) {
		t.Fatal("the second call does not wait")
	}
	var full *admission.ErrFull
	if _, err := invoke(t.Context(), s, "f", "sleep 1"); !errors.As(err, &full) {
		t.Errorf("a third call: %v", err)
	}
	for range 2 {
		if a := <-answers; a.err != nil {
			t.Error(a.err)
		}
	}
}

// A client that is slow to send a small body keeps nobody waiting.
func TestASlowBodyTakesNoPlace(t *testing.T) {
	s := serve(t, t.TempDir())
	deploy(t, s, actorApp(", instances: {max: 1, queue: 1}"))
	input := `{"do": "sleep 1"}`
	r, w := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		out, err := s.Invoke(t.Context(), node.InvokeRequest{App: "test", Function: "f", Body: r, Size: int64(len(input))})
		if err == nil {
			out.Close()
		}
		slow <- err
	}()
	if _, err := io.WriteString(w, input[:5]); err != nil { // it is being read
		t.Fatal(err)
	}
	mustInvoke(t, s, "f", "sleep 1")
	if _, err := io.WriteString(w, input[5:]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), <-slow); err != nil {
		t.Error(err)
	}
}

// When a step starts, the functions of the next ones get ready.
func TestNextStepsArePrepared(t *testing.T) {
	const app = "functions: {a: {source: ACTOR}, b: {source: ACTOR}, c: {source: ACTOR}}\n" +
		"workflows: {main: {steps: {a: {call: a, with: {do: sleep 50}}, b: {call: b, needs: [a]}, c: {call: c, needs: [a]}}}}\n"
	for predict, want := range map[bool]uint64{true: 2, false: 0} {
		t.Run(fmt.Sprint(predict), func(t *testing.T) {
			s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Predict = predict })
			deploy(t, s, app)
			if r := ended(t, s, start(t, s, nil).ID); r.Status != engine.Succeeded {
				t.Fatalf("%+v", r)
			}
			if got := s.Sandboxes().Prepared; got != want {
				t.Errorf("%d functions were prepared, want %d", got, want)
			}
		})
	}
}

// An event starts its run once, whoever tells it how often, and whichever version
// of the app is active by then.
func TestAnEventThatIsToldAgain(t *testing.T) {
	s := serve(t, t.TempDir())
	app := func(with string) string {
		return actorApp("") + "triggers: [{name: orders, event: order.created, workflow: main, with: {do: \"" + with + "\"}}]\n"
	}
	deploy(t, s, app("env A"))
	ev := trigger.Event{ID: "1", Source: "/shop", SpecVersion: "1.0", Type: "order.created"}
	var mu sync.Mutex
	seen := map[string]int{}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			runs, err := s.Event(t.Context(), "test", ev, "")
			if err != nil || len(runs) != 1 {
				t.Errorf("%v, %v", runs, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[runs[0]]++
		})
	}
	work.Wait()
	deploy(t, s, app("env B"))
	runs, err := s.Event(t.Context(), "test", ev, "")
	if err != nil || len(runs) != 1 || seen[runs[0]] != 8 {
		t.Errorf("again: %v, %v; before: %v", runs, err, seen)
	}
	ev.ID = "2"
	if other, err := s.Event(t.Context(), "test", ev, ""); err != nil || len(other) != 1 || seen[other[0]] != 0 {
		t.Errorf("another event: %v, %v", other, err)
	}
	for _, id := range runs {
		ended(t, s, id)
	}
}

// A version is not deleted under a run that is just being accepted.
func TestRunsBeginWhileVersionsAreDeleted(t *testing.T) {
	s := serve(t, t.TempDir())
	for i := range 8 {
		one := deploy(t, s, actorApp(fmt.Sprintf(", env: {N: \"one %d\"}", i)))
		deploy(t, s, actorApp(fmt.Sprintf(", env: {N: \"two %d\"}", i)))
		var work sync.WaitGroup
		for range 3 {
			work.Go(func() {
				r, _, err := s.Runs.Start(t.Context(), engine.StartRequest{App: "test", Version: one.ID, Workflow: "main", Input: map[string]any{"do": "sleep 1"}})
				switch {
				case err == nil:
					r, err = s.Runs.Wait(t.Context(), r.ID)
					if err != nil || r.Status != engine.Succeeded {
						t.Errorf("an accepted run: %+v, %v", r, err)
					}
				case !errors.Is(err, registry.ErrNotFound):
					t.Error(err)
				}
			})
		}
		if err := s.Apps.DeleteVersion(t.Context(), "test", one.ID); err != nil && !errors.Is(err, registry.ErrInUse) {
			t.Error(err)
		}
		work.Wait()
	}
}
