package fanout_test

import (
	"fmt"
	"testing"

	"github.com/weft-run/weft/examples/services/fan-out/go/fanout"
	"github.com/weft-run/weft/service"
)

func TestAdd(t *testing.T) {
	m := service.NewMemory(fanout.Services()...)
	for _, c := range []struct {
		n    int
		want string
	}{{5, "[[5] [5]]"}, {42, "[[5 42] [5 42]]"}} {
		if got, err := service.Call(m, fanout.CallerAt("").Add(c.n)); fmt.Sprint(got) != c.want || err != nil {
			t.Errorf("%d: got %v, %v, want %s", c.n, got, err, c.want)
		}
	}
}
