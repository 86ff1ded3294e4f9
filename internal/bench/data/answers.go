package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"strconv"
)

// Answers is what a program over the data must find. It is written beside the parts as answers.json.
type Answers struct {
	Kind  Kind   `json:"kind"`
	Size  int64  `json:"size"`
	Parts int    `json:"parts"`
	Seed  uint64 `json:"seed"`

	// Of text. A word is a run of letters, digits and bytes above 127, letters in lower case.
	Words    uint64      `json:"words,omitempty"`    // in all
	Distinct int         `json:"distinct,omitempty"` // different ones
	Top      []WordCount `json:"top,omitempty"`      // the 20 most frequent, and among equals the alphabetically first

	// Of integers.
	Numbers int    `json:"numbers,omitempty"`
	Least   uint32 `json:"least,omitempty"`
	Most    uint32 `json:"most,omitempty"`

	// Digest is sixteen hexadecimal digits. Of text: the sum, modulo 2^64, over all different words of the 64-bit FNV-1a hash of "word count\n".
	// Of integers: the 64-bit FNV-1a hash of the sorted numbers, four bytes each, least significant first.
	Digest string `json:"digest"`
}

// WordCount is a word and how often it occurs.
type WordCount struct {
	Word  string `json:"word"`
	Count uint64 `json:"count"`
}

// Answer computes the answers from the files of s.
func (s *Spec) Answer(ctx context.Context) (*Answers, error) {
	a := &Answers{Kind: s.Kind, Size: s.Size, Parts: s.Parts, Seed: s.Seed}
	if s.Kind == Text {
		counts := WordCounts{}
		if err := s.eachPart(ctx, counts.Add); err != nil {
			return nil, err
		}
		a.Words, a.Distinct, a.Top, a.Digest = counts.Total(), len(counts), counts.Top(20), counts.Digest()
		return a, nil
	}
	var numbers []uint32
	err := s.eachPart(ctx, func(r io.Reader) (err error) {
		numbers, err = ReadIntegers(numbers, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	a.Numbers, a.Digest = len(numbers), DigestOfSorted(numbers)
	if len(numbers) > 0 {
		a.Least, a.Most = numbers[0], numbers[len(numbers)-1]
	}
	return a, nil
}

// eachPart calls f with each part in turn.
func (s *Spec) eachPart(ctx context.Context, f func(io.Reader) error) error {
	for i := range s.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := os.Open(s.PartPath(i))
		if err != nil {
			return err
		}
		if err := errors.Join(f(file), file.Close()); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	return nil
}

// WordCounts is how often each word occurs.
type WordCounts map[string]*uint64

// Add counts the words of r. A word does not go on from one reader to the next.
func (c WordCounts) Add(r io.Reader) error {
	b := bufio.NewReaderSize(r, 1<<18)
	var word []byte
	for {
		chunk, err := b.Peek(max(1, b.Buffered()))
		for _, x := range chunk {
			switch {
			case 'a' <= x && x <= 'z' || '0' <= x && x <= '9' || x > 127:
				word = append(word, x)
			case 'A' <= x && x <= 'Z':
				word = append(word, x+'a'-'A')
			case len(word) > 0:
				c.count(word)
				word = word[:0]
			}
		}
		if _, err := b.Discard(len(chunk)); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(word) > 0 {
		c.count(word)
	}
	return nil
}

func (c WordCounts) count(word []byte) {
	if n := c[string(word)]; n != nil {
		*n++
		return
	}
	n := uint64(1)
	c[string(word)] = &n
}

// Total is the number of words.
func (c WordCounts) Total() uint64 {
	sum := uint64(0)
	for _, n := range c {
		sum += *n
	}
	return sum
}

// Top returns the n most frequent words, the most frequent first and equally frequent ones in alphabetical order.
func (c WordCounts) Top(n int) []WordCount {
	all := make([]WordCount, 0, len(c))
	for w, count := range c {
		all = append(all, WordCount{w, *count})
	}
	slices.SortFunc(all, func(a, b WordCount) int {
		if a.Count != b.Count {
			if a.Count > b.Count {
				return -1
			}
			return 1
		}
		return bytes.Compare([]byte(a.Word), []byte(b.Word))
	})
	return all[:min(n, len(all))]
}

// Digest is described at Answers.
func (c WordCounts) Digest() string {
	sum := uint64(0)
	for w, n := range c {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %d\n", w, *n)
		sum += h.Sum64()
	}
	return fmt.Sprintf("%016x", sum)
}

// ReadIntegers appends the comma-separated numbers of r to list. Anything but digits, commas and white space, an empty field and a number that
// does not fit in 32 bits are errors.
func ReadIntegers(list []uint32, r io.Reader) ([]uint32, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64)
	s.Split(splitComma)
	for s.Scan() {
		n, err := strconv.ParseUint(string(bytes.TrimSpace(s.Bytes())), 10, 32)
		if err != nil {
			return list, fmt.Errorf("number %d: %w", len(list), err)
		}
		list = append(list, uint32(n))
	}
	return list, s.Err()
}

// splitComma is a bufio.SplitFunc for fields between commas.
func splitComma(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, ','); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// DigestOfSorted is the digest of numbers that are sorted already.
func DigestOfSorted(sorted []uint32) string {
	h := fnv.New64a()
	var b [4096]byte
	for chunk := range slices.Chunk(sorted, len(b)/4) {
		for i, n := range chunk {
			binary.LittleEndian.PutUint32(b[4*i:], n)
		}
		h.Write(b[:4*len(chunk)])
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
