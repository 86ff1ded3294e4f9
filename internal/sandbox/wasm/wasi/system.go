package wasi

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi/image"
)

// MountKind says what a mount's descriptor is.
type MountKind uint8

const (
	// Dir is a host directory; its descriptor may be O_PATH.
	Dir MountKind = iota
	// Zip is a zip archive, read only.
	Zip
	// FAT is a FAT12, FAT16 or FAT32 disk image, read only.
	FAT
	// File is one host file.
	File
)

// Mount is a part of the guest's file tree.
//
// A Dir, Zip or FAT mount is a pre-opened directory at Guest. A File mount is a
// file at Guest: the folder that holds it is a pre-opened directory in which
// nothing else can be seen or made; several file mounts in one folder share it.
type Mount struct {
	Guest    string    // absolute path in the guest, such as "/data"
	Kind     MountKind // what FD is
	FD       int       // opened by the caller, who also closes it, after System.Close
	ReadOnly bool      // refuse writes with ROFS, whatever FD would allow
}

// Listener is a listening socket that the guest may accept on.
type Listener struct {
	Port uint16
	FD   int // opened by the caller, who also closes it, after System.Close
}

// Clocks are the guest's clocks, in nanoseconds.
type Clocks struct {
	Realtime  func() int64 // since 1970
	Monotonic func() int64 // since any fixed moment
	CPU       func() int64 // processor time that the instance has used
}

// Config says what a [System] offers. The zero value is a guest without
// arguments, files or network, whose input is empty and whose output is
// discarded.
type Config struct {
	Args []string
	Env  []string // "KEY=value"

	// Stdin, Stdout and Stderr are descriptors 0, 1 and 2. A [Terminal], a
	// host descriptor, can block and is polled; any other reader or writer is
	// taken to be memory: always ready, never blocking. A writer refuses bytes
	// by returning an [Errno]. Nil is an empty input and a discarded output.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Mounts    []Mount
	Listeners []Listener
	// Stream is a connected stream socket, of which the guest learns from its
	// environment: its number is [Config.StreamFD]. The caller closes it, after
	// System.Close. 0: there is none.
	Stream int
	// Dial connects to a host and port that the guest names and returns a
	// connected stream socket, which the System owns from then on. Nil refuses
	// every call with NOTCAPABLE.
	Dial func(host string, port uint16) (fd int, errno Errno)

	Clocks Clocks // nil members: the machine's

	// Eager sets up every module in New. By default a module is set up when the
	// guest first uses it.
	Eager bool
	// Loaded is told, once a module, that "fs" or "net" was set up and how long
	// that took. Opening an archive or disk image is told as "fs:" and its
	// guest path.
	Loaded func(module string, took time.Duration)

	// Failed is told of an archive or disk image that cannot be opened; the
	// guest sees IO.
	Failed func(guest string, err error)

	// Images shares opened archives and disk images between Systems. Nil: each
	// System opens its own.
	Images *image.Cache

	// Descriptors bounds the table; default 1024.
	Descriptors int
}

// StreamFD is the guest's number of Stream: the first one behind mounts and listeners.
func (c *Config) StreamFD() int { return 3 + countPreopens(c.Mounts) + len(c.Listeners) }

// System is the operating system of one instance.
type System struct {
	cfg  Config
	fds  []*descriptor
	free int // no number below is free

	mounted, networked bool // modules that are set up
	preopens           int  // descriptors from 3 that belong to mounts
	images             []*image.Image

	exited bool
	code   uint32

	interrupted atomic.Bool
	wakeFD      atomic.Int32 // eventfd that wakes a blocking call, plus one; 0 until one blocks

	lastCPU int64

	// Scratch space that makes the hot calls free of allocations.
	bufs   [][]byte
	vec    vector
	bufs0  [16][]byte
	fds0   [8]*descriptor
	stdio  [3]descriptor
	stdin  memoryInput
	output [2]memoryOutput
	poll   poller
	st     Filestat
}

// New makes the system of one instance.
func New(cfg Config) *System {
	s := &System{cfg: cfg, free: 3}
	if s.cfg.Descriptors <= 0 {
		s.cfg.Descriptors = 1024
	}
	s.bufs = s.bufs0[:0]
	s.fds = s.fds0[:3]
	s.preopens = countPreopens(cfg.Mounts)
	s.SetStreams(cfg.Stdin, cfg.Stdout, cfg.Stderr)
	if cfg.Stream > 0 {
		s.place(cfg.StreamFD(), &descriptor{obj: newSocket(cfg.Stream, false, false), base: rightsSocket &^ RightSockAccept})
	}
	if cfg.Eager {
		s.loadFS()
		s.loadNet()
		s.openImages()
	}
	return s
}

// SetStreams makes descriptors 0, 1 and 2 anew, as at New, whatever the guest
// did to them: a resident instance gets fresh ones for each call.
func (s *System) SetStreams(stdin io.Reader, stdout, stderr io.Writer) {
	for i := range s.stdio {
		if d := s.fds[i]; d != nil {
			d.obj.close()
		}
		s.fds[i] = &s.stdio[i]
	}
	s.stdio[0] = descriptor{obj: s.input(stdin), base: rightsStream &^ RightFdWrite}
	s.stdio[1] = descriptor{obj: s.out(0, stdout), base: rightsStream &^ RightFdRead}
	s.stdio[2] = descriptor{obj: s.out(1, stderr), base: rightsStream &^ RightFdRead}
	for i := range s.stdio {
		if t, ok := s.stdio[i].obj.(*terminal); ok && t.seekable() {
			s.stdio[i].base |= RightFdSeek | RightFdTell
		}
	}
}

// SetEnv replaces what args_get and environ_get return: a resident instance
// gets those of the call at hand.
func (s *System) SetEnv(args, env []string) { s.cfg.Args, s.cfg.Env = args, env }

// ExitCode reports whether the guest has ended itself, and with which status.
func (s *System) ExitCode() (code uint32, exited bool) { return s.code, s.exited }

// Interrupt makes the blocking call that the guest is in, and every later one,
// return CANCELED. It may be called from any goroutine, until Close.
func (s *System) Interrupt() {
	s.interrupted.Store(true)
	if fd := s.wakeFD.Load(); fd > 0 {
		wake(int(fd) - 1)
	}
}

// Close closes whatever the guest left open.
func (s *System) Close() error {
	for i, d := range s.fds {
		if d != nil {
			d.obj.close()
			s.fds[i] = nil
		}
	}
	var err error
	for _, img := range s.images {
		err = errors.Join(err, img.Close())
	}
	s.images = nil
	if fd := s.wakeFD.Swap(0); fd > 0 {
		closeFD(int(fd) - 1)
	}
	return err
}

// timed runs setup and reports how long it took.
func (s *System) timed(module string, setup func()) {
	if s.cfg.Loaded == nil {
		setup()
		return
	}
	start := time.Now()
	setup()
	s.cfg.Loaded(module, time.Since(start))
}

// loadFS puts the mounts into the table, from descriptor 3.
func (s *System) loadFS() {
	if s.mounted || s.preopens == 0 {
		return
	}
	s.mounted = true
	s.timed("fs", func() { s.mount() })
}

// loadNet puts the listening sockets into the table, after the mounts.
func (s *System) loadNet() {
	if s.networked || (len(s.cfg.Listeners) == 0 && s.cfg.Dial == nil) {
		return
	}
	s.networked = true
	s.timed("net", func() {
		for i, l := range s.cfg.Listeners {
			s.place(3+s.preopens+i, &descriptor{
				obj:     newSocket(l.FD, true, false),
				base:    rightsSocket &^ (RightFdRead | RightFdWrite),
				inherit: rightsSocket,
			})
		}
	})
}
