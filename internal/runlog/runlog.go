// Package runlog keeps what the functions of runs write to standard error, a
// file a run.
//
//	logs, err := runlog.Open(dir, runlog.Options{})
//	logs.Append(run, engine.LogLine{Step: "count", Text: "…"})   // soon on disk
//	for line, err := range logs.Read(ctx, run, ended) { … }      // follows until ended
//	logs.Drop(run)
//
// Lines are written by one goroutine, so that a run never waits for the disk.
// They are not synced: what a function logged just before the machine lost its
// power may be missing, unlike anything that a run did. What does not fit, in
// the queue or in the file of a run, is counted, and the log says so.
package runlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/engine"
)

// Options configure a Folder.
type Options struct {
	// Size bounds the log of one run, in bytes. Default 16 MiB.
	Size int64
	// Queue is how many lines may wait for the disk, of waitingMax bytes at most.
	// Default 8192.
	Queue int
	// Line bounds one line, in bytes; the rest of a longer one is cut off.
	// Default 16 KiB.
	Line int
	// Failed is told the first error of writing after writes that went well: lines
	// are missing from then on. Default: Close alone tells the last one.
	Failed func(error)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Size <= 0 {
		o.Size = 16 << 20
	}
	if o.Queue <= 0 {
		o.Queue = 8192
	}
	if o.Line <= 0 {
		o.Line = 16 << 10
	}
}

// Folder keeps logs. It is safe for concurrent use. Close it.
type Folder struct {
	o    Options
	dir  string
	wake chan struct{} // a line waits; closed by Close
	done chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	queue   []entry             // guarded by mu, as all below
	waiting int                 // bytes of the lines in queue
	lost    map[string]int      // lines by run that found no room
	readers map[string]*readers // by run
	closed  bool
	failed  error // of the last write that has failed, for Close

	failing bool // the last write has failed; the writer's alone
}

var _ engine.Logs = (*Folder)(nil)

// readers are those who follow the log of a run.
type readers struct {
	n    int
	news chan struct{} // closed when something was written, and made anew
}

type entry struct {
	run  string
	line engine.LogLine
	drop bool

	written chan struct{} // closed when all before it is
}

// Open opens or makes a folder.
func Open(dir string, o Options) (*Folder, error) {
	o.EnsureDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	f := &Folder{o: o, dir: dir, wake: make(chan struct{}, 1), done: make(chan struct{}), lost: map[string]int{}, readers: map[string]*readers{}}
	go f.write()
	return f, nil
}

// Append implements engine.Logs. It does not block.
func (f *Folder) Append(run string, line engine.LogLine) {
	if len(line.Text) > f.o.Line {
		line.Text = line.Text[:f.o.Line] + "…"
	}
	f.push(entry{run: run, line: line})
}

// Drop implements engine.Logs.
func (f *Folder) Drop(run string) { f.push(entry{run: run, drop: true}) }

// waitingMax bounds the lines that wait for the disk, in bytes.
const waitingMax = 8 << 20

func (f *Folder) push(e entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return
	case (len(f.queue) >= f.o.Queue || f.waiting >= waitingMax) && !e.drop && e.written == nil:
		f.lost[e.run]++
	default:
		f.queue = append(f.queue, e)
		f.waiting += len(e.line.Text)
	}
	select {
	case f.wake <- struct{}{}:
	default: // it is awake
	}
}

// write is the goroutine that owns the files.
func (f *Folder) write() {
	defer close(f.done)
	for range f.wake {
		f.flush()
	}
	f.flush()
}

// flush writes what waits, each run's lines at once.
func (f *Folder) flush() {
	f.mu.Lock()
	queue, lost := f.queue, f.lost
	f.queue, f.waiting, f.lost = nil, 0, map[string]int{}
	f.mu.Unlock()
	pending := map[string][]engine.LogLine{}
	var order []string
	for _, e := range queue {
		if e.written != nil {
			defer close(e.written)
			continue
		}
		if e.drop {
			delete(pending, e.run)
			if err := os.Remove(f.path(e.run)); !errors.Is(err, fs.ErrNotExist) {
				f.wrote(err)
			}
			continue
		}
		if pending[e.run] == nil {
			order = append(order, e.run)
		}
		pending[e.run] = append(pending[e.run], e.line)
	}
	for run, n := range lost {
		if pending[run] == nil {
			order = append(order, run)
		}
		pending[run] = append(pending[run], engine.LogLine{At: time.Now().UTC(), Index: -1, Text: fmt.Sprintf("weft: %d lines are missing here: they came faster than the disk takes them", n)})
	}
	for _, run := range order {
		if lines := pending[run]; lines != nil {
			delete(pending, run) // a run that was dropped in between is there twice
			f.wrote(f.add(run, lines))
			f.told(run)
		}
	}
}

// wrote notes how a write has ended: logs are no reason to stop a node.
func (f *Folder) wrote(err error) {
	first := err != nil && !f.failing
	f.failing = err != nil
	if err != nil {
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}
	if first && f.o.Failed != nil {
		f.o.Failed(err)
	}
}

// told wakes who reads the log of a run.
func (f *Folder) told(run string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.readers[run]; r != nil {
		close(r.news)
		r.news = make(chan struct{})
	}
}

// suffix ends the names of logs.
const suffix = ".log"

func (f *Folder) path(run string) string { return filepath.Join(f.dir, run+suffix) }

// add appends lines to the file of a run.
func (f *Folder) add(run string, lines []engine.LogLine) error {
	file, err := os.OpenFile(f.path(run), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	room := f.o.Size - st.Size()
	if room <= 0 { // it says so itself
		return nil
	}
	var b bytes.Buffer
	if last := []byte{'\n'}; st.Size() > 0 {
		if _, err := file.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			b.WriteByte('\n') // a crash has torn the last line; what follows is whole
		}
	}
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
		if int64(b.Len()) >= room {
			full := engine.LogLine{At: l.At, Index: -1, Text: fmt.Sprintf("weft: the log ends here: it has %d KiB, which is the limit", f.o.Size>>10)}
			if err := enc.Encode(full); err != nil {
				return fmt.Errorf("write log: %w", err)
			}
			break
		}
	}
	if _, err := file.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// Runs implements engine.Logs.
func (f *Folder) Runs() ([]string, error) {
	d, err := os.Open(f.dir)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var runs []string
	for _, name := range names {
		if run, ok := strings.CutSuffix(name, suffix); ok {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// Read gives the lines of a run's log. If ended is not nil it waits for further
// ones until that is closed. A run without a log has no lines.
func (f *Folder) Read(ctx context.Context, run string, ended <-chan struct{}) iter.Seq2[engine.LogLine, error] {
	return func(yield func(engine.LogLine, error) bool) {
		if !filepath.IsLocal(run) || filepath.Base(run) != run {
			yield(engine.LogLine{}, fmt.Errorf("log of run %q: %w", run, engine.ErrNotFound))
			return
		}
		f.sync()
		defer f.follow(run)()
		from, last := int64(0), ended == nil
		for {
			more := f.next(run)
			n, ok := f.lines(run, from, yield)
			if !ok {
				return
			}
			from += n
			if last {
				return
			}
			select {
			case <-more:
			case <-ended: // what was written before that is still to be read
				f.sync()
				last = true
			case <-ctx.Done():
				yield(engine.LogLine{}, ctx.Err())
				return
			case <-f.done:
				last = true
			}
		}
	}
}

// follow has next tell about a run's log, until unfollow is called.
func (f *Folder) follow(run string) (unfollow func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.readers[run]
	if r == nil {
		r = &readers{news: make(chan struct{})}
		f.readers[run] = r
	}
	r.n++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.n--; r.n == 0 {
			delete(f.readers, run)
		}
	}
}

// next is closed when something is added to a run's log, which the caller
// follows.
func (f *Folder) next(run string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers[run].news
}

// sync waits until what was appended is written.
func (f *Folder) sync() {
	written := make(chan struct{})
	f.push(entry{written: written})
	select {
	case <-written:
	case <-f.done:
	}
}

// lines reads whole lines from an offset on, and says how many bytes they are.
func (f *Folder) lines(run string, from int64, yield func(engine.LogLine, error) bool) (n int64, more bool) {
	file, err := os.Open(f.path(run))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true
	}
	if err != nil {
		return 0, yield(engine.LogLine{}, fmt.Errorf("read log: %w", err))
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return 0, yield(engine.LogLine{}, fmt.Errorf("read log: %w", err))
	}
	r := bufio.NewReader(file)
	for {
		text, err := r.ReadBytes('\n')
		if err != nil {
			return n, true // half a line is being written
		}
		n += int64(len(text))
		var l engine.LogLine
		if json.Unmarshal(text, &l) != nil {
			continue // a crash has torn it
		}
		if !yield(l, nil) {
			return n, false
		}
	}
}

// Close writes what waits. It returns the last error of writing, if there was
// one.
func (f *Folder) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.wake)
	}
	f.mu.Unlock()
	<-f.done
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}
