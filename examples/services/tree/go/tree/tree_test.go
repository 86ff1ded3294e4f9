package tree_test

import (
	"slices"
	"testing"

	"github.com/weft-run/weft/examples/services/tree/go/tree"
	"github.com/weft-run/weft/service"
)

func TestHit(t *testing.T) {
	m := service.NewMemory(tree.Services()...)
	for i := range 3 {
		hits, err := service.Call(m, tree.RootAt("").Hit("page"))
		if !slices.Equal(hits, []int{i + 1, i + 1}) || err != nil {
			t.Errorf("got %v, %v", hits, err)
		}
	}
}
