package service_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store/pebble"
)

// shop takes orders: each one charges somebody outside, waits, counts in a
// transaction over two services, and sends a note.
type shop struct {
	mu      sync.Mutex
	charged map[string][]uint64 // what somebody outside has said, by key; guarded by mu
	next    uint64
}

func (p *shop) methods() servicetest.Methods {
	count := wire.Key{Field: "count"}
	add := func(c *servicetest.Context) ([]byte, error) {
		n := number(c.Get(count)) + 1
		c.Put(count, bytesOf(n))
		return bytesOf(n), nil
	}
	return servicetest.Methods{
		"shop.order": func(c *servicetest.Context) ([]byte, error) {
			receipt, err := c.Run("charge", func(key string) ([]byte, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.next++
				p.charged[key] = append(p.charged[key], p.next)
				return bytesOf(p.next), nil
			})
			if err != nil {
				return nil, err
			}
			if err := c.Sleep(time.Millisecond); err != nil {
				return nil, err
			}
			if err := c.Tx(func() error {
				if _, err := c.Call(target("stock", "", "add")); err != nil {
					return err
				}
				_, err := c.Call(target("sales", "", "add"))
				return err
			}); err != nil {
				return nil, err
			}
			c.Send(0, target("ledger", "", "add"))
			values, err := c.Await(c.Go(target("slips", "a", "add")), c.Go(target("slips", "b", "add")))
			if err != nil {
				return nil, err
			}
			for _, v := range values {
				if v.Code != wire.OK {
					return nil, fmt.Errorf("slip: %s", v.Text)
				}
			}
			return receipt, nil
		},
		"stock.add": add, "sales.add": add, "ledger.add": add, "slips.add": add,
		"stock.count": func(c *servicetest.Context) ([]byte, error) { return c.Get(count), nil },
	}
}

// countAll reads the counters.
func countAll(t testing.TB, s *service.Services, m servicetest.Methods) map[string]uint64 {
	counts := map[string]uint64{}
	for _, name := range []string{"stock", "sales", "ledger", "slips/a", "slips/b"} {
		svc, object, _ := strings.Cut(name, "/")
		m[svc+".count"] = m["stock.count"]
		counts[name] = number(invoke(t, s, target(svc, object, "count")).Data)
	}
	return counts
}

const orders = 4

func order(t testing.TB, s *service.Services, i int) (wire.Value, error) {
	return s.Invoke(patience(t), service.Request{To: target("shop", "", "order"), Key: "order-" + strconv.Itoa(i)})
}

// crashed is what is left of a disk, and what was acknowledged before.
type crashed struct {
	what    string
	disk    *vfs.MemFS
	replies map[int]uint64
}

// tap makes copies of a disk as a crash at some of its operations would leave it.
type tap struct {
	mu      sync.Mutex
	base    *vfs.MemFS
	rng     *rand.Rand
	n, step int
	replies map[int]uint64
	crashes []crashed
}

func (p *tap) String() string { return "tap" }

func (p *tap) MaybeError(op errorfs.Op) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || p.n%p.step != 0 {
		return nil
	}
	c := crashed{what: fmt.Sprintf("crash before operation %d, kind %d of %s", p.n, op.Kind, op.Path), replies: map[int]uint64{}}
	for i, r := range p.replies {
		c.replies[i] = r
	}
	c.disk = p.base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[p.n%3], RNG: p.rng})
	p.crashes = append(p.crashes, c)
	return nil
}

func (p *tap) acknowledge(i int, v wire.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replies[i] = number(v.Data)
}

// The machine dies between any two operations on the disk, every request is sent
// twice at a time, and again after the crash: each order happens once, its first
// recorded charge stands, and what was answered before is answered again.
func TestCrashBetweenAnyOperations(t *testing.T) {
	step := 2
	if *every {
		step = 1
	}
	p := &shop{charged: map[string][]uint64{}}
	taps := &tap{base: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(1, 2)), step: step, replies: map[int]uint64{}}
	life := func(disk vfs.FS, acknowledge func(int, wire.Value)) {
		db, err := pebble.Open("store", pebble.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		methods := p.methods()
		s := open(t, db, methods, machine.Options{})
		defer s.Close()
		var wg sync.WaitGroup
		for n := range 2 * orders {
			wg.Go(func() {
				v, err := order(t, s, n%orders)
				if err != nil || v.Code != wire.OK {
					t.Errorf("order %d: %v %s, %v", n%orders, v.Code, v.Text, err)
					return
				}
				acknowledge(n%orders, v)
			})
		}
		wg.Wait()
		for len(s.Requests()) > 0 {
			invoke(t, s, target("stock", "", "count")) // the notes are on their way
		}
		for name, n := range countAll(t, s, methods) {
			if n != orders {
				t.Errorf("%s has counted %d, want %d", name, n, orders)
			}
		}
		if locks := s.Locks(); len(locks) > 0 {
			t.Errorf("locks are left: %v", locks)
		}
	}
	life(errorfs.Wrap(taps.base, taps), taps.acknowledge)
	taps.mu.Lock()
	crashes := taps.crashes
	taps.step = 1 << 30
	taps.mu.Unlock()
	if len(crashes) < 20 {
		t.Fatalf("only %d crashes", len(crashes))
	}
	t.Logf("%d crashes", len(crashes))
	for _, c := range crashes {
		life(c.disk, func(i int, v wire.Value) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if before, told := c.replies[i]; told && before != number(v.Data) {
				t.Errorf("%s: order %d was answered %d, now %d", c.what, i, before, number(v.Data))
			}
		})
		if t.Failed() {
			t.Fatal(c.what)
		}
	}
}
