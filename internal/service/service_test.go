package service_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/internal/store/pebble"
)

func number(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func bytesOf(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func target(service, object, method string) wire.Target {
	return wire.Target{Service: service, Object: object, Method: method}
}

func open(t testing.TB, db store.Store, methods servicetest.Methods, o machine.Options) *service.Services {
	t.Helper()
	o.Catalog = methods.Catalog
	s, err := service.Open(service.Options{Store: db, Instances: methods, Machine: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// patience is how long a test waits for what has to come.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// bank is accounts, and a teller who moves money between them.
func bank() servicetest.Methods {
	balance := wire.Key{Field: "balance"}
	teller := func(c *servicetest.Context) ([]byte, error) {
		from, to, amount := string(c.Arg(0)), string(c.Arg(1)), c.Arg(2)
		err := c.Tx(func() error {
			if _, err := c.Call(target("account", from, "take"), amount); err != nil {
				return err
			}
			_, err := c.Call(target("account", to, "put"), amount)
			return err
		})
		done := wire.Key{Field: "moves", Item: true, Entry: c.Request()}
		if err == nil {
			c.Put(done, amount)
		}
		return nil, err
	}
	return servicetest.Methods{
		"account.put": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Get(balance)) + number(c.Arg(0))
			c.Put(balance, bytesOf(n))
			return bytesOf(n), nil
		},
		"account.take": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Get(balance))
			if n < number(c.Arg(0)) {
				return nil, errors.New("insufficient funds")
			}
			c.Put(balance, bytesOf(n-number(c.Arg(0))))
			return nil, nil
		},
		"account.balance": func(c *servicetest.Context) ([]byte, error) { return c.Get(balance), nil },
		"teller.move":     teller,
		"teller.count": func(c *servicetest.Context) ([]byte, error) {
			return bytesOf(uint64(len(c.Scan("moves", "", 1000)))), nil
		},
		"teller.moveTwice": func(c *servicetest.Context) ([]byte, error) {
			h := c.Go(target("teller", "", "move"), c.Arg(0), c.Arg(1), c.Arg(2))
			g := c.Go(target("teller", "", "move"), c.Arg(0), c.Arg(1), c.Arg(2))
			_, err := c.Await(h, g)
			return nil, err
		},
	}
}

func invoke(t testing.TB, s *service.Services, to wire.Target, args ...[]byte) wire.Value {
	t.Helper()
	v, err := s.Invoke(patience(t), service.Request{To: to, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTransactionsKeepTheTotal(t *testing.T) {
	s := open(t, memory.New(memory.Options{}), bank(), machine.Options{})
	const accounts, clients, moves = 4, 6, 25
	for i := range accounts {
		invoke(t, s, target("account", strconv.Itoa(i), "put"), bytesOf(20))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	moved := 0
	for c := range clients {
		wg.Go(func() {
			for i := range moves {
				from, to := (c+i)%accounts, (c*3+i*5+1)%accounts
				v := invoke(t, s, target("teller", "", "move"), []byte(strconv.Itoa(from)), []byte(strconv.Itoa(to)), bytesOf(uint64(i%9)))
				switch {
				case v.Code == wire.OK:
					mu.Lock()
					moved++
					mu.Unlock()
				case !strings.Contains(v.Text, "insufficient funds"):
					t.Errorf("move: %v %s", v.Code, v.Text)
				}
			}
		})
	}
	wg.Wait()
	total := uint64(0)
	for i := range accounts {
		total += number(invoke(t, s, target("account", strconv.Itoa(i), "balance")).Data)
	}
	if total != accounts*20 {
		t.Errorf("the total is %d, want %d", total, accounts*20)
	}
	if n := number(invoke(t, s, target("teller", "", "count")).Data); int(n) != moved {
		t.Errorf("%d moves are noted, %d were told of", n, moved)
	}
	if locks := s.Locks(); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}

// counted is a store that counts.
type counted struct {
	store.Store
	mu               sync.Mutex
	appends, flushes int
}

func (c *counted) Append(ctx context.Context, b *store.Batch) (store.Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appends++
	return c.Store.Append(ctx, b)
}

func (c *counted) Notify(v store.Version, f func(error)) {
	c.mu.Lock()
	c.flushes++
	c.mu.Unlock()
	c.Store.Notify(v, f)
}

// At rest a request is one flush, whatever it calls; those that do not wait are
// one append, and none leaves anything but its effects.
func TestOneFlush(t *testing.T) {
	db := &counted{Store: memory.New(memory.Options{})}
	s := open(t, db, bank(), machine.Options{})
	invoke(t, s, target("account", "a", "put"), bytesOf(100))
	for _, c := range []struct {
		method  string
		appends int
	}{{"move", 1}, {"moveTwice", 4}} {
		db.mu.Lock()
		appends, flushes := db.appends, db.flushes
		db.mu.Unlock()
		if v := invoke(t, s, target("teller", "", c.method), []byte("a"), []byte("b"), bytesOf(1)); v.Code != wire.OK {
			t.Fatalf("%s: %v %s", c.method, v.Code, v.Text)
		}
		db.mu.Lock()
		if a, f := db.appends-appends, db.flushes-flushes; a > c.appends || f != 1 {
			t.Errorf("%s: %d appends and %d flushes, want %d and 1", c.method, a, f, c.appends)
		}
		db.mu.Unlock()
	}
	view := db.Snapshot()
	defer view.Close()
	if err := view.Scan([]byte("svc/"), nil, func(i store.Item) bool {
		if !strings.HasPrefix(string(i.Key), record.StatePrefix) {
			t.Errorf("%q is left", i.Key)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

var every = flag.Bool("every", false, "crash at every operation, not at a sample of them")

// A method that never returns is killed, and its request is given up after some
// attempts; others that need its locks go on.
func TestMethodThatNeverReturns(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	methods := bank()
	methods["account.hang"] = func(c *servicetest.Context) ([]byte, error) {
		c.Claim(wire.Key{Field: "balance"})
		<-stop
		return nil, nil
	}
	s := open(t, memory.New(memory.Options{}), methods, machine.Options{Limit: 10 * time.Millisecond, Attempts: 2, Backoff: time.Millisecond})
	done := make(chan wire.Value)
	go func() { done <- invoke(t, s, target("account", "a", "hang")) }()
	invoke(t, s, target("account", "a", "put"), bytesOf(1))
	if v := <-done; v.Code != wire.Refused || !strings.Contains(v.Text, "2 attempts") {
		t.Errorf("got %v %s", v.Code, v.Text)
	}
}

// Closing in the middle of everything loses nothing that was accepted, and leaves
// nobody waiting.
func TestCloseAndOpen(t *testing.T) {
	db := memory.New(memory.Options{})
	methods := bank()
	methods["teller.slow"] = func(c *servicetest.Context) ([]byte, error) {
		values, err := c.Await(c.Promise("go"))
		if err != nil {
			return nil, err
		}
		return c.Call(target("account", "a", "put"), values[0].Data)
	}
	s := open(t, db, methods, machine.Options{})
	id, _, err := s.Accept(patience(t), service.Request{To: target("teller", "", "slow"), Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() {
		_, err := s.Invoke(context.Background(), service.Request{To: target("teller", "", "slow"), Key: "k"})
		waits <- err
	}()
	for len(s.Requests()) == 0 || s.Requests()[0].State != machine.Waiting {
		invoke(t, s, target("account", "a", "balance"))
	}
	s.Close()
	if err := <-waits; !errors.Is(err, service.ErrClosed) {
		t.Errorf("who waited is told %v", err)
	}
	again := open(t, db, methods, machine.Options{})
	if err := again.Resolve(patience(t), id, "go", wire.Value{Data: bytesOf(5)}); err != nil {
		t.Fatal(err)
	}
	v, err := again.Invoke(patience(t), service.Request{To: target("teller", "", "slow"), Key: "k"})
	if err != nil || number(v.Data) != 5 {
		t.Errorf("got %v %d %s, %v", v.Code, number(v.Data), v.Text, err)
	}
}

// A store that fails ends the services; nobody waits for ever.
func TestStoreFails(t *testing.T) {
	db := memory.New(memory.Options{})
	failed := make(chan error, 1)
	methods := bank()
	s, err := service.Open(service.Options{Store: db, Instances: methods, Machine: machine.Options{Catalog: methods.Catalog}, Failed: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db.Inject(func(op string) error { return errors.New("the disk is on fire") })
	if _, err := s.Invoke(patience(t), service.Request{To: target("account", "a", "put"), Args: [][]byte{bytesOf(1)}}); err == nil {
		t.Error("a request is answered without a store")
	}
	if err := <-failed; !errors.Is(err, store.ErrFailed) {
		t.Errorf("told %v", err)
	}
}

func BenchmarkCounter(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
		keys    uint64
	}{{"alone", 1, 1}, {"64 clients, one key", 64, 1}, {"64 clients, 1000 keys", 64, 1000}, {"512 clients, one key", 512, 1}} {
		b.Run(c.name, func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), pebble.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			s := open(b, db, bank(), machine.Options{})
			defer s.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for n := range c.clients {
				wg.Go(func() {
					for i := uint64(n); left.Add(-1) >= 0; i += 7 {
						v, err := s.Invoke(context.Background(), service.Request{To: target("account", strconv.FormatUint(i%c.keys, 10), "put"), Args: [][]byte{bytesOf(1)}})
						if err != nil || v.Code != wire.OK {
							b.Errorf("%v %s %v", v.Code, v.Text, err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(s.Stats().Deaths)/float64(b.N), "deaths/op")
		})
	}
}

// slowly starts instances when it is told to.
type slowly struct {
	servicetest.Methods
	now chan struct{}
}

func (s slowly) Start(name, version string, receive func([]byte), gone func(error)) (service.Instance, error) {
	<-s.now
	return s.Methods.Start(name, version, receive, gone)
}

// An instance may take longer to start than a method may take: that is no attempt that
// has failed.
func TestInstancesMayStartSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slowly{servicetest.Methods{"s.m": func(*servicetest.Context) ([]byte, error) { return []byte("done"), nil }}, make(chan struct{})}
		s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: slow, Machine: machine.Options{Limit: time.Second, Attempts: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.AfterFunc(5*time.Second, func() { close(slow.now) })
		if v, err := s.Invoke(t.Context(), service.Request{To: target("s", "", "m")}); err != nil || string(v.Data) != "done" {
			t.Errorf("the result is %+v, %v", v, err)
		}
	})
}

// starters count the instances that are started.
type starters struct {
	servicetest.Methods
	starts *atomic.Int64
}

func (c starters) Start(name, version string, receive func([]byte), gone func(error)) (service.Instance, error) {
	c.starts.Add(1)
	return c.Methods.Start(name, version, receive, gone)
}

// An instance whose execution was given up for a lock goes on with others: there are no more of them
// than requests run at a time.
func TestInstancesOutliveConflicts(t *testing.T) {
	const clients = 8
	methods, starts := bank(), &atomic.Int64{}
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: starters{methods, starts}, Machine: machine.Options{Catalog: methods.Catalog}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"0", "1", "2"} {
		invoke(t, s, target("account", name, "put"), bytesOf(1000))
	}
	ctx := patience(t)
	for s.Stats().Deaths < 100 {
		if ctx.Err() != nil {
			t.Fatalf("there were %d conflicts", s.Stats().Deaths)
		}
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range 10 {
					invoke(t, s, target("teller", "", "move"), []byte(strconv.Itoa((c+i)%3)), []byte(strconv.Itoa((2*c+i+1)%3)), bytesOf(1))
				}
			})
		}
		wg.Wait()
	}
	if n := starts.Load(); n > 2*clients {
		t.Errorf("%d instances were started by %d clients, with %d conflicts", n, clients, s.Stats().Deaths)
	}
	total := uint64(0)
	for _, name := range []string{"0", "1", "2"} {
		total += number(invoke(t, s, target("account", name, "balance")).Data)
	}
	if total != 3000 {
		t.Errorf("the total is %d", total)
	}
}

// So many requests compute at a time; those that do side effects are not among them.
func TestSegmentsAtATime(t *testing.T) {
	var computing, most atomic.Int64
	begun, end := make(chan bool), make(chan bool)
	methods := servicetest.Methods{
		"s.effect": func(c *servicetest.Context) ([]byte, error) {
			return c.Run("wait", func(string) ([]byte, error) {
				begun <- true
				<-end
				return nil, nil
			})
		},
		"s.compute": func(c *servicetest.Context) ([]byte, error) {
			for n := computing.Add(1); n > most.Load(); {
				most.Store(n)
			}
			c.Get(wire.Key{Field: "f"})
			computing.Add(-1)
			return nil, nil
		},
	}
	const segments, all = 2, 12
	s := open(t, memory.New(memory.Options{}), methods, machine.Options{Segments: segments})
	var wg sync.WaitGroup
	ask := func(method string) {
		for range all {
			wg.Go(func() {
				if v, err := s.Invoke(patience(t), service.Request{To: target("s", "", method)}); err != nil || v.Code != wire.OK {
					t.Errorf("%s: %v, %v", method, v, err)
				}
			})
		}
	}
	ask("effect")
	for range all {
		<-begun // all of them, at the same time
	}
	ask("compute")
	for range all {
		end <- true
	}
	wg.Wait()
	if n := most.Load(); n > segments {
		t.Errorf("%d requests computed at a time, at most %d may", n, segments)
	}
}

// Where there is no room for another instance, the one that has rested longest goes, and the one that was just
// in use stays.
func TestNoRoomForInstances(t *testing.T) {
	methods, starts := bank(), &atomic.Int64{}
	var crowded atomic.Bool
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: starters{methods, starts}, Machine: machine.Options{Catalog: methods.Catalog},
		Keep: func(string) bool { return !crowded.CompareAndSwap(true, false) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, c := range []struct {
		to      wire.Target
		crowded bool
		starts  int64 // from the beginning
	}{
		{target("teller", "", "count"), false, 1},
		{target("account", "0", "balance"), true, 2},
		{target("account", "0", "balance"), false, 2},
		{target("teller", "", "count"), false, 3},
		{target("account", "0", "balance"), false, 3},
	} {
		crowded.Store(c.crowded)
		if invoke(t, s, c.to); starts.Load() != c.starts {
			t.Errorf("call %d: %d instances were started, want %d", i, starts.Load(), c.starts)
		}
	}
}

// Who asks for the result of a request that takes long again and again, and gives up each time, leaves
// nothing behind; who stays is answered.
func TestWaitersThatGo(t *testing.T) {
	methods := servicetest.Methods{"s.wait": func(c *servicetest.Context) ([]byte, error) {
		_, err := c.Await(c.Promise("go"))
		return []byte("gone"), err
	}}
	s := open(t, memory.New(memory.Options{}), methods, machine.Options{})
	r := service.Request{To: target("s", "", "wait"), Key: "k"}
	id, _, err := s.Accept(patience(t), r)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if _, err := s.Invoke(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("it ends with %v", err)
		}
		cancel()
	}
	if n := s.Waiters(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
	if left := s.Requests(); len(left) != 1 || left[0].Waiters != 0 {
		t.Errorf("the request has waiters: %+v", left)
	}
	if err := s.Resolve(patience(t), id, "go", wire.Value{}); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Invoke(patience(t), r); err != nil || string(v.Data) != "gone" {
		t.Errorf("the result is %+v, %v", v, err)
	}
}
