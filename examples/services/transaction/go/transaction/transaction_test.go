package transaction_test

import (
	"fmt"
	"testing"

	"github.com/weft-run/weft/examples/services/transaction/go/transaction"
	"github.com/weft-run/weft/service"
)

func TestTransaction(t *testing.T) {
	m := service.NewMemory(transaction.Services()...)
	frontend := transaction.FrontendAt("")
	for _, c := range []struct {
		name string
		call service.Request[[][]int]
		want string
	}{
		{"by the caller", frontend.Abort(5), "[[] [] []]"},
		{"by the second service", frontend.Abort(42), "[[] [] []]"},
		{"the first one", frontend.Compose(5), "[[5] [5] [5]]"},
		{"another one", frontend.Compose(42), "[[5 42] [5 42] [5 42]]"},
		{"after others", frontend.Abort(11), "[[5 42] [5 42] [5 42]]"},
	} {
		if got, err := service.Call(m, c.call); fmt.Sprint(got) != c.want || err != nil {
			t.Errorf("%s: got %v, %v, want %s", c.name, got, err, c.want)
		}
	}
}
