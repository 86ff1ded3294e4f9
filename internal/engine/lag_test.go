package engine_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
)

// asking is a store that notes which versions somebody wants on disk.
type asking struct {
	store.Store
	appended, asked atomic.Uint64
	news            chan struct{}
}

func (s *asking) Append(ctx context.Context, b *store.Batch) (store.Version, error) {
	v, err := s.Store.Append(ctx, b)
	s.appended.Store(uint64(v))
	return v, err
}

func (s *asking) Notify(v store.Version, f func(error)) {
	s.asked.Store(max(s.asked.Load(), uint64(v)))
	s.Store.Notify(v, f)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// What a run has done is on disk soon, even if it goes on for long and nobody
// waits for anything.
func TestLinesThatNobodyWaitsForAreFlushed(t *testing.T) {
	b := newBench(t, engine.Options{})
	disk := &asking{Store: b.store, news: make(chan struct{}, 1)}
	b.store = disk
	second := make(chan struct{})
	b.boxes.fn["other"] = func(any) (any, *flow.Failure) {
		close(second)
		return nil, never
	}
	b.start(engine.Options{Speculate: true})
	b.begin(engine.StartRequest{Workflow: "order", Input: 1.0})
	<-second // what the first call gave is appended, and nothing else will be
	for disk.asked.Load() < disk.appended.Load() {
		<-disk.news
	}
}

// holding is a store whose first answer comes when it is let go.
type holding struct {
	*asking
	first   atomic.Bool
	release chan struct{}
}

func (s *holding) Notify(v store.Version, f func(error)) {
	if s.first.CompareAndSwap(false, true) {
		s.asking.Notify(v, func(err error) { // which comes at once
			go func() {
				<-s.release
				f(err)
			}()
		})
		return
	}
	s.asking.Notify(v, f)
}

// What comes while the store is being asked about earlier lines is flushed too.
func TestLinesBehindAQuestionAreFlushed(t *testing.T) {
	b := newBench(t, engine.Options{})
	disk := &holding{asking: &asking{Store: b.store, news: make(chan struct{}, 1)}, release: make(chan struct{})}
	b.store = disk
	second := make(chan struct{})
	b.boxes.fn["other"] = func(any) (any, *flow.Failure) {
		close(second)
		return nil, never
	}
	b.start(engine.Options{Speculate: true})
	accepted := make(chan error)
	go func() {
		_, _, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0})
		accepted <- err
	}()
	<-second // the record of the run is what the store has been asked about
	close(disk.release)
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	for disk.asked.Load() < disk.appended.Load() {
		<-disk.news
	}
}
