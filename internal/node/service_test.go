package node_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/service/machine"
)

// call calls TARGET, which is service.method or service/object.method, with the
// arguments that follow it, as JSON.
func call(s *node.Server, key, target string, args ...string) (string, error) {
	name, method, _ := strings.Cut(target, ".")
	name, object, _ := strings.Cut(name, "/")
	c := node.ServiceCall{App: "test", Service: name, Object: object, Method: method, Key: key}
	for _, a := range args {
		c.Args = append(c.Args, []byte(a))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.CallService(ctx, c)
	return string(out), err
}

func mustCall(t *testing.T, s *node.Server, key, target string, args ...string) string {
	t.Helper()
	out, err := call(s, key, target, args...)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return out
}

func TestServices(t *testing.T) { onRuntimes(t, testServices) }

func testServices(t *testing.T, runtime string) {
	dir := t.TempDir()
	s := serve(t, dir, func(c *node.ServerConfig) { c.ValueMax = 32 << 10 })
	deploy(t, s, bankApp(t, runtime, ", timeout: 1s, attempts: 2"))
	for range 2 {
		if got := mustCall(t, s, "opening", "bank/ann.add", "100"); got != "100" {
			t.Fatalf("the balance is %s, want 100", got)
		}
	}
	mustCall(t, s, "", "teller.transfer", `"ann"`, `"bob"`, "30")
	if _, err := call(s, "", "teller.transfer", `"ann"`, `"bob"`, "80"); err == nil || err.Error() != "account ann has not so much" {
		t.Errorf("too much: %v", err)
	}
	for name, want := range map[string]string{"ann": "70", "bob": "30", "eve": "0"} {
		if got := mustCall(t, s, "", "bank/"+name+".get"); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
	self := mustCall(t, s, "", "teller.self")
	if again := mustCall(t, s, "", "teller.self"); again != self {
		t.Errorf("the instance was %s and is %s: it does not stay", self, again)
	}

	var refused *node.RefusedError
	var failed *node.MethodError
	for _, test := range []struct {
		target string
		args   []string
		is     any // error or type of error
		words  string
	}{
		{"teller.fail", nil, &failed, "it does not work"},
		{"teller.nothing", nil, &failed, "no method"},
		{"bank/ann.ad", []string{"1"}, engine.ErrNotFound, `service bank has no method "ad" (did you mean "add"?)`},
		{"bnk/ann.add", []string{"1"}, engine.ErrNotFound, `app test has no service "bnk" (did you mean "bank"?)`},
		{"bank.add", []string{"1"}, engine.ErrNotFound, "names none"},
		{"teller/x.self", nil, engine.ErrNotFound, "is not keyed"},
		{"teller.elsewhere", nil, &failed, `no service "other.bank"`},
		{"teller.echo", []string{`"` + strings.Repeat("x", 40<<10) + `"`, "1"}, node.ErrArguments, "at most 32768"},
		{"teller.echo", []string{`"x"`, "40000"}, &failed, "at most 32768"},
		{"teller.exit", nil, &refused, "2 attempts, the last one: function teller exited with status 3: gone fishing"},
		{"teller.hang", nil, &refused, "2 attempts, the last one: it took too long"},
		{"teller.open", nil, &refused, "2 attempts"},
	} {
		_, err := call(s, "", test.target, test.args...)
		is, _ := test.is.(error)
		if err == nil || !strings.Contains(err.Error(), test.words) || is != nil && !errors.Is(err, is) || is == nil && !errors.As(err, test.is) {
			t.Errorf("%s: %v, want %T with %q", test.target, err, test.is, test.words)
		}
	}
	if _, err := call(s, "opening", "bank/ann.add", "5"); !errors.Is(err, node.ErrOtherCall) {
		t.Errorf("the key of another call: %v", err)
	}
	if again := mustCall(t, s, "", "teller.self"); again == "" {
		t.Error("no instance after those that ended")
	}
	self = mustCall(t, s, "", "teller.self")
	s.Refresh("test")
	if again := mustCall(t, s, "", "teller.self"); again == self {
		t.Errorf("the instance %s is there after what it was started with has changed", again)
	}
	if left := s.Services.Locks(); len(left) > 0 {
		t.Errorf("locks are left: %v", left)
	}
	if _, err := call(s, "", "bank/locked.get"); err != nil {
		t.Error(err)
	}
}

func TestServicesAreSent(t *testing.T) { onRuntimes(t, testServicesAreSent) }

func testServicesAreSent(t *testing.T, runtime string) {
	dir := t.TempDir()
	before := take(t)
	t.Cleanup(func() { checkNothingLeft(t, before) })
	s := serveBeside(t, dir)
	v := deploy(t, s, bankApp(t, runtime, ""))
	id, err := s.SendService(t.Context(), node.ServiceCall{App: "test", Service: "teller", Method: "later", Args: [][]byte{[]byte("0"), []byte(`"ann"`), []byte("7")}})
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { out, err := call(s, "", "bank/ann.get"); return err == nil && out == "7" }) {
		t.Errorf("request %s has not happened", id)
	}
	hour := node.ServiceCall{App: "test", Service: "bank", Object: "bob", Method: "add", Args: [][]byte{[]byte("1")}, Key: "k", Delay: time.Hour}
	if id, err = s.SendService(t.Context(), hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = serveBeside(t, dir)
	all := s.Services.Requests()
	if len(all) != 1 || all[0].ID != id || all[0].State != machine.Delayed || all[0].Version != v.ID {
		t.Errorf("requests after a restart: %+v", all)
	}
	deploy(t, s, "functions: {f: {source: ACTOR}}\n")
	if err := s.Apps.DeleteVersion(t.Context(), "test", v.ID); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("a version with a request is deleted: %v", err)
	}
}

// Requests from outside are as many at a time as the app file says; more wait.
func TestServiceConcurrency(t *testing.T) {
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Admission = admission.Options{Wait: 10 * time.Millisecond} })
	deploy(t, s, bankApp(t, app.RuntimeNative, ", concurrency: 1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.CallService(ctx, node.ServiceCall{App: "test", Service: "teller", Method: "later", Args: [][]byte{[]byte("600000")}})
		done <- err
	}()
	if !eventually(func() bool { return len(s.Services.Requests()) == 1 }) {
		t.Fatal("the first request is not there")
	}
	var full *admission.ErrFull
	if _, err := call(s, "", "teller.self"); !errors.As(err, &full) {
		t.Errorf("a second request is not kept out: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone gets %v", err)
	}
	mustCall(t, s, "", "teller.self")
}

// What was acknowledged is there after the node was killed, and what is sent again
// happens once.
func TestServicesOfAKilledNode(t *testing.T) { onRuntimes(t, testServicesOfAKilledNode) }

func testServicesOfAKilledNode(t *testing.T, runtime string) {
	dir := t.TempDir()
	s := serveBeside(t, dir)
	deploy(t, s, bankApp(t, runtime, ""))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for range 3 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "WEFT_TEST_BANK="+dir, "WEFT_TEST_CACHE="+cache, "WEFT_TEST_FROM="+strconv.Itoa(asked), "TMPDIR="+t.TempDir())
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 50 && lines.Scan(); n++ {
			k, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("the node says %q", lines.Text())
			}
			asked = max(asked, k+1)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			if k, err := strconv.Atoi(lines.Text()); err == nil {
				asked = max(asked, k+1)
			}
		}
		cmd.Wait()
	}
	s = serveBeside(t, dir)
	had, err := strconv.Atoi(mustCall(t, s, "", "bank/killed.get"))
	if err != nil || had < 150 {
		t.Errorf("after 150 acknowledged requests the balance is %d, %v", had, err)
	}
	all := asked + 16 // more than a client can have asked for without our having heard of it
	for k := range all {
		mustCall(t, s, fmt.Sprint("k", k), "bank/killed.add", "1")
	}
	if got := mustCall(t, s, "", "bank/killed.get"); got != strconv.Itoa(all) {
		t.Errorf("%d requests, most of them sent more than once, made %s; it was %d", all, got, had)
	}
}

// beBank is the node of TestServicesOfAKilledNode: it says which requests are
// acknowledged.
func beBank(dir string) {
	from, _ := strconv.Atoi(os.Getenv("WEFT_TEST_FROM"))
	s, err := node.Serve(context.Background(), node.ServerConfig{Config: node.Config{CacheDir: os.Getenv("WEFT_TEST_CACHE")}, Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for client := range 4 {
		all.Go(func() {
			for k := from + client; ; k += 4 {
				if _, err := call(s, fmt.Sprint("k", k), "bank/killed.add", "1"); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(k)
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// A step calls a method, once, and says what is wrong with it.
func TestStepsCallServices(t *testing.T) {
	s := serve(t, t.TempDir())
	deploy(t, s, bankApp(t, app.RuntimeNative, "")+`workflows:
  main:
    steps:
      pay: {call: bank.add, with: {key: "${ .input.name }", args: ["${ .input.amount }"]}, retry: {max: 2, backoff: 1ms}}
      self: {call: teller.self, needs: [pay]}
    output: "${ .pay }"
`)
	for range 2 {
		r := ended(t, s, start(t, s, map[string]any{"name": "ann", "amount": 5}).ID)
		if r.Status != engine.Succeeded {
			t.Fatalf("the run %s: %v", r.Status, r.Failure)
		}
	}
	if got := mustCall(t, s, "", "bank/ann.get"); got != "10" {
		t.Errorf("two runs paid 5 each, the balance is %s", got)
	}
	for _, test := range []struct {
		input any
		kind  string
		words string
	}{
		{map[string]any{"name": "ann", "amount": -50}, "method", "call bank.add: account ann has not so much"},
		{map[string]any{"name": 7, "amount": 1}, "refused", "the key is a string"},
	} {
		r := ended(t, s, start(t, s, test.input).ID)
		if r.Failure == nil || r.Failure.Kind != test.kind || !strings.Contains(r.Failure.Message, test.words) {
			t.Errorf("%v: %v, want %s with %q", test.input, r.Failure, test.kind, test.words)
		}
	}
}

// The node is killed while the call of a step is under way, and the step goes on after
// the restart: the call happens once.
func TestStepsCallServicesAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	s := serveBeside(t, dir)
	deploy(t, s, bankApp(t, app.RuntimeNative, "")+`workflows:
  main: {steps: {pay: {call: teller.later, with: [300, ann, 7]}}}
`)
	r := start(t, s, nil)
	if !eventually(func() bool { return len(s.Services.Requests()) == 1 }) {
		t.Fatal("the step calls nothing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = serveBeside(t, dir)
	if r := ended(t, s, r.ID); r.Status != engine.Succeeded {
		t.Errorf("the run %s: %v", r.Status, r.Failure)
	}
	if got := mustCall(t, s, "", "bank/ann.get"); got != "7" {
		t.Errorf("the balance is %s, want 7", got)
	}
}

// The call of a step has what is left of the time of its attempt, of the run, and of the workflows that it is in, whichever is less:
// what it has begun ends with that, instead of going on for nobody.
func TestStepsPassTheirDeadline(t *testing.T) {
	s := serve(t, t.TempDir())
	for _, test := range []struct {
		step, sub, run string
		most           time.Duration // that is left; 0: there is no deadline
	}{
		{"", "", "", 0},
		{", timeout: 10m", "", "", 10 * time.Minute},
		{"", "", "timeout: 20m, ", 20 * time.Minute},
		{", timeout: 10m", "timeout: 20m, ", "timeout: 30m, ", 10 * time.Minute},
		{", timeout: 1h", "timeout: 20m, ", "timeout: 30m, ", 20 * time.Minute},
		{", timeout: 1h", "timeout: 40m, ", "timeout: 30m, ", 30 * time.Minute},
	} {
		deploy(t, s, bankApp(t, app.RuntimeNative, "")+fmt.Sprintf(`workflows:
  sub: {%ssteps: {pay: {call: teller.later, with: [3600000, ann, 7]%s}}}
  main: {%ssteps: {sub: {call: sub}}}
`, test.sub, test.step, test.run))
		begun := time.Now()
		r := start(t, s, nil)
		var list []machine.View
		if !eventually(func() bool { list = s.Services.Requests(); return len(list) == 1 }) {
			t.Fatal("the step calls nothing")
		}
		left := time.Duration(list[0].Deadline - begun.UnixNano())
		if test.most == 0 && list[0].Deadline != 0 || test.most > 0 && (list[0].Deadline == 0 || left > time.Since(begun)+test.most || left < test.most/2) {
			t.Errorf("%+v: the request has until %d, %v after the beginning", test, list[0].Deadline, left)
		}
		if err := s.Services.Cancel(t.Context(), list[0].ID, "enough"); err != nil {
			t.Fatal(err)
		}
		ended(t, s, r.ID)
	}
	deploy(t, s, bankApp(t, app.RuntimeNative, "")+"workflows:\n  main: {steps: {pay: {call: teller.later, timeout: 300ms, with: [3600000, ann, 7]}}}\n")
	if r := ended(t, s, start(t, s, nil).ID); r.Failure == nil || r.Failure.Kind != "timeout" {
		t.Errorf("the run has ended with %v", r.Failure)
	}
	if !eventually(func() bool { return len(s.Services.Requests()) == 0 }) {
		t.Errorf("what the step has called goes on: %+v", s.Services.Requests())
	}
}
