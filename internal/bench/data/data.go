// Package data makes the inputs of experiments and examples: text and lists of integers, of any size, in any number of parts, the same bytes
// for the same seed on every machine. With them come the answers that word count and sort must give, computed by plain code in one process.
//
//	a, err := data.Generate(ctx, data.Spec{Kind: data.Text, Size: 100 << 20, Parts: 3, Seed: 1, Dir: "in"})
//	// in/part-0, in/part-1, in/part-2, in/answers.json
//
// Text is words drawn from a vocabulary of 16,384 with Zipf-like frequencies, in sentences and lines, with commas, full stops and capitals.
// Integers are uniform unsigned 32-bit numbers in decimal, separated by commas.
package data

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

// Kind is what the data is.
type Kind string

// The kinds of data.
const (
	Text     Kind = "text"
	Integers Kind = "integers"
)

// Spec describes a data set.
type Spec struct {
	Kind  Kind
	Size  int64  // bytes in all parts together
	Parts int    // files; default 1; part i gets its share of Size, the first ones a byte more when it does not divide
	Seed  uint64 // default 1
	Dir   string // where the files go; made when it is not there
}

// EnsureDefaults replaces zero fields by their defaults.
func (s *Spec) EnsureDefaults() {
	if s.Parts == 0 {
		s.Parts = 1
	}
	if s.Seed == 0 {
		s.Seed = 1
	}
}

// Validate says what is wrong with the spec.
func (s *Spec) Validate() error {
	switch {
	case s.Kind != Text && s.Kind != Integers:
		return fmt.Errorf("kind %q: want %s or %s", s.Kind, Text, Integers)
	case s.Parts < 1:
		return fmt.Errorf("%d parts: want at least one", s.Parts)
	case s.Size < int64(s.Parts):
		return fmt.Errorf("%d bytes: too few for %d parts", s.Size, s.Parts)
	}
	return nil
}

// PartSize is the size of part i.
func (s *Spec) PartSize(i int) int64 {
	share := s.Size / int64(s.Parts)
	if int64(i) < s.Size%int64(s.Parts) {
		share++
	}
	return share
}

// PartPath is the file of part i.
func (s *Spec) PartPath(i int) string { return filepath.Join(s.Dir, "part-"+strconv.Itoa(i)) }

// AnswersPath is the file that holds the answers.
func (s *Spec) AnswersPath() string { return filepath.Join(s.Dir, "answers.json") }

// WritePart writes part i to w: exactly PartSize(i) bytes.
func (s *Spec) WritePart(ctx context.Context, w io.Writer, i int) error {
	b := bufio.NewWriterSize(w, 1<<18)
	var err error
	if s.Kind == Text {
		err = writeText(ctx, b, s.Seed, i, s.PartSize(i))
	} else {
		err = writeIntegers(ctx, b, s.Seed, i, s.PartSize(i))
	}
	if err == nil {
		err = b.Flush()
	}
	return err
}

// Generate writes the parts, reads them back to compute the answers, and writes those. Parts are made side by side. When it fails, the files
// that it made are gone.
func Generate(ctx context.Context, s Spec) (_ *Answers, err error) {
	s.EnsureDefaults()
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("generate %s: %w", s.Kind, err)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("generate %s: %w", s.Kind, err)
	}
	defer func() {
		if err == nil {
			return
		}
		for i := range s.Parts {
			os.Remove(s.PartPath(i))
		}
		os.Remove(s.AnswersPath())
	}()
	errs := make([]error, s.Parts)
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	var writers sync.WaitGroup
	for i := range s.Parts {
		turn <- struct{}{}
		writers.Go(func() {
			errs[i] = s.writeFile(ctx, i)
			<-turn
		})
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("generate %s: %w", s.Kind, err)
	}
	a, err := s.Answer(ctx)
	if err != nil {
		return nil, fmt.Errorf("answers of %s: %w", s.Kind, err)
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("answers of %s: %w", s.Kind, err)
	}
	if err := os.WriteFile(s.AnswersPath(), append(text, '\n'), 0o644); err != nil {
		return nil, fmt.Errorf("answers of %s: %w", s.Kind, err)
	}
	return a, nil
}

// writeFile writes part i to its file.
func (s *Spec) writeFile(ctx context.Context, i int) error {
	f, err := os.Create(s.PartPath(i))
	if err != nil {
		return err
	}
	return errors.Join(s.WritePart(ctx, f, i), f.Close())
}
