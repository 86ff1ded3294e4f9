// Package service is what the author of a service imports. A service is state with
// methods, written as if it were one object in one process that never fails; weft
// keeps that true when instances crash, requests come twice, and many come at once.
//
//	package bank
//
//	import "github.com/weft-run/weft/service"
//
//	// Account is an account; each object is one.
//	type Account struct {
//		Balance service.Value[int]
//		Log     service.Map[string, int]
//	}
//
//	// Take takes money out.
//	func (a *Account) Take(ctx *service.Context, amount int) (int, error) {
//		left := a.Balance.Get() - amount
//		if left < 0 {
//			return 0, ErrFunds // nothing of this call has happened
//		}
//		a.Balance.Set(left)
//		return left, nil
//	}
//
//	// Teller moves money.
//	//
//	//weft:service
//	type Teller struct{}
//
//	// Move moves money between accounts: both get to know, or none.
//	func (Teller) Move(ctx *service.Context, from, to string, amount int) error {
//		return service.Tx(ctx, func() error {
//			if _, err := service.Call(ctx, AccountAt(from).Take(amount)); err != nil {
//				return err
//			}
//			_, err := service.Call(ctx, AccountAt(to).Put(amount))
//			return err
//		})
//	}
//
// A struct with a field of type [Value], [Map] or [List] is a service, and so is one
// with the line //weft:service. Its exported methods can be called by others: they
// have a pointer to a [Context] first, then arguments, and return a value, an error,
// both, or nothing. "weft generate" reads the package and writes what it needs besides:
// AccountAt, Services, and a program. Outside of Go, services and methods are called
// account and take, url-shortener and moveAll.
//
// # State
//
// Fields are read and written where they stand. What is read is a copy: a slice or a
// map that was changed in place has to be set again. An entry of a map, and an element of a list, is a key
// of its own in the store, with its own lock. Values, arguments and results are
// JSON: any type that encoding/json takes back as it was given.
//
// # What is atomic
//
// A method runs alone from its beginning to its end, or to the next moment at which
// it waits: [Run], [Sleep], [Future.Wait] for something that is not there yet. So do the
// methods that it calls. There is no need to retry anything.
//
// A method that returns an error has, since the request last waited, changed
// nothing. One that panics is tried again. [Tx] makes a part of a method, with all that it calls, one that
// comes to nothing by itself.
//
// # What a method may not do
//
// A method may be run again from any moment at which it waited. It is then given
// the same answers, and has to ask the same questions. So it has no goroutines, global
// variables, clock, randomness and input or output; [Now], [Rand] and [Run] are for that.
// "weft generate" refuses what it sees of those.
//
// # Tests
//
// [NewMemory] has the same methods over plain memory:
//
//	m := service.NewMemory(bank.Services()...)
//	left, err := service.Call(m, bank.AccountAt("7").Take(5))
//
// It is the specification: what the node does must look the same.
package service
