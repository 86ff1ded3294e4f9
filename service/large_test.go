package service_test

import (
	"strings"
	"testing"

	"github.com/weft-run/weft/service"
)

// texts is an object with large values.
type texts struct {
	List service.List[string]
	Map  service.Map[int, string]
}

var library = service.Define("texts", func(ctx *service.Context, t *texts) {
	service.Bind(ctx, "List", &t.List)
	service.Bind(ctx, "Map", &t.Map)
}, map[string]service.Method[texts]{
	"add": func(_ *service.Context, t *texts, args service.Args) (any, error) {
		var text string
		if err := args.Decode(&text); err != nil {
			return nil, err
		}
		n := t.List.Len()
		t.List.Append(text)
		t.Map.Set(n, text)
		return n + 1, nil
	},
	"sizes": func(_ *service.Context, t *texts, _ service.Args) (any, error) {
		var sizes []int
		for _, text := range t.List.All() {
			sizes = append(sizes, len(text))
		}
		for _, text := range t.Map.All() {
			sizes = append(sizes, len(text))
		}
		return sizes, nil
	},
	"repeat": func(ctx *service.Context, t *texts, args service.Args) (any, error) {
		var n int
		if err := args.Decode(&n); err != nil {
			return nil, err
		}
		return strings.Repeat("x", n), nil
	},
	"all": func(ctx *service.Context, _ *texts, args service.Args) (any, error) {
		var futures []service.Future[string]
		for range 3 {
			futures = append(futures, service.Go(ctx, service.NewRequest[string]("texts", "", "repeat", 900<<10)))
		}
		_, err := service.All(ctx, futures...)
		return nil, err
	},
})

// Values may be as large as there is room for in a frame, and more of them than that are
// read; what is too large is refused with its size.
func TestLargeValues(t *testing.T) {
	s := open(t, library)
	call := func(method string, args ...any) (string, error) {
		return on(t, s, service.NewRequest[any]("texts", "", method, args...))
	}
	for range 2 { // the second time what was read the first time is foreseen
		for _, n := range []int{1<<20 - 2, 700 << 10, 5, 900 << 10} {
			if _, err := call("add", strings.Repeat("x", n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := strings.Repeat("1048574,716800,5,921600,", 4)
	for range 2 {
		if got, err := call("sizes"); err != nil || got != "["+strings.TrimSuffix(want, ",")+"]" {
			t.Errorf("the sizes are %s, %v", got, err)
		}
	}
	if got, err := call("repeat", 1<<20-2); err != nil || len(got) != 1<<20 {
		t.Errorf("a large result: %d bytes, %v", len(got), err)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{second(call("repeat", 1<<20)), "texts.repeat: a result of 1048578 bytes, at most 1048576"},
		{second(call("add", strings.Repeat("x", 1<<20))), "call texts.add: arguments of 1048578 bytes, at most 1048576"},
		{second(call("all")), "wait for [1 2 3]: 3 results of 2764854 bytes together, at most 1966080: wait for fewer at a time"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("got %v, want %s", c.err, c.want)
		}
	}
}

func second(_ string, err error) error { return err }
