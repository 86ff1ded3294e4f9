// Package storetest is what every driver of package store has to pass.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Driver{Open: func(t *testing.T, now func() time.Time) store.Store { … }})
//	}
package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// Driver is a driver to be tested.
type Driver struct {
	// Open makes an empty store whose leases follow now. Run closes it.
	Open func(t *testing.T, now func() time.Time) store.Store
	// Restore opens a checkpoint.
	Restore func(t *testing.T, dir string) store.Store
}

// Run tests a driver.
func Run(t *testing.T, d Driver) {
	for name, test := range map[string]func(t *testing.T, d Driver){
		"batches are atomic": atomic, "preconditions": preconditions, "snapshots": snapshots, "scans": scans, "prefixes": prefixes,
		"limits": limits, "durable": durable, "concurrent appends": concurrent, "watches": watches, "watch from a snapshot": watchFromSnapshot, "unwritten versions": unwritten, "leases": leases,
		"checkpoint": checkpoint, "closed": closed, "closed while in use": closedInUse,
	} {
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

func (d Driver) open(t *testing.T) store.Store {
	t.Helper()
	s := d.Open(t, time.Now)
	t.Cleanup(func() { s.Close() })
	return s
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// put writes pairs of keys and values.
func put(t *testing.T, s store.Store, pairs ...string) store.Version {
	t.Helper()
	var b store.Batch
	for i := 0; i < len(pairs); i += 2 {
		b.Put([]byte(pairs[i]), []byte(pairs[i+1]))
	}
	return must[store.Version](t)(s.Append(context.Background(), &b))
}

// all lists "key=value" of a scan.
func all(t *testing.T, s store.Snapshot, prefix, after string) []string {
	t.Helper()
	var from []byte
	if after != "" {
		from = []byte(after)
	}
	list := []string{}
	if err := s.Scan([]byte(prefix), from, func(i store.Item) bool {
		list = append(list, string(i.Key)+"="+string(i.Value))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func now(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	view := s.Snapshot()
	defer view.Close()
	return all(t, view, prefix, "")
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}

func atomic(t *testing.T, d Driver) {
	s := d.open(t)
	put(t, s, "a", "1", "b", "1")
	var b store.Batch
	b.Put([]byte("a"), []byte("2"))
	b.Delete([]byte("b"))
	b.Put([]byte("c"), []byte("2"))
	b.IfAbsent([]byte("a"))
	if _, err := s.Append(context.Background(), &b); !errors.Is(err, store.ErrPrecondition) {
		t.Fatalf("append: %v, want ErrPrecondition", err)
	}
	want(t, now(t, s, ""), "a=1", "b=1")
	var order store.Batch
	order.Put([]byte("a"), []byte("3"))
	order.DeletePrefix([]byte("a"))
	order.Put([]byte("a"), []byte("4"))
	order.Put([]byte("d1"), []byte("1"))
	order.Put([]byte("d2"), []byte("1"))
	order.DeletePrefix([]byte("d"))
	order.Put([]byte("d2"), []byte("2"))
	order.DeletePrefix([]byte("d1"))
	must[store.Version](t)(s.Append(context.Background(), &order))
	want(t, now(t, s, ""), "a=4", "b=1", "d2=2")
}

func preconditions(t *testing.T, d Driver) {
	s := d.open(t)
	first := put(t, s, "a", "1")
	second := put(t, s, "b", "1")
	if second <= first || first == 0 {
		t.Errorf("versions %d and %d do not grow from 1", first, second)
	}
	view := s.Snapshot()
	item := must[store.Item](t)(view.Get([]byte("a")))
	view.Close()
	if item.Version != first || string(item.Value) != "1" {
		t.Errorf("a is %q at %d, want 1 at %d", item.Value, item.Version, first)
	}
	for _, test := range []struct {
		name string
		make func(b *store.Batch)
		ok   bool
	}{
		{"its version", func(b *store.Batch) { b.If([]byte("a"), first) }, true},
		{"an older version", func(b *store.Batch) { b.If([]byte("b"), first) }, false},
		{"absent, and it is", func(b *store.Batch) { b.IfAbsent([]byte("x")) }, true},
		{"absent, and it is not", func(b *store.Batch) { b.IfAbsent([]byte("a")) }, false},
		{"a version of what is not there", func(b *store.Batch) { b.If([]byte("x"), first) }, false},
		{"version 0 is absent", func(b *store.Batch) { b.If([]byte("x"), 0) }, true},
		{"one of two", func(b *store.Batch) { b.IfAbsent([]byte("x")); b.IfAbsent([]byte("a")) }, false},
	} {
		var b store.Batch
		test.make(&b)
		b.Put([]byte("other"), []byte("1"))
		if _, err := s.Append(context.Background(), &b); test.ok != (err == nil) || err != nil && !errors.Is(err, store.ErrPrecondition) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func snapshots(t *testing.T, d Driver) {
	s := d.open(t)
	v := put(t, s, "a", "1")
	old := s.Snapshot()
	put(t, s, "a", "2", "b", "2")
	if old.Version() != v {
		t.Errorf("the snapshot has version %d, want %d", old.Version(), v)
	}
	want(t, all(t, old, "", ""), "a=1")
	want(t, now(t, s, ""), "a=2", "b=2")
	if _, err := old.Get([]byte("b")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get: %v, want ErrNotFound", err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
}

func scans(t *testing.T, d Driver) {
	s := d.open(t)
	put(t, s, "a", "0", "b/1", "1", "b/2", "2", "b/3", "3", "b\xff", "5", "c", "6")
	view := s.Snapshot()
	defer view.Close()
	want(t, all(t, view, "b/", ""), "b/1=1", "b/2=2", "b/3=3")
	want(t, all(t, view, "b/", "b/1"), "b/2=2", "b/3=3")
	want(t, all(t, view, "b/", "b/10"), "b/2=2", "b/3=3")
	want(t, all(t, view, "b", "b/3"), "b\xff=5")
	want(t, all(t, view, "x", ""))
	want(t, all(t, view, "", "b\xff"), "c=6")
	n := 0
	if err := view.Scan(nil, nil, func(store.Item) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("a scan that was to end after two items visits %d, %v", n, err)
	}
}

func prefixes(t *testing.T, d Driver) {
	s := d.open(t)
	put(t, s, "p/1", "1", "p/2", "1", "p0", "1", "q", "1")
	var b store.Batch
	b.DeletePrefix([]byte("p/"))
	b.Delete([]byte("not there"))
	must[store.Version](t)(s.Append(context.Background(), &b))
	want(t, now(t, s, ""), "p0=1", "q=1")

	// Bytes that are no text, as numbers in keys are.
	put(t, s, "n\x94\x01", "1", "n\x94\xff", "1", "n\x95", "1", "n\xff", "1", "n\xff\xff", "1", "o", "1")
	want(t, now(t, s, "n\x94"), "n\x94\x01=1", "n\x94\xff=1")
	want(t, now(t, s, "n\xff"), "n\xff=1", "n\xff\xff=1")
	var numbers store.Batch
	numbers.DeletePrefix([]byte("n\x94"))
	must[store.Version](t)(s.Append(context.Background(), &numbers))
	want(t, now(t, s, "n"), "n\x95=1", "n\xff=1", "n\xff\xff=1")
}

func limits(t *testing.T, d Driver) {
	s := d.open(t)
	for _, test := range []struct {
		key, value int
		err        error
	}{{store.KeyMax, store.ValueMax, nil}, {store.KeyMax + 1, 0, store.ErrTooLarge}, {1, store.ValueMax + 1, store.ErrTooLarge}} {
		var b store.Batch
		b.Put(make([]byte, test.key), make([]byte, test.value))
		if _, err := s.Append(context.Background(), &b); !errors.Is(err, test.err) {
			t.Errorf("a key of %d and a value of %d bytes: %v, want %v", test.key, test.value, err, test.err)
		}
	}
	var b store.Batch
	b.Put(nil, []byte("x"))
	if _, err := s.Append(context.Background(), &b); err == nil {
		t.Error("an empty key is taken")
	}
	var none store.Batch
	before := put(t, s, "a", "1")
	if v := must[store.Version](t)(s.Append(context.Background(), &none)); v != before {
		t.Errorf("a batch without writes has version %d, the latest is %d", v, before)
	}
}

func durable(t *testing.T, d Driver) {
	s := d.open(t)
	if err := s.Durable(context.Background(), 0); err != nil {
		t.Error(err)
	}
	v := put(t, s, "a", "1")
	if err := s.Durable(context.Background(), v); err != nil {
		t.Error(err)
	}
	told := make(chan error, 1)
	s.Notify(v, func(err error) { told <- err })
	if err := <-told; err != nil {
		t.Error(err)
	}
}

// concurrent has many goroutines count up one key, each with the version that
// it has seen.
func concurrent(t *testing.T, d Driver) {
	s := d.open(t)
	key := []byte("n")
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					view := s.Snapshot()
					item, err := view.Get(key)
					view.Close()
					n := uint64(0)
					if err == nil {
						n = binary.BigEndian.Uint64(item.Value)
					}
					var b store.Batch
					b.If(key, item.Version)
					b.Put(key, binary.BigEndian.AppendUint64(nil, n+1))
					v, err := s.Append(context.Background(), &b)
					if errors.Is(err, store.ErrPrecondition) {
						continue
					}
					if err == nil {
						err = s.Durable(context.Background(), v)
					}
					if err != nil {
						t.Error(err)
					}
					break
				}
			}
		})
	}
	wg.Wait()
	view := s.Snapshot()
	defer view.Close()
	if item, err := view.Get(key); err != nil || binary.BigEndian.Uint64(item.Value) != writers*each {
		t.Errorf("it was counted to %v, %v; want %d", item.Value, err, writers*each)
	}
}

func watches(t *testing.T, d Driver) {
	s := d.open(t)
	v := put(t, s, "w/1", "old")
	ctx, cancel := context.WithCancel(context.Background())
	events := must[<-chan store.Event](t)(s.Watch(ctx, []byte("w/"), v))
	put(t, s, "w/2", "new", "x", "other")
	var b store.Batch
	b.Delete([]byte("w/1"))
	b.DeletePrefix([]byte("w/2"))
	must[store.Version](t)(s.Append(context.Background(), &b))
	var got []string
	for range 3 {
		e := <-events
		got = append(got, fmt.Sprintf("%s=%s %v %d", e.Key, e.Value, e.Deleted, e.Version-v))
	}
	want(t, got, "w/2=new false 1", "w/1= true 2", "w/2= true 2")
	cancel()
	if _, more := <-events; more {
		t.Error("there is an event after the end")
	}

	slow := must[<-chan store.Event](t)(s.Watch(context.Background(), nil, v+2))
	for i := range 5000 {
		put(t, s, "w/slow", fmt.Sprint(i))
	}
	last := store.Event{}
	for e := range slow {
		last = e
	}
	if !last.Lost {
		t.Errorf("who is too slow is told %+v last, want Lost", last)
	}
}

func leases(t *testing.T, d Driver) {
	clock := time.Unix(1000, 0)
	s := d.Open(t, func() time.Time { return clock })
	t.Cleanup(func() { s.Close() })
	ctx := context.Background()
	l := must[store.Lease](t)(s.Grant(ctx, time.Minute))
	try := func() error {
		var b store.Batch
		b.IfLease(l.ID())
		b.Put([]byte("a"), []byte("1"))
		_, err := s.Append(ctx, &b)
		return err
	}
	if err := try(); err != nil {
		t.Error(err)
	}
	clock = clock.Add(50 * time.Second)
	if err := l.KeepAlive(ctx); err != nil {
		t.Error(err)
	}
	clock = clock.Add(50 * time.Second)
	if err := try(); err != nil {
		t.Error(err)
	}
	clock = clock.Add(10 * time.Second)
	if err := try(); !errors.Is(err, store.ErrLease) {
		t.Errorf("append under a lease that has run out: %v, want ErrLease", err)
	}
	if err := l.KeepAlive(ctx); !errors.Is(err, store.ErrLease) {
		t.Errorf("keep alive what has run out: %v, want ErrLease", err)
	}
	l = must[store.Lease](t)(s.Grant(ctx, time.Minute))
	if err := l.Revoke(ctx); err != nil {
		t.Error(err)
	}
	if err := try(); !errors.Is(err, store.ErrLease) {
		t.Errorf("append under a revoked lease: %v, want ErrLease", err)
	}
}

func checkpoint(t *testing.T, d Driver) {
	s := d.open(t)
	put(t, s, "a", "1", "b", "1")
	v := put(t, s, "b", "2")
	dir := filepath.Join(t.TempDir(), "copy")
	if err := s.Checkpoint(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	put(t, s, "c", "3")
	if err := s.Checkpoint(context.Background(), dir); err == nil {
		t.Error("a checkpoint takes the place of another one")
	}
	copied := d.Restore(t, dir)
	defer copied.Close()
	want(t, now(t, copied, ""), "a=1", "b=2")
	if next := put(t, copied, "d", "4"); next != v+1 {
		t.Errorf("the copy goes on with version %d, want %d", next, v+1)
	}
}

func closed(t *testing.T, d Driver) {
	s := d.open(t)
	v := put(t, s, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	b.Put([]byte("a"), []byte("2"))
	if _, err := s.Append(context.Background(), &b); !errors.Is(err, store.ErrClosed) {
		t.Errorf("append: %v, want ErrClosed", err)
	}
	if err := s.Durable(context.Background(), v); !errors.Is(err, store.ErrClosed) {
		t.Errorf("durable: %v, want ErrClosed", err)
	}
	if _, err := s.Watch(context.Background(), nil, v); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch: %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// watchFromSnapshot misses nothing between a snapshot and a watch of its version,
// whoever writes meanwhile.
func watchFromSnapshot(t *testing.T, d Driver) {
	s := d.open(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				put(t, s, "n", fmt.Sprint(i))
			}
		}
	})
	for range 50 {
		view := s.Snapshot()
		ctx, cancel := context.WithCancel(context.Background())
		events, err := s.Watch(ctx, []byte("n"), view.Version())
		if err != nil {
			t.Error(err)
		} else if e := <-events; e.Version != view.Version()+1 {
			t.Errorf("the first event after version %d is of %d", view.Version(), e.Version)
		}
		cancel()
		view.Close()
	}
	close(stop)
	wg.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 5000 {
		put(t, s, "n", fmt.Sprint(i))
	}
	if _, err := s.Watch(ctx, nil, 0); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch from the beginning: %v, want ErrCompacted", err)
	}
	v := put(t, s, "n", "last")
	events := must[<-chan store.Event](t)(s.Watch(ctx, nil, v+1))
	put(t, s, "n", "not told")
	put(t, s, "n", "told")
	if e := <-events; string(e.Value) != "told" {
		t.Errorf("who watches after version %d is told of %d", v+1, e.Version)
	}
}

// unwritten versions are never durable.
func unwritten(t *testing.T, d Driver) {
	s := d.open(t)
	v := put(t, s, "a", "1")
	if err := s.Durable(context.Background(), v+1); err == nil {
		t.Error("a version is durable that nobody has written")
	}
	told := make(chan error, 1)
	s.Notify(v+1, func(err error) { told <- err })
	if err := <-told; err == nil {
		t.Error("a version is told to be durable that nobody has written")
	}
}

// closedInUse closes a store from several sides while others use it.
func closedInUse(t *testing.T, d Driver) {
	for range 20 {
		s := d.Open(t, time.Now)
		put(t, s, "a/1", "1", "a/2", "2")
		left := s.Snapshot()
		var wg sync.WaitGroup
		use := func(f func() error) {
			wg.Go(func() {
				if err := f(); err != nil && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		dir := filepath.Join(t.TempDir(), "copy")
		use(func() error { return s.Checkpoint(context.Background(), dir) })
		for range 3 {
			use(s.Close)
			use(func() error {
				view := s.Snapshot()
				defer view.Close()
				var inner error
				err := view.Scan(nil, nil, func(i store.Item) bool {
					other := s.Snapshot()
					defer other.Close()
					_, inner = other.Get(i.Key)
					return inner == nil
				})
				return errors.Join(err, inner)
			})
			use(func() error {
				var b store.Batch
				b.Put([]byte("b"), []byte("1"))
				v, err := s.Append(context.Background(), &b)
				if err == nil {
					err = s.Durable(context.Background(), v)
				}
				return err
			})
		}
		wg.Wait()
		if err := left.Close(); err != nil {
			t.Errorf("close a snapshot of a closed store: %v", err)
		}
	}
}
