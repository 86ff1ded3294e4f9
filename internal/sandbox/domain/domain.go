package domain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/process"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Kinds of failures that come from running a function, beside those of flow.
const (
	KindExit     = "exit"     // it exited with a status
	KindTrap     = "trap"     // its code trapped
	KindOutput   = "output"   // its output is too long
	KindLimit    = "limit"    // it broke a limit of CPU time or memory
	KindLost     = "lost"     // its domain host ended
	KindRefused  = "refused"  // it could not be started
	KindDeadlock = "deadlock" // it waits for a slot that nobody can publish
)

// graceStop is how long a stopped call may take to leave what it waits for,
// before its host is ended.
const graceStop = 20 * time.Millisecond

// File is a grant of a folder or file.
type File struct {
	Host     string // absolute path without symbolic links
	Guest    string
	Form     string // "dir", "file", "zip" or "fat"
	ReadOnly bool
}

// Function is a function as sandboxes need it: with an Image it runs in domain
// hosts, with a Process in processes of its own.
type Function struct {
	Name      string
	Image     *Image
	Process   *process.Function // says all that follows but Memory, Output and MaxOutput in its own words
	Args      []string
	Env       []string      // "KEY=value"
	Memory    int64         // bytes of linear memory
	CPU       time.Duration // of one attempt; 0: no limit
	Output    wire.Output
	MaxOutput int64 // bytes
	Files     []File
	Dial      []string // "host:port"
	Listen    []int    // loopback ports
	// Secrets appear in the guest as files that can only be read. They are given to hosts in
	// memory, and are on no disk.
	Secrets []SecretFile
}

// SecretFile is a file of a function whose content nobody else sees.
type SecretFile struct {
	Guest string // absolute path
	Data  []byte
}

// Call is one attempt of one function.
type Call struct {
	ID       uint64
	Function *Function
	Path     string // of the step, with its index: "map[2]"
	Step     string
	Index    int // -1 outside a foreach
	Attempt  int
	Key      string          // idempotency key
	Trace    string          // W3C traceparent for the function's environment; empty: none
	Input    []byte          // standard input
	Stdin    string          // a slot whose bytes are standard input instead
	Alone    bool            // in a host of its own
	CPU      *scheduler.Call // admitted; nil: nobody schedules it. The domain ends it.
	Time     time.Duration   // that a process has; 0: no limit. The time of others is their caller's business
	Streams  []*os.File
}

// Result is how a call ended.
type Result struct {
	Call    uint64
	Failure *flow.Failure // nil: it succeeded, and waits for Commit or Withdraw
	Code    uint32        // exit status
	Output  []byte        // standard output, unless Spilled
	Spilled *wire.Value   // standard output that is in slot "stdout" of the step
	Host    string
	Begun   time.Time // when the node sent it to its host
	Wall    time.Duration
	CPU     time.Duration
	Memory  int64
	Loaded  []wire.Loaded
	Moved   []wire.Moved

	spilled *buffer.Segment // of a single invocation: what holds Spilled, for whoever gets the result
}

// Options of a Domain.
type Options struct {
	Run     string
	Version string // of the app: hosts are used again only for the same one; "" never
	Quota   int64  // bytes of buffers; default 4 GiB
	Eager   bool   // set up every module before a function starts
	Pass    string // "reference" (default) or "file"
	Scratch string // folder for Pass "file"
	Folders []File // every folder that a function of the run may use

	// Done is told the end of each call, Log what functions write to standard
	// error. They are called from the domain's goroutines and must not block.
	Done func(Result)
	Log  func(call uint64, text []byte)
	// Host, if it is not nil, is told of each host that has served the run, when
	// it is given back or lost; it must not block.
	Host func(name string, begun, ended time.Time)
	// Stalled is told that every running call waits for a slot; Stalled.Break
	// ends them if nothing else can happen in the run.
	Stalled func()
}

// Domain is the set of sandboxes that serve one run.
type Domain struct {
	o      Options
	pool   *Pool
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // readers of hosts and other goroutines of the domain

	mu        sync.Mutex
	main      *host               // serves all calls but those that run alone; guarded by mu, as all below
	hosts     map[*host]time.Time // every host of the run, and since when
	shared    bool                // slots are decided here
	sharing   chan struct{}       // closed when the main host has answered Share
	calls     map[uint64]*call    // running, or waiting for Commit or Withdraw
	table     *buffer.Table       // the run's slots
	segments  map[uint64]*segment
	supplied  int64 // bytes of segments given to hosts
	folder    *buffer.Folder
	scratch   *os.File
	ports     map[int]*os.File // listening sockets, until Finish
	queue     []*call          // calls that wait for the main host
	seeking   bool             // there will be one
	parting   int              // calls for which one more host is sought
	waiters   int              // calls that wait for a slot
	last      uint64           // ID of the last single invocation
	published bool             // a call has committed: a new host does not know its slots
	finished  bool
	moved     chan struct{} // closed at the next change of the table, for processes that wait; nil: none does
}

// call is a Call under way.
type call struct {
	Call
	host     *host
	attempt  buffer.Attempt
	begun    time.Time
	long     bool // known to be, when it began
	running  bool
	stopped  bool   // its result does not matter
	waiting  string // slot that it waits for
	limited  bool   // the wait ends by itself
	ask      *wire.Ask
	exceeded *wire.Exceeded
	deadlock error
	unread   error      // a restored slot that it wanted cannot be read
	conflict error      // it published a name that another call has published, or more than the run may hold
	puts     []wire.Put // from Published
	takes    []string   // from Published
	dials    int        // under way
	taken    []string   // of its takes that its host decided about, those that the table knows
	asked    []string   // its takes that the node decided about
	recorded []Slot     // what it has published, once it has succeeded

	// Of a single invocation, which is no part of a run.
	single  bool
	body    *buffer.Segment   // long standard input
	size    int64             // of body
	stdout  *os.File          // where standard output goes, instead of into Result
	log     func(text []byte) // told what it writes to standard error
	request *process.Request  // what an application answers, and who hears the head of that
	respond func(int, http.Header)
	over    chan struct{} // told when result is there
	result  Result

	process *processCall // of a function that is a process
}

// Domain makes the domain of a run. Finish and Close it.
func (p *Pool) Domain(o Options) (*Domain, error) {
	if o.Quota <= 0 {
		o.Quota = 4 << 30
	}
	d := &Domain{
		o: o, pool: p,
		hosts: map[*host]time.Time{}, calls: map[uint64]*call{},
		table: buffer.NewTable(o.Quota), segments: map[uint64]*segment{}, ports: map[int]*os.File{},
	}
	if o.Pass == "file" {
		dir, err := os.MkdirTemp(o.Scratch, "run-")
		if err != nil {
			return nil, fmt.Errorf("make folder for buffers: %w", err)
		}
		g, err := p.spawner.OpenDir(dir, false)
		if err == nil {
			d.scratch = g.File
			d.folder = buffer.NewFolder(int(g.File.Fd()))
			d.o.Scratch = dir
			d.o.Folders = append(slices.Clone(o.Folders), File{Host: dir, Guest: "the folder for buffers"})
			if !p.spawner.Isolation().Mount {
				d.o.Version = "" // the host knows this run's folder alone
			}
		} else {
			os.Remove(dir)
			return nil, fmt.Errorf("open folder for buffers: %w", err)
		}
	}
	d.ctx, d.cancel = context.WithCancel(p.ctx)
	return d, nil
}

// Withdraw undoes the puts and takes of a call that failed.
func (d *Domain) Withdraw(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.calls[id]; k != nil {
		d.forget(k)
	}
}

// Discard undoes what calls below a path have published, for a sub-workflow
// that is tried once more.
func (d *Domain) Discard(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table.Discard(path)
	for h := range d.hosts {
		h.conn.Send(&wire.Discard{Path: path})
	}
	d.released()
}

// forget withdraws a call here and in its host; d.mu is held.
func (d *Domain) forget(k *call) {
	delete(d.calls, k.ID)
	if k.single { // its host does so by itself
		return
	}
	d.wake(d.table.Withdraw(k.attempt))
	d.tell(k, &wire.Withdraw{Call: k.ID})
	d.released()
}

// tell sends what became of a call to its host; d.mu is held. It may wait for the
// next message, unless a call there waits for just that.
func (d *Domain) tell(k *call, m wire.Message) {
	h := k.host
	if _, ok := d.hosts[h]; !ok || h == nil {
		return
	}
	for _, other := range h.calls {
		if other.waiting != "" {
			h.conn.Send(m) // its end is the reader's business
			return
		}
	}
	h.conn.Post(m)
	d.pool.flushSoon(h)
}

// Finish ends the run's sandboxes. Hosts that are idle serve the next run of
// the same app version, others are ended. What was published stays readable
// until Close.
func (d *Domain) Finish() {
	d.mu.Lock()
	if d.finished {
		d.mu.Unlock()
		return
	}
	hosts := slices.Collect(maps.Keys(d.hosts))
	for _, h := range hosts {
		d.served(h)
	}
	d.finished = true
	for _, h := range hosts {
		if len(h.calls) > 0 || h != d.main && !h.apart {
			h.closing = true
			h.process.Kill()
		}
	}
	for _, l := range d.ports {
		l.Close()
	}
	for _, k := range d.calls {
		k.process.end()
	}
	d.mu.Unlock()
	d.cancel()
	d.pool.delist(d)
	d.pool.returning(d.o.Version, 1)
	d.pool.work.Go(func() {
		for _, h := range hosts {
			d.giveBack(h)
		}
		d.pool.returning(d.o.Version, -1)
		d.work.Wait()
	})
}

// served tells that a host's time in the run is over; d.mu is held.
func (d *Domain) served(h *host) {
	if d.o.Host != nil && !d.finished {
		d.o.Host(h.name, d.hosts[h], time.Now())
	}
}

// resetTimeout bounds how long a host may take to forget a run.
const resetTimeout = 5 * time.Second

func (d *Domain) giveBack(h *host) {
	d.mu.Lock()
	closing := h.closing
	d.mu.Unlock()
	h.resetting.Store(true)
	if !closing && h.conn.Send(&wire.Reset{}) == nil {
		select {
		case <-h.over:
		case <-time.After(resetTimeout):
		}
		select {
		case <-h.idle:
			<-h.over
			h.over = make(chan struct{})
			h.resetting.Store(false)
			h.known, h.files, h.apart = map[uint64]int{}, 0, false
			for f := range h.defined { // the host has closed its ports
				if len(f.Listen) > 0 {
					delete(h.defined, f)
				}
			}
			d.pool.give(h, d.o.Version)
			return
		default:
		}
	}
	h.process.Kill()
	<-h.over
	h.kill()
	d.pool.ended(h)
}

// Close frees what the run left: its buffers are gone afterwards.
func (d *Domain) Close() error {
	d.Finish()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table.Drop()
	for id := range d.segments {
		d.discard(id)
	}
	if d.scratch == nil {
		return nil
	}
	err := errors.Join(d.scratch.Close(), os.RemoveAll(d.o.Scratch))
	d.scratch = nil
	return err
}
