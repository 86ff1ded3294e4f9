package service_test

import (
	"context"
	"errors"
	"math/rand/v2"
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
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/internal/store/pebble"
)

// desk takes requests of two segments, that end when somebody says so: question 3 is a side
// effect, question 4 begins the second one.
type desk struct {
	mu   sync.Mutex
	keys map[string]int // of the side effect; guarded by mu
}

func (d *desk) methods() servicetest.Methods {
	one := func(c *servicetest.Context, field string) []byte {
		n := bytesOf(number(c.Get(wire.Key{Field: field})) + 1)
		c.Put(wire.Key{Field: field}, n)
		return n
	}
	m := servicetest.Methods{
		"desk.file": func(c *servicetest.Context) ([]byte, error) {
			one(c, "a")
			c.Send(0, target("notes", "", "add"))
			if _, err := c.Run("stamp", func(key string) ([]byte, error) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.keys[key]++
				return nil, nil
			}); err != nil {
				return nil, err
			}
			n := one(c, "b")
			_, err := c.Await(c.Promise("go"))
			return n, err
		},
		"notes.add": func(c *servicetest.Context) ([]byte, error) { return one(c, "n"), nil },
		"desk.fail": func(c *servicetest.Context) ([]byte, error) {
			if err := c.Sleep(time.Millisecond); err != nil {
				return nil, err
			}
			panic("torn")
		},
	}
	m["desk.hold"] = func(c *servicetest.Context) ([]byte, error) {
		_, err := c.Run("hold", func(string) ([]byte, error) { time.Sleep(time.Hour); return nil, nil })
		return nil, err
	}
	return m
}

// settled waits until nothing but one request is left, which waits or is parked.
func settled(t testing.TB, s *service.Services, id string, state machine.State) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if all := s.Requests(); len(all) == 1 && all[0].ID == id && all[0].State == state {
			return
		}
	}
	t.Fatalf("request %s is not %v: %+v", id, state, s.Requests())
}

// counts are how often each segment, and the note, has happened.
func (d *desk) counts(t testing.TB, s *service.Services) (c [4]uint64) {
	t.Helper()
	for i, field := range []string{"a", "b"} {
		v, _, err := s.Get(t.Context(), "desk", "", wire.Key{Field: field})
		if err != nil {
			t.Fatal(err)
		}
		c[i] = number(v)
	}
	v, _, err := s.Get(t.Context(), "notes", "", wire.Key{Field: "n"})
	if err != nil {
		t.Fatal(err)
	}
	c[2] = number(v)
	d.mu.Lock()
	defer d.mu.Unlock()
	c[3] = uint64(len(d.keys))
	return c
}

// A restart does the segments from a question on once more, under other keys, and
// takes nothing back.
func TestRestart(t *testing.T) {
	db := memory.New(memory.Options{})
	d := &desk{keys: map[string]int{}}
	s := open(t, db, d.methods(), machine.Options{})
	id, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "file"), Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s, id, machine.Waiting)
	want := [4]uint64{1, 1, 1, 1}
	for _, c := range []struct {
		from, at uint64
		more     [4]uint64
	}{{4, 4, [4]uint64{0, 1, 0, 0}}, {6, 4, [4]uint64{0, 1, 0, 0}}, {1, 1, [4]uint64{1, 1, 1, 1}}, {3, 1, [4]uint64{1, 1, 1, 1}}, {5, 4, [4]uint64{0, 1, 0, 0}}, {7, 7, [4]uint64{}}, {0, 7, [4]uint64{}}} {
		at, err := s.Restart(patience(t), id, c.from, "")
		if err != nil || at != c.at {
			t.Fatalf("restart from %d: from %d, %v, want %d", c.from, at, err, c.at)
		}
		settled(t, s, id, machine.Waiting)
		for i, n := range c.more {
			want[i] += n
		}
		if got := d.counts(t, s); got != want {
			t.Fatalf("after a restart from %d: %v, want %v", c.from, got, want)
		}
		s.Close()
		s = open(t, db, d.methods(), machine.Options{})
		settled(t, s, id, machine.Waiting)
		if got := d.counts(t, s); got != want {
			t.Fatalf("and after one of the node: %v, want %v", got, want)
		}
	}
	d.mu.Lock()
	for key, n := range d.keys {
		if n != 1 {
			t.Errorf("the side effect %s has happened %d times", key, n)
		}
	}
	d.mu.Unlock()
	for from, says := range map[uint64]string{8: "has asked 6 questions in what is stored: restart it from one of 1 to 7"} {
		if _, err := s.Restart(patience(t), id, from, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("restart from %d: %v", from, err)
		}
	}
	if _, err := s.Restart(patience(t), "nobody", 1, ""); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("restart of nobody: %v", err)
	}
	if err := s.Resolve(patience(t), id, "go", wire.Value{Data: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	v, err := s.Invoke(patience(t), service.Request{To: target("desk", "", "file"), Key: "k"})
	if err != nil || number(v.Data) != want[1] {
		t.Errorf("the result is %d, %v", number(v.Data), err)
	}
	checkOnly(t, db, "svc/s/", "svc/d/", "svc/x/")
}

// checkOnly reports keys with other prefixes.
func checkOnly(t testing.TB, db store.Store, prefixes ...string) {
	t.Helper()
	view := db.Snapshot()
	defer view.Close()
	if err := view.Scan([]byte("svc/"), nil, func(i store.Item) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(string(i.Key), p) {
				return true
			}
		}
		t.Errorf("%q is left", i.Key)
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// A parked request goes on with code that is mended, from where it is told to.
func TestRestartOfAParkedRequestWithOtherCode(t *testing.T) {
	d := &desk{keys: map[string]int{}}
	mended := d.methods()
	mended["desk.fail"] = func(c *servicetest.Context) ([]byte, error) { return []byte("whole"), c.Sleep(time.Millisecond) }
	other := d.methods()
	other["desk.fail"] = func(c *servicetest.Context) ([]byte, error) { return nil, c.Sleep(time.Hour) }
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: versions{"old": d.methods(), "mended": mended, "other": other}, Machine: machine.Options{
		Backoff: time.Millisecond, Attempts: 2,
		Catalog: func(version string, _ wire.Target) error {
			if version == "none" {
				return errors.New("there is none")
			}
			return nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "fail"), Version: "old", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s, id, machine.Parked)
	if _, err := s.Restart(patience(t), id, 1, "none"); err == nil || !strings.Contains(err.Error(), "cannot go on with version none: there is none") {
		t.Errorf("a version that there is not: %v", err)
	}
	if _, err := s.Restart(patience(t), id, 3, "other"); err != nil {
		t.Fatal(err)
	}
	settled(t, s, id, machine.Parked) // for it asks something else
	if why := s.Requests()[0].Request.Parked; !strings.Contains(why, "not deterministic") {
		t.Errorf("it is parked: %s", why)
	}
	if at, err := s.Restart(patience(t), id, 3, "mended"); err != nil || at != 3 {
		t.Fatal(at, err)
	}
	v, err := s.Invoke(patience(t), service.Request{To: target("desk", "", "fail"), Version: "mended", Key: "k"})
	if err != nil || string(v.Data) != "whole" {
		t.Errorf("the result is %+v, %v", v, err)
	}
	running, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "hold"), Version: "old", Key: "r"})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s, running, machine.Running)
	if _, err := s.Restart(patience(t), running, 1, ""); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("a request that runs: %v", err)
	}
}

// A crash at any operation of the disk leaves a request that was restarted or was not; one whose
// restart was acknowledged was.
func TestCrashWhileARequestIsRestarted(t *testing.T) {
	d := &desk{keys: map[string]int{}}
	taps := &tap{base: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(3, 4)), step: 1 << 30, replies: map[int]uint64{}}
	db, err := pebble.Open("store", pebble.Options{FS: errorfs.Wrap(taps.base, taps)})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, db, d.methods(), machine.Options{})
	id, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "file"), Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s, id, machine.Waiting)
	want := d.counts(t, s) // which is on disk
	taps.mu.Lock()
	taps.step = 1
	taps.mu.Unlock()
	for i, from := range []uint64{4, 1, 4} {
		if _, err := s.Restart(patience(t), id, from, ""); err != nil {
			t.Fatal(err)
		}
		taps.acknowledge(i, wire.Value{Data: bytesOf(1)})
		settled(t, s, id, machine.Waiting)
	}
	taps.mu.Lock()
	taps.step = 1 << 30
	crashes := taps.crashes
	taps.mu.Unlock()
	s.Close()
	db.Close()
	if len(crashes) < 6 {
		t.Fatalf("only %d crashes", len(crashes))
	}
	states := map[[3]uint64]int{}
	for _, c := range crashes {
		db, err := pebble.Open("store", pebble.Options{FS: c.disk})
		if err != nil {
			t.Fatal(c.what, err)
		}
		s, err := service.Open(service.Options{Store: db, Instances: d.methods()})
		if err != nil {
			t.Fatal(c.what, err)
		}
		settled(t, s, id, machine.Waiting)
		got := d.counts(t, s)
		n := len(c.replies) // restarts that were acknowledged
		ok := false
		for restarts := n; restarts <= min(n+1, 3); restarts++ {
			first := min(restarts, 2) / 2
			ok = ok || got[0] == want[0]+uint64(first) && got[1] == want[1]+uint64(restarts) && got[2] == want[2]+uint64(first)
		}
		if !ok {
			t.Errorf("%s: %d restarts were acknowledged, and the counts are %v", c.what, n, got[:3])
		}
		states[[3]uint64(got[:3])]++
		if err := s.Resolve(context.Background(), id, "go", wire.Value{Data: []byte{1}}); err != nil {
			t.Fatal(c.what, err)
		}
		if v, err := s.Invoke(patience(t), service.Request{To: target("desk", "", "file"), Key: "k"}); err != nil || number(v.Data) != got[1] {
			t.Errorf("%s: the result is %d of %v, %v", c.what, number(v.Data), got, err)
		}
		s.Close()
		db.Close()
	}
	t.Logf("%d crashes: %v", len(crashes), states)
}
