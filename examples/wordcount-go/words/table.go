package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-run/weft"
)

// item is a word of a table: its bytes are at Offset in the table's text.
type item struct {
	Count          uint64
	Hash           uint64
	Offset, Length uint32
}

// table counts words: runs of letters, digits and bytes above 127, with A-Z as a-z. It is a hash table with open
// addressing whose words lie one behind the other in one text, so that it can be published as it is.
type table struct {
	items []item // a power of two; Count is 0 where there is none
	used  int
	total uint64 // words counted
	text  []byte
	word  []byte // the word that the text counted so far ends with
}

func newTable() *table { return &table{items: make([]item, 1<<14)} }

// lower is the byte of a word that stands for each byte, 0 for bytes between words.
var lower = func() (l [256]byte) {
	for c := range l {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c > 127:
			l[c] = byte(c)
		case c >= 'A' && c <= 'Z':
			l[c] = byte(c) + 'a' - 'A'
		}
	}
	return l
}()

// count counts the words of text. A word may go on in the next call.
func (t *table) count(text []byte) {
	word := t.word
	for _, c := range text {
		if l := lower[c]; l != 0 {
			word = append(word, l)
		} else if len(word) > 0 {
			t.add(word, hash(word), 1)
			word = word[:0]
		}
	}
	t.word = word
}

// end ends the last word.
func (t *table) end() {
	if len(t.word) > 0 {
		t.add(t.word, hash(t.word), 1)
		t.word = t.word[:0]
	}
}

func hash(word []byte) uint64 {
	h := uint64(len(word))
	for ; len(word) >= 8; word = word[8:] {
		part := uint64(word[0]) | uint64(word[1])<<8 | uint64(word[2])<<16 | uint64(word[3])<<24 |
			uint64(word[4])<<32 | uint64(word[5])<<40 | uint64(word[6])<<48 | uint64(word[7])<<56
		h = (h ^ part) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	part := uint64(0)
	for i, c := range word {
		part |= uint64(c) << (8 * i)
	}
	h = (h ^ part) * 0x9e3779b97f4a7c15
	return (h ^ h>>32) * 0xd6e8feb86659fd93
}

func (t *table) add(word []byte, h, n uint64) {
	t.total += n
	mask := uint64(len(t.items) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		e := &t.items[i]
		if e.Count == 0 {
			*e = item{Count: n, Hash: h, Offset: uint32(len(t.text)), Length: uint32(len(word))}
			t.text = append(t.text, word...)
			if t.used++; t.used > len(t.items)/2 {
				t.grow()
			}
			return
		}
		if e.Hash == h && bytes.Equal(t.text[e.Offset:e.Offset+e.Length], word) {
			e.Count += n
			return
		}
	}
}

func (t *table) grow() {
	old := t.items
	t.items = make([]item, 2*len(old))
	mask := uint64(len(t.items) - 1)
	for _, e := range old {
		if e.Count > 0 {
			i := e.Hash & mask
			for t.items[i].Count > 0 {
				i = (i + 1) & mask
			}
			t.items[i] = e
		}
	}
}

// publish publishes the words of part r of n, by their hashes, as the slots items-r and text-r.
func (t *table) publish(r, n int) error {
	mine := func(e item) bool { return e.Count > 0 && int(e.Hash>>32%uint64(n)) == r }
	words, size := 0, 0
	for _, e := range t.items {
		if mine(e) {
			words++
			size += int(e.Length)
		}
	}
	items, err := weft.AllocSlice[item](words)
	if err != nil {
		return err
	}
	text, err := weft.Alloc(size)
	if err != nil {
		return err
	}
	i, end := 0, 0
	for _, e := range t.items {
		if mine(e) {
			copy(text.Bytes()[end:], t.text[e.Offset:e.Offset+e.Length])
			e.Offset = uint32(end)
			items[i] = e
			i++
			end += int(e.Length)
		}
	}
	if err := weft.PutSlice(fmt.Sprintf("items-%d", r), items); err != nil {
		return err
	}
	if err := text.Publish(fmt.Sprintf("text-%d", r)); err != nil {
		return err
	}
	if err := weft.Release(items); err != nil {
		return err
	}
	return text.Release()
}

// take adds the table that a step published for part r.
func (t *table) take(step string, r int) error {
	items, err := weft.TakeSlice[item](fmt.Sprintf("%s/items-%d", step, r))
	if err != nil {
		return err
	}
	text, err := weft.Take(fmt.Sprintf("%s/text-%d", step, r))
	if err != nil {
		return err
	}
	for _, e := range items {
		t.add(text.Bytes()[e.Offset:e.Offset+e.Length], e.Hash, e.Count)
	}
	if err := weft.Release(items); err != nil {
		return err
	}
	return text.Release()
}

// top returns the n most frequent words of the table.
func (t *table) top(n int) []word {
	var counts []uint64
	for _, e := range t.items {
		if e.Count > 0 {
			counts = append(counts, e.Count)
		}
	}
	slices.Sort(counts)
	least := uint64(1)
	if len(counts) > n {
		least = counts[len(counts)-n]
	}
	var words []word
	for _, e := range t.items {
		if e.Count >= least {
			words = append(words, word{string(t.text[e.Offset : e.Offset+e.Length]), e.Count})
		}
	}
	return mostFrequent(words, n)
}

// mostFrequent returns the first n words by falling count, equally frequent ones by the alphabet.
func mostFrequent(words []word, n int) []word {
	slices.SortFunc(words, func(a, b word) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Word, b.Word))
	})
	return words[:min(n, len(words))]
}
