package diagram_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/diagram"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// graph makes a graph from edges "a>b"; a lone name is a node. Suffix * marks a foreach, ? a condition.
func graph(name, text string) diagram.Graph {
	g := diagram.Graph{Name: name}
	seen := map[string]bool{}
	node := func(s string) string {
		bare := strings.TrimRight(s, "*?")
		if !seen[bare] {
			seen[bare] = true
			g.Nodes = append(g.Nodes, diagram.Node{Name: bare, Foreach: strings.Contains(s, "*"), When: strings.Contains(s, "?")})
		}
		return bare
	}
	for _, field := range strings.Fields(text) {
		names := strings.Split(field, ">")
		for i, n := range names {
			names[i] = node(n)
			if i > 0 {
				g.Edges = append(g.Edges, diagram.Edge{From: names[i-1], To: names[i]})
			}
		}
	}
	return g
}

// graphs are drawn in all forms.
func graphs() []diagram.Graph {
	calls := graph("calls", "fetch>parse?>store fetch>raw>store")
	calls.Nodes[1].Call, calls.Nodes[1].Notes = "reader", "retry 3 · catch"
	var wide strings.Builder
	for i := range 20 {
		fmt.Fprintf(&wide, "start>work_%d>stop ", i)
	}
	return []diagram.Graph{
		graph("single", "hello"),
		graph("wordcount", "split>count*>merge"),
		graph("diamond", "a>b>d a>c>d"),
		graph("cross", "a>d b>c a>e b>e a>c"),
		graph("skip", "a>b>c>d a>d a>c"),
		graph("two", "a>b c>d*?"),
		calls,
		graph("wide", wide.String()),
		graph("empty", ""),
	}
}

func TestDrawings(t *testing.T) {
	forms := map[string]func(io.Writer, diagram.Graph) error{
		".dot":       diagram.WriteDOT,
		".svg":       diagram.WriteSVG,
		".ascii.txt": func(w io.Writer, g diagram.Graph) error { return diagram.WriteText(w, g, diagram.TextOptions{}) },
		".unicode.txt": func(w io.Writer, g diagram.Graph) error {
			return diagram.WriteText(w, g, diagram.TextOptions{Unicode: true})
		},
	}
	for _, g := range graphs() {
		for ext, draw := range forms {
			t.Run(g.Name+ext, func(t *testing.T) {
				var got bytes.Buffer
				if err := draw(&got, g); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join("testdata", g.Name+ext)
				if *rewrite {
					if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("differs from %s; go test -rewrite shows it in git diff\n%s", name, got.Bytes())
				}
				if ext == ".svg" {
					wellFormed(t, got.Bytes())
				}
			})
		}
	}
}

// wellFormed reads the picture as XML to its end.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatalf("not XML: %v", err)
		}
	}
}

func TestBadGraphsAreRefused(t *testing.T) {
	tests := []struct{ name, edges, want string }{
		{"circle", "a>b>c>a", "need each other in a circle through"},
		{"self", "a>a", "in a circle through a"},
	}
	for _, tt := range tests {
		err := diagram.WriteText(io.Discard, graph(tt.name, tt.edges), diagram.TextOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	g := diagram.Graph{Name: "g", Nodes: []diagram.Node{{Name: "a"}}, Edges: []diagram.Edge{{From: "a", To: "z"}}}
	if err := diagram.WriteSVG(io.Discard, g); err == nil || !strings.Contains(err.Error(), "leads to no step") {
		t.Errorf("edge to nowhere: %v", err)
	}
	g = diagram.Graph{Name: "g", Nodes: []diagram.Node{{Name: "a"}, {Name: "a"}}}
	if err := diagram.WriteSVG(io.Discard, g); err == nil || !strings.Contains(err.Error(), "two steps are called a") {
		t.Errorf("name used twice: %v", err)
	}
}
