package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/store/pebble"
)

// fileKind tells the kinds of Pebble's files apart.
func fileKind(name string) string {
	base := path.Base(name)
	for _, kind := range []string{"MANIFEST", "OPTIONS", "LOCK", "marker.manifest", "marker.format-version"} {
		if strings.HasPrefix(base, kind) {
			return kind
		}
	}
	if ext := path.Ext(base); ext != "" {
		return ext
	}
	return base
}

// tap sees all operations in the store's folder, one after the other.
type tap struct {
	mu   sync.Mutex
	n    int
	seen map[string]int
	each func(n int, op errorfs.Op) error // of operation n, before it happens
}

func (p *tap) String() string { return "tap" }

func (p *tap) MaybeError(op errorfs.Op) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.HasPrefix(op.Path, "store") {
		return nil
	}
	if p.seen == nil {
		p.seen = map[string]int{}
	}
	p.seen[fileKind(op.Path)]++
	p.n++
	if p.each == nil {
		return nil
	}
	return p.each(p.n-1, op)
}

// faulty is a disk whose operations a tap sees. Logs are used again as on a real
// disk, in two operations, and writes to them are seen too.
func faulty(disk vfs.FS, in errorfs.Injector) vfs.FS { return faultyDisk{errorfs.Wrap(disk, in)} }

type faultyDisk struct{ *errorfs.FS }

func (d faultyDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Rename(from, to); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(to, c)
}

// birth makes a store, lives and closes it, and says what failed first.
func (l *life) birth(disk vfs.FS) error {
	s, err := pebble.Open("store", pebble.Options{FS: disk}.Small())
	if err != nil {
		return err
	}
	err = l.live(s, 0, lifeSteps)
	if err != nil {
		if again := l.step(s, lifeSteps); err == nil || !isFailed(again) {
			err = errors.Join(err, fmt.Errorf("an append after a failure: %v", again))
		}
		if _, again := whole(s); !isFailed(again) {
			err = errors.Join(err, fmt.Errorf("a read after a failure: %v", again))
		}
		if again := s.Checkpoint(context.Background(), "copies/late"); !isFailed(again) {
			err = errors.Join(err, fmt.Errorf("a checkpoint after a failure: %v", again))
		}
		s.Close()
		return err
	}
	return s.Close()
}

func writes(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpLock
}

// counted says how many operations a life without faults has.
func counted(t *testing.T, want func(errorfs.Op) bool) int {
	t.Helper()
	var l life
	n := 0
	taps := &tap{each: func(_ int, op errorfs.Op) error {
		if want(op) {
			n++
		}
		return nil
	}}
	if err := l.birth(faulty(vfs.NewCrashableMem(), taps)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".log", ".sst", "MANIFEST", "OPTIONS", "marker.manifest", "marker.format-version", "store"} {
		if taps.seen[kind] == 0 {
			t.Fatalf("a life without faults has nothing to do with %s: %v", kind, taps.seen)
		}
	}
	return n
}

// One operation that changes the folder fails, each in its turn: the error is
// told, nothing that was promised is lost, neither if the machine lives nor if it
// dies at that moment, and the store opens again.
func TestErrorAtEveryOperation(t *testing.T) {
	all := counted(t, writes)
	failed := 0
	for at := 0; at < all; at += stride(all, 60) {
		base := vfs.NewCrashableMem()
		n := -1
		var l life
		var what string
		taps := &tap{each: func(_ int, op errorfs.Op) error {
			if writes(op) {
				n++
			}
			if n != at || !writes(op) || what != "" {
				return nil
			}
			what = fmt.Sprintf("error at operation %d, kind %d of %s", at, op.Kind, op.Path)
			return syscall.EIO
		}}
		err := l.birth(faulty(base, taps))
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "store") {
				t.Errorf("%s: %v", what, err)
			}
		}
		crashed := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: at * 7 % 101, RNG: rand.New(rand.NewPCG(uint64(at), 1))})
		l.reopened(t, what+", then a crash", crashed)
		l.reopened(t, what, base)
	}
	if failed < all/stride(all, 60)/2 {
		t.Errorf("only %d lives have failed", failed)
	}
}

// full is a disk with room for so many bytes. A write that does not fit is made
// as far as it fits.
type full struct {
	vfs.FS
	mu   sync.Mutex
	left int64
	used int64
}

func (d *full) take(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	got := int(min(int64(n), d.left))
	d.left -= int64(got)
	d.used += int64(got)
	return got
}

var errFull = syscall.ENOSPC

func (d *full) open(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{f, d}, nil
}

func (d *full) room(name string) error {
	if d.take(32) < 32 { // for the entry
		return &fs.PathError{Op: "open", Path: name, Err: errFull}
	}
	return nil
}

func (d *full) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.room(name); err != nil {
		return nil, err
	}
	return d.open(d.FS.Create(name, c))
}

func (d *full) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.room(to); err != nil {
		return nil, err
	}
	return d.open(d.FS.ReuseForWrite(from, to, c))
}

func (d *full) MkdirAll(name string, mode fs.FileMode) error {
	if err := d.room(name); err != nil {
		return err
	}
	return d.FS.MkdirAll(name, mode)
}

type fullFile struct {
	vfs.File
	d *full
}

func (f *fullFile) Write(p []byte) (int, error) {
	got := f.d.take(len(p))
	n, err := f.File.Write(p[:got])
	if err == nil && got < len(p) {
		err = errFull
	}
	return n, err
}

// The disk is full after so many bytes, wherever that is: the error says so, what
// was promised is there, and with more space the store goes on.
func TestNoSpace(t *testing.T) {
	measured := &full{FS: vfs.NewCrashableMem(), left: 1 << 40}
	var l life
	if err := l.birth(measured); err != nil {
		t.Fatal(err)
	}
	step := measured.used / 60
	if *every {
		step = 1999
	}
	for room := int64(0); room < measured.used-step; room += step {
		base := vfs.NewCrashableMem()
		var l life
		what := fmt.Sprintf("room for %d bytes", room)
		err := l.birth(&full{FS: base, left: room})
		if err == nil && room > measured.used*4/5 {
			continue // not all lives merge the same tables
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("%s: %v", what, err)
		}
		crashed := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(room), 1))})
		l.reopened(t, what+", then a crash", crashed)
		l.reopened(t, what, base)
	}
}

// A checkpoint that does not fit the disk that it is on fails alone.
func TestNoSpaceForCheckpoint(t *testing.T) {
	base := vfs.NewCrashableMem()
	taps := &elsewhere{}
	s := open(t, "store", pebble.Options{FS: faulty(base, taps)}.Small())
	defer s.Close()
	var l life
	if err := l.live(s, 0, lifeSteps/2); err != nil {
		t.Fatal(err)
	}
	taps.on = true
	err := s.Checkpoint(t.Context(), "backup/1")
	if !errors.Is(err, syscall.ENOSPC) || isFailed(err) {
		t.Errorf("checkpoint: %v", err)
	}
	taps.on = false
	if err := l.live(s, lifeSteps/2, lifeSteps); err != nil {
		t.Errorf("the store does not go on: %v", err)
	}
	if err := s.Checkpoint(t.Context(), "backup/1"); err != nil {
		t.Errorf("checkpoint with space: %v", err)
	}
}

// elsewhere is full where checkpoints go.
type elsewhere struct{ on bool }

func (e *elsewhere) String() string { return "elsewhere" }

func (e *elsewhere) MaybeError(op errorfs.Op) error {
	if e.on && strings.HasPrefix(op.Path, "backup/1/") && writes(op) {
		return syscall.ENOSPC
	}
	return nil
}

// Reads that fail give errors and never a wrong answer. Those of the caller leave
// the store as it is.
func TestErrorAtEveryRead(t *testing.T) {
	base := vfs.NewCrashableMem()
	var made life
	if err := made.birth(base); err != nil {
		t.Fatal(err)
	}
	reads := func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsRead }
	use := func(disk vfs.FS) error {
		s, err := pebble.Open("store", pebble.Options{FS: disk}.Small())
		if err != nil {
			return err
		}
		defer s.Close()
		n, err := whole(s)
		if err == nil && n != lifeSteps {
			t.Errorf("%d of %d appends are found", n, lifeSteps)
		}
		var l life
		return errors.Join(err, l.live(s, lifeSteps, lifeSteps+3), s.Compact())
	}
	all := 0
	taps := &tap{each: func(_ int, op errorfs.Op) error {
		if reads(op) {
			all++
		}
		return nil
	}}
	clone := func() *vfs.MemFS {
		return base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	}
	if err := use(faulty(clone(), taps)); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for at := 0; at < all; at += stride(all, 60) {
		disk, n, hit := clone(), -1, ""
		err := use(faulty(disk, &tap{each: func(_ int, op errorfs.Op) error {
			if !reads(op) || hit != "" {
				return nil
			}
			if n++; n < at {
				return nil
			}
			hit = fmt.Sprintf("read %d, kind %d of %s", at, op.Kind, op.Path)
			return syscall.EIO
		}}))
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) && !isFailed(err) {
				t.Errorf("%s: %v", hit, err)
			}
		}
		l := life{}
		l.durable.Store(lifeSteps)
		l.appended.Store(lifeSteps + 3)
		l.reopened(t, hit, disk)
	}
	if failed == 0 {
		t.Error("no read has failed")
	}
}
