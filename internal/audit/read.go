package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Read returns at most n of the latest entries, newest first, from full files
// too. If lines are not entries it fails with ErrDamaged, beside the entries that
// could be read.
func (l *Log) Read(n int) ([]Entry, error) {
	parts, err := l.parts()
	defer func() {
		for _, p := range parts {
			p.file.Close()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	var entries []Entry
	var damaged []error
	for _, p := range parts {
		bad, err := p.read(n, &entries)
		if err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		if bad > 0 {
			damaged = append(damaged, fmt.Errorf("%d lines of %s are not entries: %w", bad, p.file.Name(), ErrDamaged))
		}
	}
	return entries, errors.Join(damaged...)
}

// part is a file to be read up to a size.
type part struct {
	file *os.File
	size int64
}

// parts opens the files, newest first. They stay the same whatever is rotated
// meanwhile.
func (l *Log) parts() (parts []part, err error) {
	l.disk.Lock()
	defer l.disk.Unlock()
	if errors.Is(l.err, ErrClosed) {
		return nil, l.err
	}
	for i := 0; i <= l.o.Keep; i++ {
		f, err := os.Open(l.full(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a rotation was interrupted
		}
		if err != nil {
			return parts, err
		}
		st, err := f.Stat()
		if err != nil {
			return parts, errors.Join(err, f.Close())
		}
		p := part{f, st.Size()}
		if i == 0 {
			p.size = min(p.size, l.size) // more may not be on disk
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// read adds entries until there are n, and counts the lines that are none.
func (p part) read(n int, entries *[]Entry) (bad int, err error) {
	lines := backwards{r: p.file, pos: p.size}
	for len(*entries) < n {
		line, _, _, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bad, err
		}
		if e, err := decode(line); err == nil {
			*entries = append(*entries, e)
		} else {
			bad++
		}
	}
	return bad, nil
}
