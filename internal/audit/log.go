// Package audit keeps who has changed what: one line of JSON for each request
// that changes something, in a file that is only ever added to.
//
//	log, err := audit.Open("/var/lib/weft/audit.log", audit.Options{})
//	err = log.Record(audit.Entry{Who: "ci", Action: "app.deploy", Subject: "shop", Outcome: "ok"})
//	entries, err := log.Read(100)   // newest first
//
// An entry is on disk when Record returns, so a request is answered after its
// entry. Entries that are recorded at the same time share one sync.
//
// A file that has become large is named audit.log.1, the one before it
// audit.log.2 and so on, as many as are kept. What a crash has left of lines that
// were being written is cut off when the log is opened.
//
// Whoever may write the file can change what it says; it is a record for an
// operator who trusts the machine, not evidence against its administrator.
//
//	entry.go  an entry and its line
//	log.go    recording
//	file.go   opening, cutting, rotating
//	read.go   reading backwards
package audit

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// What a log fails with.
var (
	ErrClosed = errors.New("the audit log is closed")
	// ErrFailed says that what was written may not be on disk. It stays so until the
	// log is opened again.
	ErrFailed = errors.New("the audit log has failed")
	// ErrDamaged says that lines of a file are not entries.
	ErrDamaged = errors.New("the audit log is damaged")
)

// Options configure a Log.
type Options struct {
	// MaxSize is the size in bytes from which on a file is not added to. Default
	// 16 MiB. Files may be larger by what is recorded at one time.
	MaxSize int64
	// Keep is how many full files are kept beside the current one. Default 8,
	// negative: none.
	Keep int
	// Now is the clock for entries without a time. Default time.Now.
	Now func() time.Time
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.MaxSize <= 0 {
		o.MaxSize = 16 << 20
	}
	if o.Keep == 0 {
		o.Keep = 8
	}
	o.Keep = max(o.Keep, 0)
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Log is an audit log. It is safe for concurrent use. One process writes a file
// at a time.
type Log struct {
	path  string
	o     Options
	write func(*os.File, []byte) (int, error) // of tests: a disk that fails
	sync  func(*os.File) error

	mu   sync.Mutex
	next *group // guarded by mu

	disk sync.Mutex // held by who writes; guards what follows
	file *os.File
	size int64 // of whole lines that are on disk
	err  error // the log is closed or has failed
}

// group are lines that are written and synced together. err and done are guarded
// by Log.disk, the rest by Log.mu while it is Log.next.
type group struct {
	lines []byte
	done  bool
	err   error
}

// Record adds an entry. It is on disk on return. After an error it may be there
// or not. It fails with ErrFailed if that is so for good, and with ErrClosed;
// after other errors (a full disk) the next Record may succeed.
func (l *Log) Record(e Entry) error {
	if e.At.IsZero() {
		e.At = l.o.Now()
	}
	e.At = e.At.UTC()
	line, err := encode(e)
	if err != nil {
		return fmt.Errorf("record %s: %w", cut(e.Action), err)
	}
	l.mu.Lock()
	g := l.next
	g.lines = append(g.lines, line...)
	l.mu.Unlock()

	// The first of a group that gets the disk writes for all of it; meanwhile the
	// next group comes together.
	l.disk.Lock()
	defer l.disk.Unlock()
	if !g.done {
		l.mu.Lock()
		l.next = &group{}
		l.mu.Unlock()
		g.err = l.put(g.lines)
		g.done = true
	}
	if g.err != nil {
		return fmt.Errorf("record %s: %w", cut(e.Action), g.err)
	}
	return nil
}

// put writes and syncs lines. Log.disk is held.
func (l *Log) put(lines []byte) error {
	if l.err != nil {
		return l.err
	}
	if l.size > 0 && l.size+int64(len(lines)) > l.o.MaxSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if _, err := l.write(l.file, lines); err != nil {
		// Half a line must not become the beginning of the next one.
		if undo := l.file.Truncate(l.size); undo != nil {
			l.err = fmt.Errorf("%w: %w", ErrFailed, errors.Join(err, undo))
			return l.err
		}
		return err
	}
	if err := l.sync(l.file); err != nil {
		l.err = fmt.Errorf("%w: %w", ErrFailed, err)
		return l.err
	}
	l.size += int64(len(lines))
	return nil
}

// Close closes the log. Records that are under way finish first.
func (l *Log) Close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if errors.Is(l.err, ErrClosed) {
		return nil
	}
	l.err = ErrClosed
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
