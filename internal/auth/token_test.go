package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

func openTokens(t testing.TB, s store.Store) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(context.Background(), s, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func create(t testing.TB, tokens *Tokens, name string, role Role, expires time.Duration) (Token, string) {
	t.Helper()
	token, plain, err := tokens.Create(context.Background(), name, role, expires)
	if err != nil {
		t.Fatal(err)
	}
	return token, plain
}

func TestRoles(t *testing.T) {
	order := []Role{Read, Invoke, Deploy, Admin}
	for i, r := range order {
		for j, need := range order {
			if r.Allows(need) != (i >= j) {
				t.Errorf("%s allows %s: %v", r, need, r.Allows(need))
			}
		}
		text, err := r.MarshalText()
		var again Role
		if err == nil {
			err = again.UnmarshalText(text)
		}
		if err != nil || again != r || string(text) != r.String() {
			t.Errorf("%s became %s by %q, %v", r, again, text, err)
		}
		if r.Allows(0) || Role(0).Allows(r) || Role(9).Allows(r) || r.Allows(9) {
			t.Errorf("a role that does not exist allows something or is allowed by %s", r)
		}
	}
	for _, s := range []string{"", "Admin", "admin ", "role 0", "owner"} {
		if r, err := ParseRole(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("role %q is %s, %v", s, r, err)
		}
	}
	if _, err := Role(0).MarshalText(); !errors.Is(err, ErrInvalid) {
		t.Errorf("no role has a text: %v", err)
	}
}

func TestRequire(t *testing.T) {
	who := Identity{Name: "ci", Role: Invoke}
	if err := who.Require(Read); err != nil {
		t.Error(err)
	}
	err := who.Require(Deploy)
	var refusal *Refusal
	if !errors.Is(err, ErrForbidden) || !errors.As(err, &refusal) || refusal.Status != 403 {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"ci", "invoke", "deploy"} {
		if !strings.Contains(refusal.Detail, want) {
			t.Errorf("%q does not say %s", refusal.Detail, want)
		}
	}
}

func TestATokenIsThereAgain(t *testing.T) {
	s := memory.New(memory.Options{})
	tokens := openTokens(t, s)
	token, plain := create(t, tokens, "ci", Deploy, 0)
	other, otherPlain := create(t, tokens, "ci", Read, time.Hour)
	if !strings.HasPrefix(plain, "weft_"+token.ID+"_") || plain == otherPlain || token.ID == other.ID {
		t.Errorf("tokens are %q and %q", plain, otherPlain)
	}
	for _, tokens := range []*Tokens{tokens, openTokens(t, s)} {
		who, err := tokens.Check(plain)
		if want := (Identity{Name: "ci", Role: Deploy, Token: token.ID}); err != nil || who != want {
			t.Errorf("the token is %v, %v; want %v", who, err, want)
		}
		if who, err := tokens.Check(otherPlain); err != nil || who.Role != Read {
			t.Errorf("the other token is %v, %v", who, err)
		}
	}
}

func TestWhatIsNoToken(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Admin, 0)
	_, other := create(t, tokens, "ci", Admin, 0)
	const end = len(scheme) + idLen
	wrong := []string{"", "weft_", plain + " ", plain[:len(plain)-1], strings.ToUpper(plain), plain[:end] + other[end:], other[:end] + plain[end:],
		"weft_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa", strings.Replace(plain, "_", "-", 1), strings.Repeat("x", 1<<20)}
	for i := range plain {
		changed := []byte(plain)
		changed[i] ^= 1
		wrong = append(wrong, string(changed))
	}
	for _, w := range wrong {
		if who, err := tokens.Check(w); !errors.Is(err, ErrUnknown) || who != (Identity{}) {
			t.Errorf("%.60q is %v, %v", w, who, err)
		}
	}
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		tokens := openTokens(t, s)
		time.Sleep(300 * time.Millisecond)
		token, plain := create(t, tokens, "short", Read, time.Minute)
		_, forever := create(t, tokens, "forever", Read, 0)
		if got := token.Expires.Sub(token.Created); got != time.Minute {
			t.Errorf("expires %s after it was made", got)
		}
		time.Sleep(time.Until(token.Expires) - time.Nanosecond)
		if _, err := tokens.Check(plain); err != nil {
			t.Errorf("just before: %v", err)
		}
		time.Sleep(time.Nanosecond)
		for _, tokens := range []*Tokens{tokens, openTokens(t, s)} {
			if who, err := tokens.Check(plain); !errors.Is(err, ErrExpired) || who != (Identity{}) {
				t.Errorf("at its end: %v, %v", who, err)
			}
			if _, err := tokens.Check(plain[:len(plain)-1] + "1"); !errors.Is(err, ErrUnknown) {
				t.Errorf("a wrong text of an expired token: %v", err)
			}
			if _, err := tokens.Check(forever); err != nil {
				t.Errorf("forever: %v", err)
			}
			if n := len(tokens.List()); n != 2 {
				t.Errorf("%d tokens are listed, want 2", n)
			}
		}
	})
}

func TestRevoke(t *testing.T) {
	s := memory.New(memory.Options{})
	tokens := openTokens(t, s)
	token, plain := create(t, tokens, "ci", Admin, 0)
	_, stays := create(t, tokens, "ci", Admin, 0)
	if err := tokens.Revoke(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	for _, tokens := range []*Tokens{tokens, openTokens(t, s)} {
		if _, err := tokens.Check(plain); !errors.Is(err, ErrUnknown) {
			t.Errorf("a revoked token: %v", err)
		}
		if _, err := tokens.Check(stays); err != nil {
			t.Errorf("the other token: %v", err)
		}
		for _, id := range []string{token.ID, "", "x"} {
			if err := tokens.Revoke(t.Context(), id); !errors.Is(err, ErrUnknown) {
				t.Errorf("revoke %q: %v", id, err)
			}
		}
	}
}

func TestTokensThatCannotBeMade(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	tests := []struct {
		name    string
		role    Role
		expires time.Duration
	}{
		{"", Read, 0}, {strings.Repeat("n", 65), Read, 0}, {"a\nb", Read, 0}, {"\xff", Read, 0}, {"\u202e", Read, 0},
		{"ci", 0, 0}, {"ci", Admin + 1, 0}, {"ci", Read, -1}, {"ci", Read, time.Second - 1},
	}
	for _, test := range tests {
		if _, plain, err := tokens.Create(t.Context(), test.name, test.role, test.expires); !errors.Is(err, ErrInvalid) || plain != "" {
			t.Errorf("%+v: %q, %v", test, plain, err)
		}
	}
	if n := len(tokens.List()); n != 0 {
		t.Errorf("%d tokens were made", n)
	}
	for _, name := range []string{"c", "Jürgen's laptop", strings.Repeat("n", 64)} {
		create(t, tokens, name, Read, time.Second)
	}
}

func TestListSaysWhenTokensWereUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		tokens := openTokens(t, s)
		_, first := create(t, tokens, "first", Read, 0)
		time.Sleep(time.Second)
		second, _ := create(t, tokens, "second", Admin, time.Hour)
		time.Sleep(time.Minute)
		used := time.Now().UTC().Truncate(time.Second)
		if _, err := tokens.Check(first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		before := s.Snapshot().Version()
		list := tokens.List()
		names := []string{}
		for _, token := range list {
			names = append(names, token.Name)
		}
		if !slices.Equal(names, []string{"first", "second"}) || !list[0].Used.Equal(used) || list[1] != second {
			t.Errorf("the list is %+v", list)
		}
		if s.Snapshot().Version() != before {
			t.Error("a check or a list has written")
		}
		if got := openTokens(t, s).List(); !got[0].Used.IsZero() {
			t.Errorf("used was written before Flush: %v", got[0].Used)
		}
		for range 2 {
			if err := tokens.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := s.Snapshot().Version(); got != before+1 {
				t.Errorf("%d writes, want one", got-before)
			}
		}
		again := openTokens(t, s)
		if got := again.List(); fmt.Sprint(got) != fmt.Sprint(list) {
			t.Errorf("the list is %+v, was %+v", got, list)
		}
		if _, err := again.Check(first); err != nil {
			t.Errorf("after a flush: %v", err)
		}
	})
}

// disk is a store whose flushes happen when somebody waits for them.
type disk struct{ *memory.Store }

func (d disk) Durable(ctx context.Context, v store.Version) error {
	d.Sync()
	return d.Store.Durable(ctx, v)
}

// What Create and Revoke have returned survives a crash.
func TestTokensAreDurable(t *testing.T) {
	for seed := range uint64(8) {
		s := disk{memory.New(memory.Options{Manual: true, Seed: seed})}
		token, plain := create(t, openTokens(t, s), "ci", Read, 0)
		s.Crash()
		tokens := openTokens(t, s)
		if _, err := tokens.Check(plain); err != nil {
			t.Fatalf("seed %d: a token is lost: %v", seed, err)
		}
		if err := tokens.Revoke(t.Context(), token.ID); err != nil {
			t.Fatal(err)
		}
		s.Crash()
		if _, err := openTokens(t, s).Check(plain); !errors.Is(err, ErrUnknown) {
			t.Fatalf("seed %d: a revoked token is there again: %v", seed, err)
		}
	}
}

// A caller that has gone away changes nothing.
func TestACallerThatHasGone(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	token, plain := create(t, tokens, "ci", Read, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, plain, err := tokens.Create(ctx, "ci", Read, 0); !errors.Is(err, context.Canceled) || plain != "" {
		t.Errorf("Create: %q, %v", plain, err)
	}
	if err := tokens.Revoke(ctx, token.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Revoke: %v", err)
	}
	if _, err := tokens.Check(plain); err != nil || len(tokens.List()) != 1 {
		t.Errorf("%d tokens, %v", len(tokens.List()), err)
	}
}

func TestAStoreThatFails(t *testing.T) {
	s := memory.New(memory.Options{})
	tokens := openTokens(t, s)
	token, plain := create(t, tokens, "ci", Read, 0)
	s.Inject(func(string) error { return errors.New("input/output error") })
	if _, plain, err := tokens.Create(t.Context(), "ci", Read, 0); !errors.Is(err, store.ErrFailed) || plain != "" {
		t.Errorf("Create: %q, %v", plain, err)
	}
	if _, err := tokens.Check(plain); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := tokens.Flush(t.Context()); !errors.Is(err, store.ErrFailed) {
		t.Errorf("Flush: %v", err)
	}
	if err := tokens.Revoke(t.Context(), token.ID); !errors.Is(err, store.ErrFailed) {
		t.Errorf("Revoke: %v", err)
	}
	if _, err := tokens.Check(plain); !errors.Is(err, ErrUnknown) {
		t.Errorf("a token whose revocation has failed: %v", err)
	}
}

func TestDamagedTokensAreTold(t *testing.T) {
	for _, value := range []string{"", "\x02{}", "\x01{", "\x01{}", "\x01" + `{"role":"admin","hash":""}`, "\x01" + `{"role":"god"}`} {
		s := memory.New(memory.Options{})
		var b store.Batch
		b.Put([]byte("token/abc"), []byte(value))
		if _, err := s.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTokens(t.Context(), s, time.Now); err == nil || !strings.Contains(err.Error(), "token abc") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestTokensFromManyGoroutines(t *testing.T) {
	s := memory.New(memory.Options{})
	tokens := openTokens(t, s)
	_, stays := create(t, tokens, "stays", Read, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				token, plain := create(t, tokens, "goes", Admin, 0)
				_, err1 := tokens.Check(plain)
				_, err2 := tokens.Check(stays)
				if err := errors.Join(err1, err2, tokens.Flush(context.Background()), tokens.Revoke(context.Background(), token.ID)); err != nil {
					t.Error(err)
				}
				if _, err := tokens.Check(plain); !errors.Is(err, ErrUnknown) {
					t.Errorf("a revoked token: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(openTokens(t, s).List()); n != 1 {
		t.Errorf("%d tokens are left, want 1", n)
	}
}

func TestACheckAllocatesNothing(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Read, time.Hour)
	if n := testing.AllocsPerRun(100, func() { tokens.Check(plain) }); n != 0 {
		t.Errorf("%v allocations a check", n)
	}
}

// What is accepted as a record is written as one that is the same.
func FuzzDecode(f *testing.F) {
	r := &record{Name: "ci", Role: Admin, Created: time.Unix(1, 0).UTC(), Hash: make([]byte, 32)}
	good, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{format})
	f.Add([]byte("\x01{}"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decode(value)
		if err != nil {
			return
		}
		newEntry("id", r).view()
		first, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(first)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.encode(); err != nil || string(first) != string(second) {
			t.Errorf("%q became %q, %v", first, second, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	tokens := openTokens(b, memory.New(memory.Options{}))
	_, plain := create(b, tokens, "ci", Read, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Check(plain); err != nil {
			b.Fatal(err)
		}
	}
}
