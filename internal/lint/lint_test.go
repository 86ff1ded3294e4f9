package lint

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// rules are all rules by name.
var rules = map[string]func(*tree) []string{
	"purity":     purity,
	"cgo":        cgo,
	"downwards":  downwards,
	"homeless":   homeless,
	"nouns":      nouns,
	"finished":   finished,
	"oneSubject": oneSubject,
}

func TestSourceObeysTheRules(t *testing.T) {
	tr, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.files) < 10 {
		t.Fatalf("found %d Go files, want the whole module", len(tr.files))
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			complaints := rule(tr)
			slices.Sort(complaints)
			for _, c := range complaints {
				t.Error(c)
			}
		})
	}
}

// TestEveryRuleCanFail feeds each rule an offence and its innocent sibling.
func TestEveryRuleCanFail(t *testing.T) {
	long := "package flow\n" + strings.Repeat("\n", maxLines)
	tests := []struct {
		name, rule string
		path, src  string
		want       string // part of the only complaint; "" for none
	}{
		{"clock", "purity", "internal/flow/a.go", "package flow\nimport \"time\"\nvar t = time.Now()", "a.go:3: time.Now: internal/flow is pure"},
		{"renamed clock", "purity", "internal/flow/a.go", "package flow\nimport clock \"time\"\nvar t = clock.Sleep", "time.Sleep"},
		{"durations are fine", "purity", "internal/flow/a.go", "package flow\nimport \"time\"\nvar t = time.Second", ""},
		{"below a pure folder", "purity", "internal/flow/sub/a.go", "package sub\nimport \"math/rand\"\nvar n = rand.Int()", "import of math/rand"},
		{"rand v2", "purity", "internal/flow/a.go", "package flow\nimport \"math/rand/v2\"\nvar n = rand.Int()", "import of math/rand/v2"},
		{"goroutine", "purity", "internal/flow/a.go", "package flow\nfunc f() { go f() }", "go statement"},
		{"file", "purity", "internal/flow/a.go", "package flow\nimport _ \"os\"", "import of os"},
		{"network", "purity", "internal/flow/a.go", "package flow\nimport _ \"net\"", "import of net"},
		{"system call", "purity", "internal/flow/a.go", "package flow\nimport _ \"syscall\"", "import of syscall"},
		{"pure file", "purity", "internal/buffer/table.go", "package buffer\nimport _ \"os\"", "import of os"},
		{"its neighbour", "purity", "internal/buffer/memfd.go", "package buffer\nimport _ \"os\"", ""},
		{"a test may look at the clock", "purity", "internal/flow/a_test.go", "package flow\nimport \"time\"\nvar t = time.Now()", ""},
		{"name that only begins alike", "purity", "internal/flowers/a.go", "package flowers\nimport _ \"os\"", ""},

		{"C elsewhere", "cgo", "internal/node/a.go", "package node\nimport \"C\"", `import "C"`},
		{"C in the engine", "cgo", "internal/sandbox/wasm/engine/a.go", "package engine\nimport \"C\"", ""},

		{"upwards", "downwards", "internal/flow/a.go", "package flow\nimport _ \"github.com/weft-run/weft/internal/node\"", "internal/flow imports internal/node"},
		{"app may use flow", "downwards", "internal/app/a.go", "package app\nimport _ \"github.com/weft-run/weft/internal/flow\"", ""},
		{"sub-package", "downwards", "internal/server/plot/a.go", "package plot\nimport _ \"github.com/weft-run/weft/internal/node\"", ""},
		{"root imports nothing", "downwards", "weft.go", "package weft\nimport _ \"github.com/weft-run/weft/internal/flow\"", ". imports internal/flow"},
		{"examples use the SDK", "downwards", "examples/x/main.go", "package main\nimport _ \"github.com/weft-run/weft\"", ""},
		{"others do not", "downwards", "internal/node/a.go", "package node\nimport _ \"github.com/weft-run/weft\"", "internal/node imports ."},

		{"new package", "homeless", "internal/brandnew/a.go", "package brandnew", "say what it may import"},
		{"known package", "homeless", "internal/flow/a.go", "package flow", ""},

		{"vague package", "nouns", "internal/flow/a.go", "package util", "package util"},
		{"vague folder", "nouns", "internal/helpers/a.go", "package h", "package h"},
		{"vague tests", "nouns", "internal/flow/a_test.go", "package common_test", "package common"},
		{"noun", "nouns", "internal/flow/a.go", "package flow", ""},

		{"note to oneself", "finished", "internal/flow/a.go", "package flow\n\n// TO" + "DO: more", "in a comment"},
		{"word that contains one", "finished", "internal/flow/a.go", "package flow\n\n// TO" + "DOs are refused", ""},

		{"long", "oneSubject", "internal/flow/a.go", long, "601 lines"},
		{"long test", "oneSubject", "internal/flow/a_test.go", long, ""},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.rule+"/"+tt.name, func(t *testing.T) {
			tr, err := load(fstest.MapFS{tt.path: {Data: []byte(tt.src)}})
			if err != nil {
				t.Fatal(err)
			}
			got := rules[tt.rule](tr)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("complains: %q", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("complaints %q, want one with %q", got, tt.want)
			}
			if tt.want != "" {
				covered[tt.rule] = true
			}
		})
	}
	for name := range rules {
		if !covered[name] {
			t.Errorf("rule %s has no case in which it fails", name)
		}
	}
}

func TestLoadLeavesOutTestDataAndOtherModules(t *testing.T) {
	src := &fstest.MapFile{Data: []byte("package p")}
	tr, err := load(fstest.MapFS{
		"a.go": src, "testdata/b.go": src, ".git/c.go": src, "_old/d.go": src,
		"other/go.mod": {Data: []byte("module other")}, "other/e.go": src, "in/f.go": src,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range tr.files {
		got = append(got, f.path)
	}
	if want := []string{"a.go", "in/f.go"}; !slices.Equal(got, want) {
		t.Errorf("loaded %v, want %v", got, want)
	}
}
