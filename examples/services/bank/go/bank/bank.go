// Package bank is accounts, a teller who moves money between them, and an audit that
// sees the same total at any time.
package bank

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/service"
)

// ErrFunds is returned where an account has too little.
var ErrFunds = errors.New("insufficient funds")

// Account is the money of somebody.
type Account struct {
	Balance service.Value[int]
	Entries service.List[Entry]
}

// Entry says how an account has changed.
type Entry struct {
	At      time.Time
	Amount  int
	Balance int
}

// Put adds money, and returns the balance.
func (a *Account) Put(ctx *service.Context, amount int) (int, error) {
	if amount < 0 {
		return 0, fmt.Errorf("put %d: an amount is positive", amount)
	}
	return a.change(ctx, amount), nil
}

// Take takes money out, and returns the balance.
func (a *Account) Take(ctx *service.Context, amount int) (int, error) {
	if amount < 0 {
		return 0, fmt.Errorf("take %d: an amount is positive", amount)
	}
	left := a.change(ctx, -amount)
	if left < 0 {
		return 0, ErrFunds // and the entry is not made
	}
	return left, nil
}

func (a *Account) change(ctx *service.Context, amount int) int {
	left := a.Balance.Update(func(n int) int { return n + amount })
	a.Entries.Append(Entry{service.Now(ctx).UTC(), amount, left})
	return left
}

// Read returns the balance.
//
//weft:shared
func (a *Account) Read(ctx *service.Context) int { return a.Balance.Get() }

// History returns all changes.
//
//weft:shared
func (a *Account) History(ctx *service.Context) []Entry { return a.Entries.Slice() }

// Teller moves money.
type Teller struct {
	Moves service.Map[string, Move] // by request
}

// Move is an order to move money.
type Move struct {
	From, To string
	Amount   int
}

// Move moves money: both accounts get to know, or none does.
func (t *Teller) Move(ctx *service.Context, m Move) error {
	return service.Tx(ctx, func() error {
		if _, err := service.Call(ctx, AccountAt(m.From).Take(m.Amount)); err != nil {
			return err
		}
		if _, err := service.Call(ctx, AccountAt(m.To).Put(m.Amount)); err != nil {
			return err
		}
		t.Moves.Set(ctx.Request(), m)
		return nil
	})
}

// MoveAll carries orders out one by one, and returns how many could be.
func (t *Teller) MoveAll(ctx *service.Context, moves []Move) int {
	done := 0
	for _, m := range moves {
		if err := t.Move(ctx, m); err == nil {
			done++
		}
	}
	return done
}

// MoveLater moves money after a while, if nobody resolves the promise "stop" until then.
func (t *Teller) MoveLater(ctx *service.Context, m Move, wait time.Duration) (string, error) {
	stop := service.Promise[string](ctx, "stop")
	if service.Any(ctx, stop, service.After(ctx, wait)) == 0 {
		reason, err := stop.Wait()
		return "stopped: " + reason, err
	}
	return "moved", t.Move(ctx, m)
}

// Count returns how many moves there were.
func (t *Teller) Count(ctx *service.Context) int {
	n := 0
	for range t.Moves.All() {
		n++
	}
	return n
}

// Audit sums up accounts.
//
//weft:service
type Audit struct{}

// Total asks all accounts, as they are at one moment, and keeps nobody waiting.
//
//weft:snapshot
func (Audit) Total(ctx *service.Context, accounts []string) (int, error) {
	total := 0
	for _, name := range accounts {
		n, err := service.Call(ctx, AccountAt(name).Read())
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
