// Lists is the services that are called while their server is killed: lists, a desk that
// works on several of them in a transaction, and registers.
package main

import (
	"errors"

	"github.com/weft-run/weft/service"
)

// List is values that are appended.
type List struct{ Values service.List[int] }

// Op appends a value to a list; without one it reads.
type Op struct {
	List  string
	Value int
	Read  []int
}

var errChosen = errors.New("by choice")

func appendTo(list string, v int) service.Request[service.None] {
	return service.NewRequest[service.None]("list", list, "append", v)
}

func read(list string) service.Request[[]int] { return service.NewRequest[[]int]("list", list, "read") }

// do carries out operations as one, or none of them if it is to fail.
func do(ctx *service.Context, ops []Op, fail, atOnce bool) ([]Op, error) {
	err := service.Tx(ctx, func() error {
		for i := range ops {
			o := &ops[i]
			switch {
			case o.Value != 0 && atOnce:
				if _, err := service.Go(ctx, appendTo(o.List, o.Value)).Wait(); err != nil {
					return err
				}
			case o.Value != 0:
				if _, err := service.Call(ctx, appendTo(o.List, o.Value)); err != nil {
					return err
				}
			default:
				var err error
				if o.Read, err = service.Call(ctx, read(o.List)); err != nil {
					return err
				}
			}
		}
		if fail {
			return errChosen
		}
		return nil
	})
	return ops, err
}

// Register is one value.
type Register struct{ Value service.Value[int] }

func main() {
	service.Main(
		service.Define("list", func(ctx *service.Context, l *List) { service.Bind(ctx, "Values", &l.Values) }, map[string]service.Method[List]{
			"append": func(_ *service.Context, l *List, args service.Args) (any, error) {
				var v int
				if err := args.Decode(&v); err != nil {
					return nil, err
				}
				l.Values.Append(v)
				return nil, nil
			},
			"read": func(_ *service.Context, l *List, args service.Args) (any, error) {
				return append([]int{}, l.Values.Slice()...), args.Decode()
			},
		}),
		service.Define("desk", func(*service.Context, *struct{}) {}, map[string]service.Method[struct{}]{
			"do": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
				var ops []Op
				var fail, atOnce bool
				if err := args.Decode(&ops, &fail, &atOnce); err != nil {
					return nil, err
				}
				return do(ctx, ops, fail, atOnce)
			},
		}),
		service.Define("register", func(ctx *service.Context, r *Register) { service.Bind(ctx, "Value", &r.Value) }, map[string]service.Method[Register]{
			"get": func(_ *service.Context, r *Register, args service.Args) (any, error) {
				return r.Value.Get(), args.Decode()
			},
			"set": func(_ *service.Context, r *Register, args service.Args) (any, error) {
				var v int
				if err := args.Decode(&v); err != nil {
					return nil, err
				}
				r.Value.Set(v)
				return v, nil
			},
			"swap": func(_ *service.Context, r *Register, args service.Args) (any, error) {
				var old, v int
				if err := args.Decode(&old, &v); err != nil {
					return nil, err
				}
				if r.Value.Get() != old {
					return false, nil
				}
				r.Value.Set(v)
				return true, nil
			},
		}),
	)
}
