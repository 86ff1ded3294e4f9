package data_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/bench/data"
)

// The same seed gives these bytes, today and on every machine: results of different days are only comparable because of it.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		spec   data.Spec
		parts  []string // first 16 digits of SHA-256
		digest string
	}{
		{data.Spec{Kind: data.Text, Size: 1_000_000, Parts: 3, Seed: 1}, []string{"f2cecb1fb3d848b8", "c9cd65542fa2bb1d", "0ada62441adc1088"}, "a3136dda9bd68e29"},
		{data.Spec{Kind: data.Text, Size: 1000, Parts: 1, Seed: 42}, []string{"227604872f4354c6"}, "98843a875c7ab24e"},
		{data.Spec{Kind: data.Integers, Size: 1_000_000, Parts: 2, Seed: 1}, []string{"efd654aa277cd580", "0651e2c2421543c4"}, "1b300995df8d36f8"},
	} {
		t.Run(fmt.Sprintf("%s %d in %d, seed %d", c.spec.Kind, c.spec.Size, c.spec.Parts, c.spec.Seed), func(t *testing.T) {
			c.spec.Dir = t.TempDir()
			a, err := data.Generate(t.Context(), c.spec)
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for i := range c.spec.Parts {
				b := read(t, c.spec.PartPath(i))
				if int64(len(b)) != c.spec.PartSize(i) {
					t.Errorf("part %d has %d bytes, want %d", i, len(b), c.spec.PartSize(i))
				}
				parts = append(parts, fmt.Sprintf("%x", sha256.Sum256(b))[:16])
			}
			if !slices.Equal(parts, c.parts) {
				t.Errorf("parts %q, want %q", parts, c.parts)
			}
			if a.Digest != c.digest {
				t.Errorf("digest of the answers %q, want %q", a.Digest, c.digest)
			}
			var saved data.Answers
			if err := json.Unmarshal(read(t, c.spec.AnswersPath()), &saved); err != nil || saved.Digest != a.Digest {
				t.Errorf("answers.json: %+v, %v", saved, err)
			}
		})
	}
}

func TestTextLooksLikeText(t *testing.T) {
	s := data.Spec{Kind: data.Text, Size: 2 << 20, Parts: 1, Seed: 7}
	var b bytes.Buffer
	if err := s.WritePart(t.Context(), &b, 0); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"\n", ". ", ", ", ".\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the text", want)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > 100 {
			t.Fatalf("line %d has %d bytes", i, len(line))
		}
	}
	counts := data.WordCounts{}
	if err := counts.Add(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	top := counts.Top(100)
	if first, hundredth := float64(top[0].Count), float64(top[99].Count); first/hundredth < 15 || first/hundredth > 60 {
		t.Errorf("the first word occurs %.0f times, the hundredth %.0f times: that is no Zipf distribution", first, hundredth)
	}
	if len(counts) < 10000 {
		t.Errorf("only %d different words", len(counts))
	}
}

// Every size must come out exactly, the smallest too.
func TestSizesAreExact(t *testing.T) {
	for _, kind := range []data.Kind{data.Text, data.Integers} {
		for size := int64(1); size < 300; size++ {
			s := data.Spec{Kind: kind, Size: size, Parts: 1, Seed: uint64(size)}
			var b bytes.Buffer
			if err := s.WritePart(t.Context(), &b, 0); err != nil || int64(b.Len()) != size {
				t.Fatalf("%s of %d bytes: %d bytes, %v", kind, size, b.Len(), err)
			}
			if kind == data.Integers {
				if _, err := data.ReadIntegers(nil, &b); err != nil {
					t.Fatalf("%d bytes: %v in %q", size, err, b.String())
				}
			}
		}
	}
}

func TestWordCounts(t *testing.T) {
	counts := data.WordCounts{}
	for _, s := range []string{"The cat, the DOG;the cow2\n", "été the", "", "end"} {
		if err := counts.Add(iotest{strings.NewReader(s)}); err != nil {
			t.Fatal(err)
		}
	}
	got := fmt.Sprint(counts.Top(10), counts.Total())
	if want := "[{the 4} {cat 1} {cow2 1} {dog 1} {end 1} {été 1}] 9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := data.WordCounts{}
	if err := other.Add(strings.NewReader("été end dog cow2 cat the the the the")); err != nil {
		t.Fatal(err)
	}
	if counts.Digest() != other.Digest() {
		t.Error("the digest depends on the order")
	}
	other.Add(strings.NewReader("the"))
	if counts.Digest() == other.Digest() {
		t.Error("the digest does not depend on the counts")
	}
}

// iotest reads one byte at a time.
type iotest struct{ io.Reader }

func (r iotest) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

func TestReadIntegers(t *testing.T) {
	got, err := data.ReadIntegers(nil, strings.NewReader("3,0,4294967295,\n17\n"))
	if err != nil || !slices.Equal(got, []uint32{3, 0, 4294967295, 17}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"1,,2", "4294967296", "-1", "1 2", "x", strings.Repeat("1", 100)} {
		if got, err := data.ReadIntegers(nil, strings.NewReader(bad)); err == nil {
			t.Errorf("%q read as %v", bad, got)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for name, s := range map[string]data.Spec{
		"unknown kind":            {Kind: "poems", Size: 10},
		"more parts than bytes":   {Kind: data.Text, Size: 2, Parts: 3},
		"a negative part count":   {Kind: data.Text, Size: 2, Parts: -1},
		"a folder that is a file": {Kind: data.Text, Size: 2, Dir: "/dev/null"},
	} {
		if s.Dir == "" {
			s.Dir = filepath.Join(t.TempDir(), "d")
		}
		if _, err := data.Generate(t.Context(), s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCancelledGenerationLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := data.Spec{Kind: data.Integers, Size: 8 << 20, Parts: 2, Dir: t.TempDir()}
	if _, err := data.Generate(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	if left, _ := os.ReadDir(s.Dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func BenchmarkWritePart(b *testing.B) {
	for _, kind := range []data.Kind{data.Text, data.Integers} {
		b.Run(string(kind), func(b *testing.B) {
			s := data.Spec{Kind: kind, Size: 32 << 20, Parts: 1, Seed: 1}
			b.SetBytes(s.Size)
			for b.Loop() {
				if err := s.WritePart(b.Context(), io.Discard, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
