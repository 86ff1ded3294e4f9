package buffer

import (
	"errors"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	long := strings.Repeat("x", 128)
	for _, c := range []struct {
		in   string
		want Name
	}{
		{"x", Name{Leaf: "x"}},
		{"part-0.v1_A", Name{Leaf: "part-0.v1_A"}},
		{long, Name{Leaf: long}},
		{"..", Name{Leaf: ".."}},
		{"/x", Name{Leaf: "x", Wide: true}},
		{"split/x", Name{Scope: "split", Leaf: "x"}},
		{"map[0]/x", Name{Scope: "map[0]", Leaf: "x"}},
		{"map[123456789]/x", Name{Scope: "map[123456789]", Leaf: "x"}},
		{"outer[2]/map[3]/x", Name{Scope: "outer[2]/map[3]", Leaf: "x"}},
	} {
		got, err := ParseName(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseName(%q) = %+v, %v", c.in, got, err)
		}
		if got.String() != c.in {
			t.Errorf("%q is written as %q", c.in, got)
		}
	}
	for _, bad := range []string{
		"", "/", "//x", "x/", "a//x", "/a/x", "a b", "x\n", "é", "x[0]", "map[]/x", "map[/x", "map]/x", "map[01]/x",
		"map[-1]/x", "map[1]x/x", "map[1][2]/x", "[1]/x", "map[1234567890]/x", long + "x", long + "x/y",
		strings.Repeat("a/", 600) + "x", "a\x00/x",
	} {
		if n, err := ParseName(bad); !errors.Is(err, ErrName) {
			t.Errorf("ParseName(%q) = %+v, %v", bad, n, err)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"x", "/x", "a/x", "a[0]/x", "a/b[10]/x", "a[00]/x", "", "/", "a//x", "..", "%2F"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if !errors.Is(err, ErrName) || n != (Name{}) {
				t.Fatalf("%q: %+v, %v", s, n, err)
			}
		} else if n.String() != s {
			t.Fatalf("%q is written as %q", s, n)
		} else if n.Wide && n.Scope != "" {
			t.Fatalf("%q is both of a step and run-wide", s)
		}
		file := fileName(s)
		if file == "" || len(file) > 255 || file == "." || file == ".." || strings.ContainsAny(file, "/\x00") {
			t.Fatalf("%q becomes file %q", s, file)
		}
	})
}
