// Package words is one that a service may use.
package words

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sort"
	"strings"
	"text/template"
	"time"
)

// What is only looked at may be of any type.
var (
	ranks  = map[string]int{"one": 1, "two": 2}
	names  = []string{"zero", "one"}
	logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	line   = template.Must(template.New("line").Parse("{{.}}"))
)

// Rank is a place of a word.
type Rank int

func (r Rank) String() string {
	logger.Info("asked")
	for i, name := range names {
		if i == int(r) && len(names) > i {
			return name
		}
	}
	var text strings.Builder
	if err := line.Execute(&text, strings.Join(names, ",")); err != nil || slices.Contains(names, text.String()) {
		return text.String()
	}
	return names[0]
}

// RankOf finds the rank of a word.
func RankOf(word string) Rank { return Rank(ranks[word]) }

// Max is set where it is declared.
var Max = 3 * len("abc")

// Word is printed as its text.
type Word struct{ text string }

func (w Word) String() string { return w.text }

// Shown is what a Word is, and a Dated that nobody has.
type Shown interface{ String() string }

// Dated looks at the clock.
type Dated struct{}

func (Dated) String() string { return time.Now().String() }

// Clean gives words in order.
func Clean(text string) string {
	words := strings.Fields(text)
	sort.Slice(words, func(i, j int) bool { return words[i] < words[j] })
	var shown Shown = Word{fmt.Sprint(words[:min(Max, len(words))])}
	return shown.String() + RankOf(text).String()
}

// Watch may do anything where nobody calls it.
func Watch() { go time.Sleep(time.Second) }
