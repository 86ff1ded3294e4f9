package bank_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weft-run/weft/examples/services/bank/go/bank"
	"github.com/weft-run/weft/service"
)

var (
	ann, bob = bank.AccountAt("ann"), bank.AccountAt("bob")
	teller   = bank.TellerAt("")
)

// rich is a bank where Ann has 10.
func rich(t *testing.T) *service.Memory {
	m := service.NewMemory(bank.Services()...)
	if n, err := service.Call(m, ann.Put(10)); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	return m
}

func balance(t *testing.T, m *service.Memory, a bank.AccountClient) int {
	t.Helper()
	n, err := service.Call(m, a.Read())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMove(t *testing.T) {
	m := rich(t)
	if _, err := service.Call(m, teller.Move(bank.Move{From: "ann", To: "bob", Amount: 4})); err != nil {
		t.Fatal(err)
	}
	_, err := service.Call(m, teller.Move(bank.Move{From: "ann", To: "bob", Amount: 7}))
	if !errors.Is(err, bank.ErrFunds) {
		t.Errorf("got %v", err)
	}
	if a, b := balance(t, m, ann), balance(t, m, bob); a != 6 || b != 4 {
		t.Errorf("balances are %d and %d", a, b)
	}
	if n, _ := service.Call(m, teller.Count()); n != 1 {
		t.Errorf("%d moves", n)
	}
	history, err := service.Call(m, ann.History())
	if err != nil || len(history) != 2 || history[1].Amount != -4 {
		t.Errorf("history: %v, %v", history, err)
	}
	if total, err := service.Call(m, bank.AuditAt("").Total([]string{"ann", "bob", "nobody"})); total != 10 || err != nil {
		t.Errorf("total: %d, %v", total, err)
	}
	if _, err := service.Call(m, ann.Take(100)); !errors.Is(err, bank.ErrFunds) {
		t.Errorf("got %v", err)
	}
}

// What cannot be moved leaves no trace, what comes before and after it does.
func TestMoveAll(t *testing.T) {
	m := rich(t)
	n, err := service.Call(m, teller.MoveAll([]bank.Move{{"ann", "bob", 4}, {"ann", "bob", 7}, {"ann", "bob", -1}, {"bob", "ann", 1}}))
	if n != 2 || err != nil || balance(t, m, ann) != 7 || balance(t, m, bob) != 3 {
		t.Errorf("%d moves, %v: %v", n, err, m.State())
	}
}

// A week passes at once, and somebody may think better of it.
func TestMoveLater(t *testing.T) {
	const week = 7 * 24 * time.Hour
	m := rich(t)
	for _, c := range []struct {
		name string
		do   func(id string) error
		left int
	}{
		{"moved", func(string) error { m.Advance(week); return nil }, 9},
		{"stopped", func(id string) error { return m.Resolve(id, "stop", "no") }, 9},
		{"too early", func(string) error { m.Advance(week - 1); return nil }, 9},
		{"the rest", func(string) error { m.Advance(2 * week); return nil }, 7},
	} {
		id, err := service.Accept(m, teller.MoveLater(bank.Move{From: "ann", To: "bob", Amount: 1}, week))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(id); err != nil {
			t.Error(err)
		}
		if n := balance(t, m, ann); n != c.left {
			t.Errorf("%s: %d are left, want %d", c.name, n, c.left)
		}
	}
	if s, err := service.Call(m, teller.MoveLater(bank.Move{From: "ann", To: "bob", Amount: 1}, week)); s != "moved" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
}
