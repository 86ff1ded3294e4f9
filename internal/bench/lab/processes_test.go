package lab

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// What the processor time and the memory of a child are is seen from its parent.
func TestObserve(t *testing.T) {
	block := baseline.NewBlock(64 << 20)
	s, err := baseline.NewUnixSocket() // its process gets to hold 64 MiB
	if err != nil {
		t.Fatal(err)
	}
	u, err := Observe(t.Context(), func(ctx context.Context) error {
		start := time.Now()
		for time.Since(start) < 400*time.Millisecond {
			if _, err := s.Hand(ctx, block); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if u.Peak < 128<<20 || u.Peak > 4<<30 || u.Mean <= 0 || u.Mean > u.Peak || u.taken < 2 {
		t.Errorf("memory: peak %d MiB, mean %d MiB in %d samples; two processes hold 64 MiB each", u.Peak>>20, u.Mean>>20, u.taken)
	}
	if u.CPU < 50*time.Millisecond || u.CPU > 5*time.Second {
		t.Errorf("processor time %s", u.CPU)
	}
	broken := errors.New("broken")
	if _, err := Observe(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("failed work: %v", err)
	}
}
