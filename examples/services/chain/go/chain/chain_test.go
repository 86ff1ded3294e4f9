package chain_test

import (
	"testing"

	"github.com/weft-run/weft/examples/services/chain/go/chain"
	"github.com/weft-run/weft/service"
)

func TestHit(t *testing.T) {
	m := service.NewMemory(chain.Services()...)
	for i := range 3 {
		if n, err := service.Call(m, chain.Caller1At("").Hit("page")); n != i+1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if n, err := service.Call(m, chain.BackendAt("").Hit("other")); n != 1 || err != nil {
		t.Errorf("another one is %d, %v", n, err)
	}
}
