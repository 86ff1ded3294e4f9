package sweep_test

import (
	"errors"
	"time"

	"github.com/weft-run/weft/internal/service/sweep"
	"github.com/weft-run/weft/service"
)

// shelf is what a shop sells, with the slips of what was sold.
type shelf struct {
	Left  service.Value[int]
	Slips service.Map[string, int]
}

var errSold = errors.New("sold out")

// shop uses all that a method may ask for: side effects, time, calls that are started,
// sent, delayed, and compensated, transactions that abort, and beginning anew.
var shop = []service.Service{
	service.Define("shelf", func(ctx *service.Context, s *shelf) {
		service.Bind(ctx, "Left", &s.Left)
		service.Bind(ctx, "Slips", &s.Slips)
	}, map[string]service.Method[shelf]{
		"take": func(_ *service.Context, s *shelf, args service.Args) (any, error) {
			var slip string
			if err := args.Decode(&slip); err != nil {
				return nil, err
			}
			left := s.Left.Update(func(n int) int { return n - 1 })
			s.Slips.Update(slip, func(n int) int { return n + 1 })
			if left < 0 {
				return nil, errSold
			}
			return left, nil
		},
		"give": func(_ *service.Context, s *shelf, args service.Args) (any, error) {
			var slip string
			if err := args.Decode(&slip); err != nil {
				return nil, err
			}
			s.Slips.Delete(slip)
			return s.Left.Update(func(n int) int { return n + 1 }), nil
		},
		"slips": func(_ *service.Context, s *shelf, args service.Args) (any, error) {
			all := map[string]int{}
			for k, n := range s.Slips.All() {
				all[k] = n
			}
			return all, args.Decode()
		},
	}),
	service.Define("shop", func(*service.Context, *struct{}) {}, map[string]service.Method[struct{}]{
		"order": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
			var name string
			if err := args.Decode(&name); err != nil {
				return nil, err
			}
			if _, err := service.Call(ctx, at("bread", "take", name)); err != nil {
				return nil, err
			}
			service.Compensate(ctx, at("bread", "give", name))
			if _, err := service.Run(ctx, "charge", func(string) (int, error) { return 5, nil }); err != nil {
				return nil, err
			}
			_, err := service.All(ctx, service.Go(ctx, at("wine", "take", name)), service.Go(ctx, at("salt", "take", name)))
			if err != nil {
				return nil, err
			}
			service.SendAfter(ctx, 20*time.Second, at("notes", "give", name))
			return "ordered", nil
		},
		"basket": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
			var name string
			if err := args.Decode(&name); err != nil {
				return nil, err
			}
			service.Sleep(ctx, 5*time.Second)
			for range 2 {
				err := service.Tx(ctx, func() error {
					for _, what := range []string{"salt", "wine"} {
						if _, err := service.Call(ctx, at(what, "take", name)); err != nil {
							return err
						}
					}
					service.Send(ctx, at("notes", "give", name))
					return nil
				})
				if errors.Is(err, errSold) {
					return "too late", nil
				}
			}
			return "twice", nil
		},
		"count": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
			var name string
			var n int
			if err := args.Decode(&name, &n); err != nil {
				return nil, err
			}
			if n == 0 {
				return name, nil
			}
			if _, err := service.Call(ctx, at("notes", "give", name)); err != nil {
				return nil, err
			}
			return service.Continue(ctx, service.NewRequest[string]("shop", "", "count", name, n-1))
		},
	}),
}

func at(object, method, slip string) service.Request[int] {
	return service.NewRequest[int]("shelf", object, method, slip)
}

var shopScript = sweep.Script{
	Name: "shop", Services: shop,
	Before: []sweep.Call{
		sweep.Do("shelf", "bread", "give", ""), sweep.Do("shelf", "bread", "give", ""), sweep.Do("shelf", "wine", "give", ""),
		sweep.Do("shelf", "wine", "give", ""), sweep.Do("shelf", "salt", "give", ""), sweep.Do("shelf", "salt", "give", ""),
	},
	Clients: [][]sweep.Call{
		{sweep.Do("shop", "", "order", "a"), sweep.Do("shelf", "wine", "slips")},
		{sweep.Do("shop", "", "basket", "b")},
		{sweep.Do("shop", "", "order", "c"), sweep.Do("shop", "", "count", "d", 2)},
	},
}
