package counter_test

import (
	"errors"
	"testing"

	"github.com/weft-run/weft/examples/services/counter/go/counter"
	"github.com/weft-run/weft/service"
)

func TestCounter(t *testing.T) {
	m := service.NewMemory(counter.Services()...)
	visits := counter.CounterAt("visits")
	for i := range 3 {
		if n, err := service.Call(m, visits.Add(2)); n != 2*i+2 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if _, err := service.Call(m, visits.Add(-1)); !errors.Is(err, counter.ErrNegative) {
		t.Errorf("got %v", err)
	}
	if n, err := service.Call(m, counter.CounterAt("other").Get()); n != 0 || err != nil {
		t.Errorf("another one is %d, %v", n, err)
	}
}
