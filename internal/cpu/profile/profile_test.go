package profile_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/cpu/profile"
)

const ms = time.Millisecond

// seen is a profile of calls.
func seen(calls ...time.Duration) profile.Profile {
	var p profile.Profile
	for _, c := range calls {
		p.Observe(c)
	}
	return p
}

// near fails unless got lies within a share of want.
func near(t *testing.T, what string, got, want time.Duration, share float64) {
	t.Helper()
	if math.Abs(float64(got-want)) > share*float64(want) {
		t.Errorf("%s: %v, want %v within %v %%", what, got, want, share*100)
	}
}

func TestAnEmptyProfileKnowsNothing(t *testing.T) {
	var p profile.Profile
	if p.Known() || p.Calls() != 0 || p.Mean() != 0 || p.Quantile(0.5) != 0 || p.Beyond(0) != 0 {
		t.Errorf("it claims to know: %+v", p)
	}
	if got := p.Remaining(7 * ms); got != 7*ms {
		t.Errorf("remaining at 7 ms: %v, want as much again", got)
	}
}

func TestTenCallsAreEnough(t *testing.T) {
	for _, cpu := range []time.Duration{80 * time.Microsecond, 3 * ms, 15 * ms, 1200 * ms, 90 * time.Second} {
		t.Run(cpu.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(cpu)))
			var p profile.Profile
			for range profile.Usable {
				p.Observe(time.Duration(float64(cpu) * (0.9 + 0.2*rng.Float64())))
			}
			if !p.Known() {
				t.Fatal("it is not known")
			}
			near(t, "mean", p.Mean(), cpu, 0.06)
			near(t, "median", p.Quantile(0.5), cpu, 0.15)
			near(t, "p95", p.Quantile(0.95), cpu, 0.15)
			near(t, "remaining at half", p.Remaining(cpu/2), cpu/2, 0.15)
		})
	}
}

func TestATenfoldChangeIsFollowedWithinTwentyCalls(t *testing.T) {
	for _, c := range []struct{ before, after time.Duration }{{3 * ms, 30 * ms}, {30 * ms, 3 * ms}, {1500 * ms, 150 * ms}, {150 * ms, 1500 * ms}} {
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, 2))
			noisy := func(d time.Duration) time.Duration { return time.Duration(float64(d) * (0.7 + 0.6*rng.Float64())) }
			var p profile.Profile
			for range 1000 {
				p.Observe(noisy(c.before))
			}
			near(t, "mean before", p.Mean(), c.before, 0.1)
			for range 20 {
				p.Observe(noisy(c.after))
			}
			what := fmt.Sprintf("%v to %v, seed %d: ", c.before, c.after, seed)
			near(t, what+"mean", p.Mean(), c.after, 0.25)
			near(t, what+"median", p.Quantile(0.5), c.after, 0.35)
			near(t, what+"p95", p.Quantile(0.95), c.after*13/10, 0.35)
			near(t, what+"rank", p.Rank(0), c.after, 0.35)
		}
	}
}

func TestARareLongCallIsNoChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var p profile.Profile
	for i := range 5000 {
		d := 2 * ms
		if rng.IntN(100) < 3 {
			d = 900 * ms
		}
		p.Observe(d)
		if i > 200 && p.Quantile(0.5) > 3*ms {
			t.Fatalf("after %d calls the median is %v", i, p.Quantile(0.5))
		}
	}
	if share := p.Beyond(100 * ms); share < 0.002 || share > 0.15 {
		t.Errorf("share of long calls: %v, want about 0.03", share)
	}
}

func TestAnswersLieBetweenTheLeastAndTheGreatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := rapid.SliceOfN(rapid.Int64Range(1, int64(2*time.Hour)), 1, 60).Draw(t, "calls")
		var p profile.Profile
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for _, c := range calls {
			d := time.Duration(c)
			p.Observe(d)
			low, high = min(low, d), max(high, d)
		}
		within := func(what string, d time.Duration) {
			if d < low-low/1000-1 || d > high+high/1000+1 {
				t.Fatalf("%s is %v, outside %v to %v", what, d, low, high)
			}
		}
		within("mean", p.Mean())
		last := time.Duration(0)
		for q := 0.0; q <= 1; q += 0.1 {
			d := p.Quantile(q)
			within(fmt.Sprintf("quantile %v", q), d)
			if d < last {
				t.Fatalf("quantile %v is %v, below the one before", q, d)
			}
			last = d
		}
		age := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "age"))
		if r := p.Remaining(age); r <= 0 || r > max(high*5/4, age, time.Millisecond) {
			t.Fatalf("remaining at %v: %v", age, r)
		}
		if g := p.Gittins(age); !(g > 0) || math.IsInf(g, 0) {
			t.Fatalf("index at %v: %v", age, g)
		}
		if p.Rank(age) > p.Remaining(age)+p.Remaining(age)/50+time.Microsecond {
			t.Fatalf("rank %v at age %v is more than the mean remaining %v", p.Rank(age), age, p.Remaining(age))
		}
		if a, b := p.Beyond(age), p.Beyond(age+time.Second); b > a+1e-6 {
			t.Fatalf("more calls go beyond %v than beyond %v", age+time.Second, age)
		}
	})
}

func TestRemainingAndRank(t *testing.T) {
	twoKinds := profile.Profile{} // half the calls need 2 ms, half 1 s
	for range 200 {
		twoKinds.Observe(2 * ms)
		twoKinds.Observe(time.Second)
	}
	constant := seen(10*ms, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms)
	tests := []struct {
		name            string
		p               profile.Profile
		age             time.Duration
		remaining, rank time.Duration
	}{
		{"constant, new", constant, 0, 10 * ms, 10 * ms},
		{"constant, half way", constant, 5 * ms, 5 * ms, 5 * ms},
		{"constant, past its time", constant, 40 * ms, 40 * ms, 40 * ms},
		// Trying for 2 ms ends half the calls: 0.5/2 ms, so the rank is 4 ms; the mean is half a second.
		{"two kinds, new", twoKinds, 0, 501 * ms, 4 * ms},
		{"two kinds, not the short one", twoKinds, 3 * ms, 997 * ms, 997 * ms},
		{"two kinds, near the end", twoKinds, 600 * ms, 400 * ms, 400 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near(t, "remaining", tt.p.Remaining(tt.age), tt.remaining, 0.12)
			near(t, "rank", tt.p.Rank(tt.age), tt.rank, 0.2)
		})
	}
}

// TestExponentialDemandsHaveNoMemory: the remaining time is the mean at any age, and so is the rank.
func TestExponentialDemandsHaveNoMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, age := range []time.Duration{0, 10 * ms, 50 * ms, 100 * ms} {
		var remaining, rank float64
		const rounds = 200 // a profile remembers fifty calls, so many of them are averaged
		for range rounds {
			var p profile.Profile
			for range 200 {
				p.Observe(time.Duration(rng.ExpFloat64() * 50e6))
			}
			remaining += float64(p.Remaining(age)) / rounds
			rank += float64(p.Rank(age)) / rounds
		}
		near(t, fmt.Sprintf("remaining at %v", age), time.Duration(remaining), 50*ms, 0.2)
		if rank > remaining*1.01 || rank < remaining*0.4 {
			t.Errorf("rank at %v: %v of %v", age, time.Duration(rank), time.Duration(remaining))
		}
	}
}

func TestTheBookAnswersForTheUnknown(t *testing.T) {
	b := profile.NewBook(0)
	if e := b.Estimate("nobody"); e.Mean() < ms || e.Mean() > 10*time.Second {
		t.Errorf("with nothing seen at all: %v", e.Mean())
	}
	for range 100 {
		b.Observe("others", 20*ms)
	}
	e := b.Estimate("new")
	near(t, "unknown, like the others", e.Mean(), 20*ms, 0.3)
	for i, most := range []time.Duration{820 * ms, 810 * ms, 805 * ms} { // and each time closer
		b.Observe("new", 800*ms)
		e := b.Estimate("new")
		if e.Mean() < 500*ms || e.Mean() > most {
			t.Errorf("after %d calls of 800 ms it is taken for %v", i+1, e.Mean())
		}
	}
	for range 7 {
		b.Observe("new", 800*ms)
	}
	if got, want := b.Estimate("new"), b.Get("new"); got != want {
		t.Errorf("a known function is answered for by others too")
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b := profile.NewBook(3)
	for i := range 10 {
		b.Observe("steady", ms)
		b.Observe(fmt.Sprint("f", i), ms)
	}
	var names []string
	b.Functions(func(name string, _ *profile.Profile) bool { names = append(names, name); return true })
	if fmt.Sprint(names) != "[f9 steady f8]" || b.Len() != 3 {
		t.Errorf("kept %v", names)
	}
	b.Drop("steady")
	p := b.Get("steady")
	if b.Len() != 2 || p.Calls() != 0 {
		t.Errorf("steady is still there")
	}
	b.Put("old", seen(5*ms))
	p = b.Get("old")
	near(t, "what was put", p.Mean(), 5*ms, 0.001)
}

func TestProfilesSurviveEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p, back profile.Profile
		for _, c := range rapid.SliceOfN(rapid.Int64Range(-5, int64(25*time.Hour)), 0, 80).Draw(t, "calls") {
			p.Observe(time.Duration(c))
		}
		b, _ := p.MarshalBinary()
		if len(b) > profile.MaxEncoded {
			t.Fatalf("%d bytes", len(b))
		}
		if err := back.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if back.Calls() != p.Calls() || back.Mean() != p.Mean() || back.Quantile(0.9) != p.Quantile(0.9) || back.Rank(ms) != p.Rank(ms) {
			t.Fatalf("%v calls, mean %v became %v calls, mean %v", p.Calls(), p.Mean(), back.Calls(), back.Mean())
		}
	})
}

func FuzzUnmarshalBinary(f *testing.F) {
	for _, p := range []profile.Profile{{}, seen(ms), seen(0, ms, time.Hour, 24*time.Hour)} {
		b, _ := p.MarshalBinary()
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append([]byte{2}, b[1:]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := seen(3 * ms)
		p := before
		if err := p.UnmarshalBinary(b); err != nil {
			if p != before {
				t.Fatal("a refused encoding has changed the profile")
			}
			return
		}
		again, _ := p.MarshalBinary()
		var q profile.Profile
		if err := q.UnmarshalBinary(again); err != nil || q != p {
			t.Fatalf("what was decoded is refused after encoding: %v", err)
		}
		if twice, _ := q.MarshalBinary(); !bytes.Equal(again, twice) {
			t.Fatal("two encodings of one profile")
		}
		p.Observe(ms)
		if p.Mean() < 0 || p.Remaining(ms) <= 0 || !(p.Gittins(ms) > 0) {
			t.Fatalf("nonsense: mean %v, remaining %v", p.Mean(), p.Remaining(ms))
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	var p profile.Profile
	for b.Loop() {
		p.Observe(3 * ms)
	}
}

func BenchmarkRank(b *testing.B) {
	p := seen(ms, 2*ms, 50*ms, time.Second)
	for b.Loop() {
		p.Rank(ms)
	}
}
