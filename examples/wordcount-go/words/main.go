// Command words is the functions of the word count in Go. Its argument says which one it is.
package main

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-run/weft"
)

func main() {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	switch role {
	case "list":
		weft.Handle(list)
	case "count":
		weft.Handle(count)
	case "reduce":
		weft.Handle(reduce)
	case "total":
		weft.Handle(total)
	default:
		fmt.Fprintf(os.Stderr, "words: unknown function %q\n", role)
		os.Exit(2)
	}
}

// batches is how the work is divided.
type batches struct {
	Files    int   `json:"files"`
	Bytes    int64 `json:"bytes"`
	Batches  int   `json:"batches"`  // items of the step that counts
	Reducers int   `json:"reducers"` // items of the step that adds up
}

// list finds the files below a folder whose names end with a suffix, and publishes lists of about equally many bytes.
func list(in struct {
	Folder   string `json:"folder"`   // default /src
	Suffix   string `json:"suffix"`   // default .go
	Batches  int    `json:"batches"`  // default 8
	Reducers int    `json:"reducers"` // default 4
}) (batches, error) {
	in.Folder = cmp.Or(in.Folder, "/src")
	in.Suffix = cmp.Or(in.Suffix, ".go")
	out := batches{Batches: max(1, cmp.Or(in.Batches, 8)), Reducers: max(1, cmp.Or(in.Reducers, 4))}
	type file struct {
		path string
		size int64
	}
	var files []file
	err := filepath.WalkDir(in.Folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, in.Suffix) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files = append(files, file{path, info.Size()})
		out.Bytes += info.Size()
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("list %s: %w", in.Folder, err)
	}
	out.Files = len(files)
	// The largest file goes to the batch with the fewest bytes, and so on.
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.path, b.path))
	})
	lists := make([][]string, out.Batches)
	sizes := make([]int64, out.Batches)
	for _, f := range files {
		least := 0
		for i := range sizes {
			if sizes[i] < sizes[least] {
				least = i
			}
		}
		lists[least] = append(lists[least], f.path)
		sizes[least] += f.size
	}
	for i, l := range lists {
		if err := weft.PutValue(fmt.Sprintf("batch-%d", i), l); err != nil {
			return out, err
		}
	}
	return out, nil
}

// summary is what a step counted.
type summary struct {
	Words    uint64 `json:"words"`
	Distinct int    `json:"distinct"`
	Top      []word `json:"top,omitempty"`
}

type word struct {
	Word  string `json:"word"`
	Count uint64 `json:"count"`
}

// count counts the words of one batch of files and publishes a table for each reducer.
func count(in struct{ Batch, Reducers int }) (summary, error) {
	files, err := weft.TakeValue[[]string](fmt.Sprintf("list/batch-%d", in.Batch))
	if err != nil {
		return summary{}, err
	}
	t := newTable()
	piece := make([]byte, 256<<10)
	for _, path := range files {
		if err := countFile(t, path, piece); err != nil {
			return summary{}, err
		}
	}
	for r := range in.Reducers {
		if err := t.publish(r, in.Reducers); err != nil {
			return summary{}, err
		}
	}
	return summary{Words: t.total, Distinct: t.used}, nil
}

// countFile counts the words of a file, through a piece of memory that stays in the cache.
func countFile(t *table, path string, piece []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		n, err := f.Read(piece)
		t.count(piece[:n])
		if err == io.EOF {
			t.end()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// reduce adds up one reducer's tables and returns their most frequent words.
func reduce(in struct{ Part, Batches int }) (summary, error) {
	t := newTable()
	for b := range in.Batches {
		if err := t.take(fmt.Sprintf("count[%d]", b), in.Part); err != nil {
			return summary{}, err
		}
	}
	return summary{Words: t.total, Distinct: t.used, Top: t.top(20)}, nil
}

// total puts the parts together: every word is in one of them.
func total(in struct {
	Parts []summary `json:"parts"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
}) (any, error) {
	sum := summary{}
	for _, p := range in.Parts {
		sum.Words += p.Words
		sum.Distinct += p.Distinct
		sum.Top = append(sum.Top, p.Top...)
	}
	sum.Top = mostFrequent(sum.Top, 20)
	return struct {
		Files int   `json:"files"`
		Bytes int64 `json:"bytes"`
		summary
	}{in.Files, in.Bytes, sum}, nil
}
