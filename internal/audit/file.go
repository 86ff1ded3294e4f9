package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Open opens a log or makes one, mode 0600, in a folder that exists. Lines at its
// end that are not whole entries are cut off: they were being written when a
// crash came, so nobody was told that they are there.
func Open(path string, o Options) (*Log, error) {
	o.EnsureDefaults()
	l := &Log{path: path, o: o, next: &group{}, write: (*os.File).Write, sync: (*os.File).Sync}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size, err := trim(file)
	if err == nil {
		err = file.Chmod(0o600)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = syncFolder(l.path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, size
	return nil
}

// trim cuts off what is not a whole entry at the end of a file. It returns the
// file's size.
func trim(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	lines := backwards{r: f, pos: size}
	for {
		line, whole, start, err := lines.next()
		if errors.Is(err, io.EOF) {
			return 0, f.Truncate(0)
		}
		if err != nil {
			return 0, err
		}
		if _, bad := decode(line); bad == nil && whole {
			end := start + int64(len(line)) + 1
			if end == size {
				return size, nil
			}
			return end, f.Truncate(end)
		}
	}
}

// rotate begins a new file. Log.disk is held. After an error, or a crash between
// two steps, numbers may be missing; the next rotation fills them.
func (l *Log) rotate() error {
	// What has been written is on disk, so nothing is lost whatever happens here.
	if l.o.Keep == 0 {
		if err := l.file.Truncate(0); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		l.size = 0
		return nil
	}
	if err := remove(l.full(l.o.Keep)); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	for n := l.o.Keep; n > 0; n-- {
		if err := os.Rename(l.full(n-1), l.full(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if err = syncFolder(l.path); err != nil {
			err = errors.Join(err, file.Close(), remove(l.path))
		}
	}
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	l.file.Close() // all of it is on disk
	l.file, l.size = file, 0
	return nil
}

// full is the name of the nth full file, the newest being 1; 0 is the current one.
func (l *Log) full(n int) string {
	if n == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, n)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder puts the entry of a file on disk.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// backwards reads lines from the end of a file.
type backwards struct {
	r    io.ReaderAt
	pos  int64  // where buf begins in the file
	buf  []byte // what was read and not yet returned
	step int    // bytes a read; default 64 KiB
}

// next returns the line that ends where the one before began, whether a line end
// follows it, and where it starts; io.EOF at the beginning of the file. A line is
// valid until the next call.
func (b *backwards) next() (line []byte, whole bool, start int64, err error) {
	for {
		body := b.buf
		whole = len(body) > 0 && body[len(body)-1] == '\n'
		if whole {
			body = body[:len(body)-1]
		}
		if cut := bytes.LastIndexByte(body, '\n'); cut >= 0 {
			b.buf = b.buf[:cut+1]
			return body[cut+1:], whole, b.pos + int64(cut) + 1, nil
		}
		if b.pos == 0 {
			if len(b.buf) == 0 {
				return nil, false, 0, io.EOF
			}
			b.buf = nil
			return body, whole, 0, nil
		}
		if err := b.fill(); err != nil {
			return nil, false, 0, err
		}
	}
}

// fill reads more, as much again as there is so that long lines cost no square.
func (b *backwards) fill() error {
	if b.step == 0 {
		b.step = 64 << 10
	}
	n := min(int64(max(b.step, len(b.buf))), b.pos)
	buf := make([]byte, n+int64(len(b.buf)))
	if _, err := b.r.ReadAt(buf[:n], b.pos-n); err != nil {
		return err
	}
	copy(buf[n:], b.buf)
	b.buf = buf
	b.pos -= n
	return nil
}
