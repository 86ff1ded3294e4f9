// Package schedext loads a scheduler into the kernel that knows tiers, ranks and slices
// of calls: tiers.c, for the class SCHED_EXT (Documentation/scheduler/sched-ext.rst).
//
//	s, err := schedext.Load(schedext.Options{})    // the error says what is missing
//	err = s.Open(7, schedext.Place{Tier: schedext.Express})
//	err = s.Join(tid, 7)                           // the thread, and all that it makes from now on
//	err = s.Move(7, schedext.Place{Tier: schedext.Batch})
//	<-s.Ejected()                                  // the kernel does without it; s.Err() says why
//	err = s.Close()
//
// Only threads of that class are its own (SCX_OPS_SWITCH_PARTIAL), and all others go
// before them. sched_setattr(2) gives a thread the class, with Class. The scheduler ends with Close or with this process,
// and the kernel ends it when a thread that could run did not for Options.Patience, or
// when somebody presses SysRq-S; then threads of the class are ordinary ones.
//
// tiers.o is tiers.c, compiled, so that building weft needs no compiler for BPF: `make
// schedext-object` compiles it, and a test compares them where there is the same clang.
package schedext

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

//go:embed tiers.o
var object []byte

// Class is the scheduling class of the threads.
const Class = unix.SCHED_EXT

// Name is what /sys/kernel/sched_ext/root/ops says when the scheduler is loaded.
const Name = "weft"

// The tiers. A thread of the class that belongs to no call is in Normal.
const (
	Express Tier = 1 + iota
	Normal
	Batch
)

// Tier is one of the queues; each goes before the next.
type Tier uint32

// PatienceMax is the longest that the kernel waits for a thread that does not get a core.
const PatienceMax = 30 * time.Second

// maxCores is CORES in tiers.c.
const maxCores = 1024

// Place is where a call is.
type Place struct {
	Tier  Tier
	Rank  uint32        // the least goes first; a greater one adds up to 10 s to the time since when a thread waits
	Slice time.Duration // how long a thread keeps a core that an equal one waits for; 0: 100, 4 or 20 ms by tier
}

// Options are what a scheduler is loaded with.
type Options struct {
	// Patience is how long a thread that can run may wait before the kernel ends the
	// scheduler; default and most PatienceMax.
	Patience time.Duration
}

// EnsureDefaults fills in what is 0.
func (o *Options) EnsureDefaults() {
	if o.Patience == 0 {
		o.Patience = PatienceMax
	}
}

// Validate reports what is wrong.
func (o *Options) Validate() error {
	if o.Patience < time.Second || o.Patience > PatienceMax {
		return fmt.Errorf("patience is %v: want 1 s to %v", o.Patience, PatienceMax)
	}
	return nil
}

// Scheduler is one that is loaded. Its methods may be called from any goroutine.
type Scheduler struct {
	objects objects
	link    link.Link
	reader  *ringbuf.Reader
	ejected chan struct{}
	done    sync.WaitGroup

	mu      sync.Mutex
	closing bool  // guarded by mu
	err     error // why it was ejected; guarded by mu
}

// objects are the maps and programs of tiers.o that are used from here.
type objects struct {
	Calls   *ebpf.Map     `ebpf:"calls"`
	Threads *ebpf.Map     `ebpf:"threads"`
	Ended   *ebpf.Map     `ebpf:"ended"`
	Tiers   *ebpf.Map     `ebpf:"tiers"`
	Place   *ebpf.Program `ebpf:"place"`
}

// place, call, thread and request are as in tiers.c.
type place struct {
	Tier, Rank uint32
	Slice      uint64
}

type call struct {
	Place place
	Used  uint64
}

type thread struct {
	Call, Since, Ran, Start, Queued uint64
}

type request struct {
	Call  uint64
	Place place
}

type farewell struct {
	Reason, Message [128]byte
}

// State is what the kernel's scheduler of the class does: "disabled" when there is none. The
// error says what the kernel lacks.
func State() (string, error) {
	text, err := os.ReadFile("/sys/kernel/sched_ext/state")
	if err != nil {
		return "", errors.New("the kernel has no such class")
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return "", errors.New("the kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)")
	}
	return strings.TrimSpace(string(text)), nil
}

// Load puts the scheduler into the kernel. Close it.
func Load(o Options) (*Scheduler, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("load scheduler: %w", err)
	}
	state, err := State()
	if err != nil {
		return nil, fmt.Errorf("load scheduler: %w", err)
	}
	if state != "disabled" {
		return nil, fmt.Errorf("load scheduler: the kernel has another one: %s", state)
	}
	s := &Scheduler{ejected: make(chan struct{})}
	if err := s.load(o); err != nil {
		return nil, errors.Join(fmt.Errorf("load scheduler: %w", err), s.release())
	}
	s.done.Go(s.listen)
	return s, nil
}

// Try reports whether the kernel takes the scheduler from this user. It does not use it.
func Try() error {
	var o Options
	o.EnsureDefaults()
	all, err := programs(o)
	if err != nil {
		return err
	}
	all.Close()
	return nil
}

// load fills in a scheduler, as far as that goes.
func (s *Scheduler) load(o Options) error {
	all, err := programs(o)
	if err != nil {
		return err
	}
	defer all.Close()
	if err := all.Assign(&s.objects); err != nil {
		return err
	}
	if s.reader, err = ringbuf.NewReader(s.objects.Ended); err != nil {
		return err
	}
	s.link, err = link.AttachStructOps(link.StructOpsOptions{Map: s.objects.Tiers})
	return err
}

// programs puts maps and programs into the kernel: all of them, also those that only the
// kernel calls.
func programs(o Options) (*ebpf.Collection, error) {
	spec, err := spec(o)
	if err != nil {
		return nil, err
	}
	if err := exact(spec); err != nil {
		return nil, err
	}
	return ebpf.NewCollection(spec)
}

// spec is tiers.o for this machine.
func spec(o Options) (*ebpf.CollectionSpec, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	cores, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["cores"].Set(uint32(min(cores, maxCores))); err != nil {
		return nil, err
	}
	return spec, setPatience(spec.Maps["tiers"], o.Patience)
}

// setPatience writes it into the value of the map that becomes the kernel's struct.
func setPatience(m *ebpf.MapSpec, patience time.Duration) error {
	ops, ok := btf.As[*btf.Struct](m.Value)
	if !ok || len(m.Contents) != 1 {
		return errors.New("the object has no scheduler")
	}
	value, ok := m.Contents[0].Value.([]byte)
	i := slices.IndexFunc(ops.Members, func(m btf.Member) bool { return m.Name == "timeout_ms" })
	if !ok || i < 0 || int(ops.Members[i].Offset.Bytes())+4 > len(value) {
		return errors.New("the object has no timeout")
	}
	binary.NativeEndian.PutUint32(value[ops.Members[i].Offset.Bytes():], uint32(patience/time.Millisecond))
	return nil
}

// listen waits for the kernel to end the scheduler.
func (s *Scheduler) listen() {
	record, err := s.reader.Read()
	if err != nil {
		return // it was closed
	}
	var f farewell
	if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &f); err != nil {
		f = farewell{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.err = errors.New(strings.TrimSuffix(unix.ByteSliceToString(f.Reason[:])+": "+unix.ByteSliceToString(f.Message[:]), ": "))
	close(s.ejected)
}

// Ejected is closed when the kernel has ended the scheduler. It stays open after Close.
func (s *Scheduler) Ejected() <-chan struct{} { return s.ejected }

// Err is why the kernel has ended the scheduler, in its words; nil: it has not.
func (s *Scheduler) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Open makes a call. Its number must not be 0, nor that of one which is not dropped.
func (s *Scheduler) Open(id uint64, p Place) error {
	if id == 0 {
		return errors.New("open call 0: 0 is no call")
	}
	if err := s.objects.Calls.Update(id, call{Place: p.wire()}, ebpf.UpdateNoExist); err != nil {
		return fmt.Errorf("open call %d: %w", id, err)
	}
	return nil
}

// Move puts a call elsewhere, with its threads that wait for a core or have one.
func (s *Scheduler) Move(id uint64, p Place) error {
	var buf bytes.Buffer
	if err := binary.Write(&buf, binary.NativeEndian, request{id, p.wire()}); err != nil {
		return fmt.Errorf("move call %d: %w", id, err)
	}
	code, err := s.objects.Place.Run(&ebpf.RunOptions{Context: buf.Bytes()})
	if err == nil && code != 0 {
		err = unix.Errno(-int32(code))
	}
	if err != nil {
		return fmt.Errorf("move call %d: %w", id, err)
	}
	return nil
}

// Drop forgets a call. Threads of it that remain belong to none. One that is not known is
// no error.
func (s *Scheduler) Drop(id uint64) error {
	if err := s.objects.Calls.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("drop call %d: %w", id, err)
	}
	return nil
}

// Join makes a thread belong to a call, and all that it makes from now on; call 0 is none.
// The error wraps unix.ESRCH when it has ended.
func (s *Scheduler) Join(tid int, id uint64) error {
	fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD)
	if err != nil {
		return fmt.Errorf("thread %d joins call %d: %w", tid, id, err)
	}
	defer unix.Close(fd)
	if err := s.objects.Threads.Update(uint32(fd), thread{Call: id}, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("thread %d joins call %d: %w", tid, id, err)
	}
	return nil
}

// Close takes the scheduler out of the kernel.
func (s *Scheduler) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	err := s.release()
	s.done.Wait()
	return err
}

// release gives back what there is.
func (s *Scheduler) release() error {
	var errs []error
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	for _, m := range []*ebpf.Map{s.objects.Calls, s.objects.Threads, s.objects.Ended, s.objects.Tiers} {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, s.objects.Place.Close())...)
}

// wire is a place as the kernel has it.
func (p Place) wire() place { return place{uint32(p.Tier), p.Rank, uint64(p.Slice)} }
