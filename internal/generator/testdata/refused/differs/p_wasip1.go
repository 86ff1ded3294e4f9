package p

import "github.com/weft-run/weft/service"

// B is another one.
type B struct{ N service.Value[int] }
