package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/chaos"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/service/history"
)

// town is a server with services, which is killed now and then, and what clients have
// seen there.
type town struct {
	t     *testing.T
	node  *chaos.Node
	c     *client.Client
	begin time.Time
	calls atomic.Int64 // that were answered
	sent  atomic.Int64

	mu           sync.Mutex
	registers    []porcupine.Operation // guarded by mu, as all below
	transactions []history.Transaction
}

// put is what is asked of a register: get, set or swap.
type put struct {
	register, method string
	old, new         int
}

// registers is the model of a register.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range all {
			by[o.Input.(put).register] = append(by[o.Input.(put).register], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range by {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		in := input.(put)
		switch in.method {
		case "get":
			return output == fmt.Sprint(state), state
		case "set":
			return true, in.new
		}
		if state == in.old {
			return output == "true", in.new
		}
		return output == "false", state
	},
}

// deploy builds a program of this module and deploys an app of it, whose services name
// it PROGRAM. It returns them with its path.
func (w *town) deploy(name, program, services string) string {
	dir := filepath.Join(w.node.Dir, "src", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("build %s: %v\n%s", program, err, text)
	}
	services = strings.ReplaceAll(services, "PROGRAM", out)
	w.version(name, services)
	return services
}

// version deploys an app whose programs are there.
func (w *town) version(name, services string) {
	dir := filepath.Join(w.node.Dir, "src", name)
	if err := os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte("name: "+name+"\nservices:\n"+services), 0o644); err != nil {
		w.t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(w.node.Binary, "deploy", "--quiet", "--server", "unix://"+w.node.Socket(), dir)
		cmd.Env = append(os.Environ(), "WEFT_CACHE="+filepath.Join(w.node.Dir, "cache"), "HOME="+w.node.Dir)
		text, err := cmd.CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("deploy %s: %v\n%s", name, err, text)
			return
		}
	}
}

// call calls a method until the server has answered: the result, or the method's
// error. Some requests are sent twice at the same time.
func (w *town) call(rng *rand.Rand, app, target string, args ...any) (result string, err error) {
	name, method, _ := strings.Cut(target, ".")
	name, object, _ := strings.Cut(name, "/")
	q := client.ServiceCall{Target: wire.Target{App: app, Service: name, Object: object, Method: method}, Key: fmt.Sprint("call-", w.sent.Add(1)), Timeout: 5 * time.Second}
	for _, a := range args {
		data, err := json.Marshal(a)
		if err != nil {
			return "", err
		}
		q.Args = append(q.Args, data)
	}
	if rng.IntN(4) > 0 {
		return w.insist(q)
	}
	var twin string
	var twinErr error
	var wg sync.WaitGroup
	wg.Go(func() { twin, twinErr = w.insist(q) })
	result, err = w.insist(q)
	wg.Wait()
	if twin != result || fmt.Sprint(twinErr) != fmt.Sprint(err) {
		w.t.Errorf("%s %s was answered %s, %v, and %s, %v", target, q.Args, result, err, twin, twinErr)
	}
	return result, err
}

// insist repeats a request until it is answered.
func (w *town) insist(q client.ServiceCall) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for {
		data, err := w.c.CallService(ctx, q)
		var problem *client.Error
		var none *client.NoServerError
		var broken *client.BrokenError
		switch {
		case err == nil:
			w.calls.Add(1)
			return strings.TrimSpace(string(data)), nil
		case errors.As(err, &problem):
			switch problem.Status {
			case http.StatusUnprocessableEntity:
				w.calls.Add(1)
				return "", err
			case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
			default:
				w.t.Errorf("%v %s: %v", q.Target, q.Args, err)
				return "", err
			}
		case ctx.Err() != nil:
			w.t.Errorf("%v %s is not answered: %v", q.Target, q.Args, err)
			return "", err
		case errors.As(err, &none), errors.As(err, &broken):
		default:
			w.t.Errorf("%v %s: %v", q.Target, q.Args, err)
			return "", err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *town) now() int64 { return int64(time.Since(w.begin)) }

// register asks something of a register.
func (w *town) register(rng *rand.Rand, who int) {
	in := put{fmt.Sprint("r", rng.IntN(4)), []string{"get", "set", "swap"}[rng.IntN(3)], rng.IntN(4), rng.IntN(4)}
	args := map[string][]any{"get": nil, "set": {in.new}, "swap": {in.old, in.new}}[in.method]
	o := porcupine.Operation{ClientId: who, Input: in, Call: w.now()}
	out, err := w.call(rng, "lists", "register/"+in.register+"."+in.method, args...)
	if err != nil {
		w.t.Error(err)
		return
	}
	o.Output, o.Return = out, w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.registers = append(w.registers, o)
}

// transaction works on lists.
func (w *town) transaction(rng *rand.Rand, who, n int) {
	var ops []history.Op
	for i := range 1 + rng.IntN(4) {
		o := history.Op{List: fmt.Sprint("l", rng.IntN(5), "-", n/50)} // others now and then, so that they stay short
		if rng.IntN(2) == 0 {
			o.Value = (n*10+i)*100 + who + 1
		}
		ops = append(ops, o)
	}
	tx := history.Transaction{Begin: w.now(), Aborted: rng.IntN(8) == 0}
	out, err := w.call(rng, "lists", "desk.do", ops, tx.Aborted, rng.IntN(2) == 0)
	tx.End, tx.Ops = w.now(), ops
	switch {
	case tx.Aborted && err != nil && strings.Contains(err.Error(), "by choice"):
	case err != nil || tx.Aborted:
		w.t.Errorf("transaction %v: %s, %v", ops, out, err)
		return
	default:
		if err := json.Unmarshal([]byte(out), &tx.Ops); err != nil {
			w.t.Errorf("transaction: %q: %v", out, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transactions = append(w.transactions, tx)
}

const accounts, opening = 5, 100

func account(n int) string { return fmt.Sprint("a-", n) }

// bank moves money, now or later, or counts it.
func (w *town) bank(rng *rand.Rand) {
	move := map[string]any{"From": account(rng.IntN(accounts)), "To": account(rng.IntN(accounts)), "Amount": rng.IntN(90)}
	switch n := rng.IntN(6); {
	case n == 0:
		w.later(rng, move, time.Duration(rng.IntN(2000))*time.Millisecond)
		return
	case n < 4:
		if _, err := w.call(rng, "bank", "teller.move", move); err != nil && !strings.Contains(err.Error(), "insufficient funds") {
			w.t.Errorf("move: %v", err)
		}
		return
	}
	w.total(rng)
}

// whole repeats f until the server has answered, and returns that.
func (w *town) whole(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for {
		err := f(ctx)
		var problem *client.Error
		if err == nil || errors.As(err, &problem) && problem.Status < 500 && problem.Status != http.StatusTooManyRequests || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// later has money moved later, and often thinks better of it.
func (w *town) later(rng *rand.Rand, move any, wait time.Duration) {
	data, err := json.Marshal(move)
	if err != nil {
		w.t.Error(err)
	}
	q := client.ServiceCall{Target: wire.Target{App: "bank", Service: "teller", Method: "moveLater"}, Key: fmt.Sprint("later-", w.sent.Add(1)),
		Args: []json.RawMessage{data, json.RawMessage(fmt.Sprint(int64(wait)))}}
	if rng.IntN(2) == 0 {
		q.Delay = wait / 2
	}
	var id string
	if err := w.whole(func(ctx context.Context) (err error) { id, err = w.c.SendService(ctx, q); return err }); err != nil {
		w.t.Errorf("send %s: %v", q.Args, err)
		return
	}
	if rng.IntN(3) == 0 {
		return
	}
	time.Sleep(wait / 2)
	err = w.whole(func(ctx context.Context) error {
		return w.c.CancelRequest(ctx, id, wire.CancelRequest{Reason: "by choice"})
	})
	if err != nil && client.Status(err) != http.StatusNotFound { // it has ended
		w.t.Errorf("cancel %s: %v", id, err)
	}
	w.calls.Add(2)
}

func (w *town) total(rng *rand.Rand) {
	var names []string
	for n := range accounts {
		names = append(names, account(n))
	}
	if got, err := w.call(rng, "bank", "audit.total", names); err != nil || got != fmt.Sprint(accounts*opening) {
		w.t.Errorf("the total is %s, %v, want %d", got, err, accounts*opening)
	}
}

// settle waits until no request is left.
func (w *town) settle() {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left, err := w.c.Requests(context.Background(), client.RequestFilter{})
		if err == nil && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("requests are left: %+v, %v", left, err)
			return
		}
	}
}

// delete takes the bank away, as far as that is possible while something waits there,
// and deploys it again: the money is still there.
func (w *town) delete(services string) {
	w.settle()
	ctx := context.Background()
	id, err := w.c.SendService(ctx, client.ServiceCall{Target: wire.Target{App: "bank", Service: "teller", Method: "moveLater"},
		Args: []json.RawMessage{json.RawMessage(`{"From":"a-0","To":"a-1","Amount":1}`), json.RawMessage("3600000000000")}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.c.DeleteApp(ctx, "bank"); client.Status(err) != http.StatusConflict {
		w.t.Errorf("an app with a request that waits is deleted: %v", err)
	}
	if err := w.c.CancelRequest(ctx, id, wire.CancelRequest{Reason: "the bank closes"}); err != nil {
		w.t.Error(err)
	}
	if err := w.c.DeleteApp(ctx, "bank"); err != nil {
		w.t.Error(err)
	}
	_, err = w.c.CallService(ctx, client.ServiceCall{Target: wire.Target{App: "bank", Service: "teller", Method: "count"}})
	if client.Status(err) != http.StatusNotFound {
		w.t.Errorf("a call of an app that is deleted: %v", err)
	}
	w.version("bank", services)
}

// A server with services is killed while 16 clients call methods, and new versions of
// the apps are deployed: registers are linearizable, transactions over lists are
// strictly serializable, money is neither made nor lost, and who sends a request
// twice gets one answer.
func TestServices(t *testing.T) {
	path := binary(t)
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("not installed: ", err)
	}
	folder := *dir
	if folder == "" {
		folder = t.TempDir()
	}
	node, err := chaos.NewNode(path, folder)
	if err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, node: node, begin: time.Now()}
	if w.c, err = node.Client(1); err != nil {
		t.Fatal(err)
	}
	defer w.c.CloseIdle()
	start := func() {
		if err := node.Start(); err != nil {
			t.Error(err)
		}
		if err := node.Ready(context.Background(), time.Minute); err != nil {
			t.Error(err)
		}
	}
	start()
	defer node.Kill()
	w.deploy("lists", "./testdata/lists", "  list: {runtime: native, source: PROGRAM, keyed: true}\n  desk: {runtime: native, source: PROGRAM}\n  register: {runtime: native, source: PROGRAM, keyed: true}\n")
	banks := w.deploy("bank", "../../examples/services/bank/go/bank/instance", "  account: {runtime: native, source: PROGRAM, keyed: true}\n  teller: {runtime: native, source: PROGRAM}\n  audit: {runtime: native, source: PROGRAM}\n")
	rng := rand.New(rand.NewPCG(drawn(t), 1))
	for n := range accounts {
		if _, err := w.call(rng, "bank", "account/"+account(n)+".put", opening); err != nil {
			t.Fatal(err)
		}
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	for who := range 16 {
		rng := rand.New(rand.NewPCG(*seed, uint64(who)+2))
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				switch rng.IntN(3) {
				case 0:
					w.register(rng, who)
				case 1:
					w.transaction(rng, who, n)
				default:
					w.bank(rng)
				}
			}
		})
	}
	kills, deployed := 0, 0
	for end := time.Now().Add(*span); time.Now().Before(end) && !t.Failed(); {
		time.Sleep(200*time.Millisecond + rand.N(time.Second))
		if rng.IntN(3) == 0 {
			deployed++
			w.version("bank", strings.ReplaceAll(banks, "}", fmt.Sprintf(", env: {N: \"%d\"}}", deployed)))
		}
		if rng.IntN(4) == 0 {
			if err := node.Stop(time.Minute); err != nil {
				t.Error(err)
			}
		} else if err := node.Kill(); err != nil {
			t.Error(err)
		}
		kills++
		start()
	}
	close(over)
	all.Wait()
	w.total(rng)
	w.delete(banks)
	w.total(rng)
	if locks, err := w.c.Locks(t.Context(), ""); err != nil || len(locks) > 0 {
		t.Errorf("locks are left: %v, %v", locks, err)
	}
	w.settle()
	t.Logf("%d answers, %d kills, %d deployments; %d operations on registers, %d transactions on lists", w.calls.Load(), kills, deployed, len(w.registers), len(w.transactions))
	if r := porcupine.CheckOperationsTimeout(registers, w.registers, time.Minute); r != porcupine.Ok {
		t.Errorf("registers are not linearizable: %v", r)
	}
	for _, a := range history.Check(w.transactions) {
		t.Error(a)
	}
}
