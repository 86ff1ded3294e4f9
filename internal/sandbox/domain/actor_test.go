package domain

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/build/buildtest"
)

// actor is a function that does what its input tells it, compiled from the
// sources that the tests of package node use; the test is skipped where C cannot
// be compiled.
func actor(t testing.TB, p *Pool) *Function {
	t.Helper()
	module := buildtest.C(t, filepath.Join(p.images.dir, "..", "sources"), "../../node/testdata/actor.c")
	image, err := p.Image(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { image.Close() })
	return &Function{Name: "actor", Image: image, Memory: 64 << 20, MaxOutput: 1 << 20}
}

// stage runs calls of the actor one after the other.
type stage struct {
	d       *Domain
	f       *Function
	results <-chan Result
	last    uint64
}

// do runs a script as the step of that path, and returns what it said without
// committing it.
func (s *stage) do(t *testing.T, path, script string) (call uint64, said []string) {
	t.Helper()
	s.last++
	input, err := json.Marshal(map[string]string{"do": script})
	if err != nil {
		t.Fatal(err)
	}
	s.d.Start(Call{ID: s.last, Function: s.f, Path: path, Step: path, Index: -1, Attempt: int(s.last), Input: input})
	r := next(t, s.results)
	if r.Failure != nil {
		t.Fatalf("%s: %+v", path, r.Failure)
	}
	if out := strings.TrimSpace(string(r.Output)); out != "" {
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			t.Fatalf("%s said %q: %v", path, out, err)
		}
	}
	return s.last, said
}

// commit is do and Commit.
func (s *stage) commit(t *testing.T, path, script string, want ...string) Effects {
	t.Helper()
	id, said := s.do(t, path, script)
	if !slices.Equal(said, want) {
		t.Errorf("%s: %s: said %q, want %q", path, script, said, want)
	}
	e, err := s.d.Commit(id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newStage(t *testing.T, p *Pool, change ...func(*Options)) *stage {
	t.Helper()
	d, results := newDomain(t, p, change...)
	return &stage{d: d, f: actor(t, p), results: results}
}
