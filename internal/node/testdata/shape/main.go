// Shape is a service of the node's tests whose field is of the kind, and the type, that the environment says.
package main

import (
	"os"

	"github.com/weft-run/weft/service"
)

type number struct{ Field service.Value[int] }

type text struct{ Field service.Value[string] }

type table struct{ Field service.Map[string, int] }

func main() {
	switch os.Getenv("SHAPE") {
	case "text":
		bind := func(ctx *service.Context, s *text) { service.Bind(ctx, "Field", &s.Field) }
		service.Main(service.Define("shape", bind, map[string]service.Method[text]{}))
	case "table":
		bind := func(ctx *service.Context, s *table) { service.Bind(ctx, "Field", &s.Field) }
		service.Main(service.Define("shape", bind, map[string]service.Method[table]{}))
	case "migrated":
		bind := func(ctx *service.Context, s *text) { service.Bind(ctx, "Field", &s.Field) }
		service.Main(service.Define("shape", bind, map[string]service.Method[text]{}, service.State[text]{Version: 2, Migrate: func(*text, *service.Context, int) error { return nil }}))
	default:
		bind := func(ctx *service.Context, s *number) { service.Bind(ctx, "Field", &s.Field) }
		service.Main(service.Define("shape", bind, map[string]service.Method[number]{
			"fill": func(_ *service.Context, s *number, _ service.Args) (any, error) {
				s.Field.Set(5)
				return nil, nil
			},
		}))
	}
}
