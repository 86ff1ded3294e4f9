package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

// slow is a store that takes its time to append, so that more than one thing comes meanwhile.
type slow struct{ store.Store }

func (s slow) Append(ctx context.Context, b *store.Batch) (store.Version, error) {
	time.Sleep(time.Millisecond)
	return s.Store.Append(ctx, b)
}

// What a request that waits has done before is in the state for whoever sees that it waits.
func TestWhatIsSeenIsInTheState(t *testing.T) {
	d := &desk{keys: map[string]int{}}
	s := open(t, slow{memory.New(memory.Options{})}, d.methods(), machine.Options{})
	defer s.Close()
	for n := uint64(1); n <= 100; n++ {
		id, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "file")})
		if err != nil {
			t.Fatal(err)
		}
		for {
			if v, ok := s.Request(id); !ok {
				t.Fatal("the request is gone")
			} else if v.State == machine.Waiting {
				break
			}
		}
		b, _, err := s.Get(t.Context(), "desk", "", wire.Key{Field: "b"})
		if err != nil || number(b) != n {
			t.Fatalf("request %d waits, and %d are in the state (%v)", n, number(b), err)
		}
	}
}
