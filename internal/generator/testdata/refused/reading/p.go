// Package p has methods that write although they say that they only read.
package p

import (
	"time"

	"github.com/weft-run/weft/service"
)

// A is a service.
type A struct {
	N service.Value[int]
	M service.Map[string, int]
	L service.List[int]
}

// Writes writes.
//
//weft:shared
func (a *A) Writes(ctx *service.Context) {
	a.N.Set(1)
	a.M.Update("a", func(n int) int { return n + 1 })
	set := a.M.Delete
	set("a")
	a.help()
}

func (a *A) help() {
	a.L.Append(1)
	a.L.Pop()
}

// Waits may wait, as it is shared.
//
//weft:shared
func (a *A) Waits(ctx *service.Context) int {
	service.Sleep(ctx, time.Second)
	return a.N.Get()
}

// Looks does more than to read.
//
//weft:snapshot
func (a *A) Looks(ctx *service.Context) int {
	service.Sleep(ctx, time.Second)
	service.Send(ctx, AAt("").Writes())
	_, _ = service.Run(ctx, "mail", func(string) (int, error) { return 0, nil })
	n, _ := service.Call(ctx, AAt("").Waits())
	return n
}
