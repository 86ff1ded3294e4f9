package service_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/weft-run/weft/service"
)

// book has a map that a loop goes through and changes.
type book struct{ Pages service.Map[int, int] }

// change is what happens when the loop is at a key.
type change struct {
	At, Key int
	Kind    string // set, delete
	How     string // "", call, go, abort, fail, sleep, run, deep: who does it
}

func (b *book) apply(c change) {
	switch c.Kind {
	case "set":
		b.Pages.Set(c.Key, 1000+c.At)
	case "delete":
		b.Pages.Delete(c.Key)
	}
}

// walk goes through the pages, and returns what it has seen.
func (b *book) walk(ctx *service.Context, size int, changes []change) (string, error) {
	for i := range size {
		b.Pages.Set(i*10, i)
	}
	seen := ""
	for k, v := range b.Pages.All() {
		seen += fmt.Sprint(k, "=", v, " ")
		for _, c := range changes {
			if c.At != k {
				continue
			}
			switch one := service.NewRequest[service.None]("book", ctx.Object(), "apply", c); c.How {
			case "":
				b.apply(c)
			case "call", "fail":
				if _, err := service.Call(ctx, one); err != nil && c.How == "call" {
					return "", err
				}
			case "go":
				if _, err := service.Go(ctx, one).Wait(); err != nil {
					return "", err
				}
			case "abort":
				service.Tx(ctx, func() error {
					b.apply(c)
					return errChosen
				})
			case "sleep":
				b.apply(c)
				service.Sleep(ctx, time.Millisecond)
			case "run":
				service.Run(ctx, "x", func(string) (int, error) { return 0, nil })
				b.apply(c)
			case "deep":
				for inner := range b.Pages.All() {
					if inner >= k {
						b.apply(c)
						break
					}
				}
			}
		}
	}
	return seen, nil
}

var books = service.Define("book", func(ctx *service.Context, b *book) { service.Bind(ctx, "Pages", &b.Pages) }, map[string]service.Method[book]{
	"walk": func(ctx *service.Context, b *book, args service.Args) (any, error) {
		var size int
		var changes []change
		if err := args.Decode(&size, &changes); err != nil {
			return nil, err
		}
		return b.walk(ctx, size, changes)
	},
	"apply": func(_ *service.Context, b *book, args service.Args) (any, error) {
		var c change
		if err := args.Decode(&c); err != nil {
			return nil, err
		}
		if b.apply(c); c.How == "fail" {
			return nil, errChosen
		}
		return nil, nil
	},
})

// walked is what a loop is to see: at each step the first key behind the last one.
func walked(size int, changes []change) (seen string) {
	pages := map[string]int{}
	for i := range size {
		pages[fmt.Sprint(i*10)] = i
	}
	for at := ""; ; {
		keys := slices.Sorted(maps.Keys(pages))
		i, found := slices.BinarySearch(keys, at)
		if found {
			i++
		}
		if i == len(keys) {
			return seen
		}
		at = keys[i]
		seen += fmt.Sprint(at, "=", pages[at], " ")
		for _, c := range changes {
			if key := fmt.Sprint(c.Key); fmt.Sprint(c.At) == at && c.How != "abort" && c.How != "fail" {
				if pages[key] = 1000 + c.At; c.Kind == "delete" {
					delete(pages, key)
				}
			}
		}
	}
}

// A loop over a map sees what it changes, in memory as on a node: entries come as they are when it
// comes to them.
func TestLoopsThatChangeAMap(t *testing.T) {
	const many = 450 // the loop reads 200 ahead; as text 10 comes before 100, and 1990 before 20
	s := open(t, books)
	for _, c := range []struct {
		name    string
		size    int
		changes []change
	}{
		{"nothing is there", 0, nil},
		{"nothing changes", many, nil},
		{"the next one goes", 5, []change{{At: 10, Key: 20, Kind: "delete"}}},
		{"the last one goes", 5, []change{{At: 30, Key: 40, Kind: "delete"}}},
		{"this one goes, and comes back", 5, []change{{At: 10, Key: 10, Kind: "delete"}, {At: 20, Key: 10, Kind: "set"}}},
		{"the next one changes", 5, []change{{At: 10, Key: 20, Kind: "set"}}},
		{"one comes before", 5, []change{{At: 20, Key: 15, Kind: "set"}}},
		{"one comes behind", 5, []change{{At: 20, Key: 25, Kind: "set"}}},
		{"one comes at the end", 5, []change{{At: 40, Key: 99, Kind: "set"}, {At: 99, Key: 999, Kind: "set"}}},
		{"one comes, and goes", 5, []change{{At: 10, Key: 35, Kind: "set"}, {At: 20, Key: 35, Kind: "delete"}}},
		{"far ahead", many, []change{{At: 0, Key: 990, Kind: "delete"}, {At: 0, Key: 991, Kind: "set"}, {At: 0, Key: 2, Kind: "set"}, {At: 10, Key: 980, Kind: "set"}}},
		{"at the bounds of what was read", many, []change{
			{At: 10, Key: 2800, Kind: "delete"}, {At: 10, Key: 2790, Kind: "delete"}, {At: 2780, Key: 2810, Kind: "delete"}, {At: 2780, Key: 2785, Kind: "set"}, {At: 2780, Key: 2801, Kind: "set"}}},
		{"a call does it", many, []change{{At: 20, Key: 30, Kind: "delete", How: "call"}, {At: 40, Key: 45, Kind: "set", How: "call"}, {At: 50, Key: 60, Kind: "set", How: "call"}}},
		{"a call that fails", 5, []change{{At: 10, Key: 20, Kind: "delete", How: "fail"}, {At: 10, Key: 15, Kind: "set", How: "fail"}}},
		{"a call that is started", 5, []change{{At: 10, Key: 20, Kind: "delete", How: "go"}, {At: 20, Key: 25, Kind: "set", How: "go"}}},
		{"a transaction that comes to nothing", 5, []change{{At: 10, Key: 20, Kind: "delete", How: "abort"}, {At: 10, Key: 15, Kind: "set", How: "abort"}, {At: 30, Key: 40, Kind: "set", How: "abort"}}},
		{"it waits", 5, []change{{At: 10, Key: 20, Kind: "delete", How: "sleep"}, {At: 30, Key: 35, Kind: "set", How: "sleep"}}},
		{"a side effect", 5, []change{{At: 10, Key: 20, Kind: "delete", How: "run"}, {At: 30, Key: 35, Kind: "set", How: "run"}}},
		{"a loop within", many, []change{{At: 10, Key: 20, Kind: "delete", How: "deep"}, {At: 30, Key: 35, Kind: "set", How: "deep"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := walked(c.size, c.changes)
			r := service.NewRequest[string]("book", "", "walk", c.size, c.changes)
			if got, err := service.Call(service.NewMemory(books), r); got != want || err != nil {
				t.Errorf("in memory: %v\n%s\nwant\n%s", err, got, want)
			}
			to, args := r.Parts()
			to.Object = c.name
			text, err := on(t, s, service.NewRequest[string](to.Service, to.Object, to.Method, json.RawMessage(args[0]), json.RawMessage(args[1])))
			var got string
			if json.Unmarshal([]byte(text), &got); got != want || err != nil {
				t.Errorf("on a node: %v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}
