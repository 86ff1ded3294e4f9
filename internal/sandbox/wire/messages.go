package wire

import "github.com/weft-run/weft/internal/codec"

// The numbers of the messages; they are the protocol and never change within
// a Version.
const (
	kindReady = iota + 1
	kindAssign
	kindFunction
	kindStart
	kindCommit
	kindWithdraw
	kindDiscard
	kindStop
	kindNeed
	kindSupply
	kindDropped
	kindAsk
	kindAnswer
	kindWaiting
	kindResumed
	kindExceeded
	kindLog
	kindPublished
	kindDone
	kindShare
	kindShared
	kindReset
	kindIdle
	kindCompile
	kindCompiled
	kindLocate
	kindLocated
	kindEvaluate
	kindEvaluated
	kindHold
)

var messages = [256]func() Message{
	kindReady:     func() Message { return new(Ready) },
	kindAssign:    func() Message { return new(Assign) },
	kindFunction:  func() Message { return new(Function) },
	kindStart:     func() Message { return new(Start) },
	kindCommit:    func() Message { return new(Commit) },
	kindWithdraw:  func() Message { return new(Withdraw) },
	kindDiscard:   func() Message { return new(Discard) },
	kindStop:      func() Message { return new(Stop) },
	kindNeed:      func() Message { return new(Need) },
	kindSupply:    func() Message { return new(Supply) },
	kindDropped:   func() Message { return new(Dropped) },
	kindAsk:       func() Message { return new(Ask) },
	kindAnswer:    func() Message { return new(Answer) },
	kindWaiting:   func() Message { return new(Waiting) },
	kindResumed:   func() Message { return new(Resumed) },
	kindExceeded:  func() Message { return new(Exceeded) },
	kindLog:       func() Message { return new(Log) },
	kindPublished: func() Message { return new(Published) },
	kindDone:      func() Message { return new(Done) },
	kindShare:     func() Message { return new(Share) },
	kindShared:    func() Message { return new(Shared) },
	kindReset:     func() Message { return new(Reset) },
	kindIdle:      func() Message { return new(Idle) },
	kindCompile:   func() Message { return new(Compile) },
	kindCompiled:  func() Message { return new(Compiled) },
	kindLocate:    func() Message { return new(Locate) },
	kindLocated:   func() Message { return new(Located) },
	kindEvaluate:  func() Message { return new(Evaluate) },
	kindEvaluated: func() Message { return new(Evaluated) },
	kindHold:      func() Message { return new(Hold) },
}

// Ready is the first frame of a host: it is confined and waits for work.
type Ready struct {
	Version uint64
	Images  string // the images that it loads
	Report  []byte // confine.Report as JSON
}

func (*Ready) kind() byte { return kindReady }
func (m *Ready) code(c *codec.Coder) {
	c.Uint(&m.Version)
	c.String(&m.Images)
	c.Bytes(&m.Report)
}

// Assign gives the host to a run. With PassFile the descriptor of the folder
// for buffers comes beside it.
type Assign struct {
	Run      string
	Quota    int64 // bytes of buffers that the run may hold
	Eager    bool  // set up every module before a function starts
	PassFile bool  // buffers go through files
	Shared   bool  // another host serves the run too: ask the node for slots
}

func (*Assign) kind() byte { return kindAssign }
func (m *Assign) code(c *codec.Coder) {
	c.String(&m.Run)
	c.Int(&m.Quota)
	c.Bool(&m.Eager)
	c.Bool(&m.PassFile)
	c.Bool(&m.Shared)
}

// Output says what a function's standard output is.
type Output uint8

// The kinds of outputs.
const (
	OutputJSON   Output = iota // one JSON value, checked by the node
	OutputText                 // text, to become a JSON string
	OutputBytes                // bytes, always kept as a buffer
	OutputStream               // not captured: the descriptors beside Start
)

// Mount is a grant of files; its descriptor comes beside the message.
type Mount struct {
	Guest    string // path in the sandbox
	Form     string // "dir", "file", "zip" or "fat"
	ReadOnly bool
}

// Function tells the host about a function before its first Start. Beside it
// come the descriptors of the image, of the mounts and of the listeners.
type Function struct {
	ID        uint32
	Name      string
	Args      []string
	Env       []string
	Memory    int64 // bytes of linear memory, views apart
	CPU       int64 // nanoseconds of CPU time of one attempt; 0: no limit
	Output    Output
	MaxOutput int64 // bytes
	Mounts    []Mount
	Listen    []uint32 // ports, one descriptor each
	Dial      bool     // whether weft.dial asks the node or is refused here
}

func (*Function) kind() byte { return kindFunction }
func (m *Function) code(c *codec.Coder) {
	c.Uint32(&m.ID)
	c.String(&m.Name)
	codec.Strings(c, &m.Args)
	codec.Strings(c, &m.Env)
	c.Int(&m.Memory)
	c.Int(&m.CPU)
	c.Byte((*uint8)(&m.Output))
	c.Int(&m.MaxOutput)
	codec.List(c, &m.Mounts, func(c *codec.Coder, m *Mount) {
		c.String(&m.Guest)
		c.String(&m.Form)
		c.Bool(&m.ReadOnly)
	})
	codec.List(c, &m.Listen, func(c *codec.Coder, p *uint32) { c.Uint32(p) })
	c.Bool(&m.Dial)
}

// Start runs one attempt of a call. Beside it come the descriptors of a Long
// input and of a Stream; for OutputStream instead those of the standard streams.
type Start struct {
	Call     uint64
	Function uint32
	Path     string // "map[2]"
	Step     string // "map"
	Index    int64  // -1 outside a foreach
	Attempt  uint64
	Key      string
	Trace    string // W3C traceparent; empty: none
	Input    []byte // standard input, at most InlineMax
	Long     int64  // length of a longer one, in the descriptor beside the message; 0: Input is it
	Stdin    string // the slot whose bytes are standard input; empty: Input is
	Single   bool   // the call is all there is of its run: its end withdraws what it published
	Stream   bool   // standard output is not captured, but written to a descriptor
}

func (*Start) kind() byte { return kindStart }
func (m *Start) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Uint32(&m.Function)
	c.String(&m.Path)
	c.String(&m.Step)
	c.Int(&m.Index)
	c.Uint(&m.Attempt)
	c.String(&m.Key)
	c.String(&m.Trace)
	c.Bytes(&m.Input)
	c.Int(&m.Long)
	c.String(&m.Stdin)
	c.Bool(&m.Single)
	c.Bool(&m.Stream)
}

// Commit makes the puts and takes of a finished call final.
type Commit struct{ Call uint64 }

func (*Commit) kind() byte            { return kindCommit }
func (m *Commit) code(c *codec.Coder) { c.Uint(&m.Call) }

// Withdraw undoes the puts and takes of a finished call.
type Withdraw struct{ Call uint64 }

func (*Withdraw) kind() byte            { return kindWithdraw }
func (m *Withdraw) code(c *codec.Coder) { c.Uint(&m.Call) }

// Discard undoes what finished calls below a path have published, for a
// sub-workflow that is tried once more.
type Discard struct{ Path string }

func (*Discard) kind() byte            { return kindDiscard }
func (m *Discard) code(c *codec.Coder) { c.String(&m.Path) }

// Stop interrupts what a call waits for, now and later, with a WASI errno.
// Code that computes does not notice: for that there is only the end of its
// host.
type Stop struct {
	Call  uint64
	Errno uint32
}

func (*Stop) kind() byte { return kindStop }
func (m *Stop) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Uint32(&m.Errno)
}

// Need asks for a segment of at least Bytes. The answers come in order.
type Need struct{ Bytes int64 }

func (*Need) kind() byte            { return kindNeed }
func (m *Need) code(c *codec.Coder) { c.Int(&m.Bytes) }

// Segment names a memory file, whose descriptor comes beside the message that
// introduces it.
type Segment struct {
	ID       uint64
	Capacity int64
}

func (s *Segment) code(c *codec.Coder) {
	c.Uint(&s.ID)
	c.Int(&s.Capacity)
}

// Supply answers Need with a segment, or says why there is none.
type Supply struct {
	Segment Segment
	Refused string
}

func (*Supply) kind() byte { return kindSupply }
func (m *Supply) code(c *codec.Coder) {
	m.Segment.code(c)
	c.String(&m.Refused)
}

// Dropped says that the host has closed segments and will not name them again.
type Dropped struct{ Segments []uint64 }

func (*Dropped) kind() byte { return kindDropped }
func (m *Dropped) code(c *codec.Coder) {
	codec.List(c, &m.Segments, func(c *codec.Coder, id *uint64) { c.Uint(id) })
}

// Op is what a host asks the node to do for a call.
type Op uint8

// The operations of Ask.
const (
	OpTake Op = iota + 1
	OpBorrow
	OpLen
	OpWait
	OpDial
)

// Ask requests what only the node can do: slots of a run that several hosts
// serve, and connections.
type Ask struct {
	ID   uint64
	Call uint64
	Op   Op
	Name string // slot, or the host name of OpDial
	Type uint64 // fingerprint, or the port of OpDial

	Room    int64 // of OpTake and OpBorrow: bytes that the value may have; longer is EOVERFLOW
	Limited bool  // of OpWait: it ends by itself, with a time-out
}

func (*Ask) kind() byte { return kindAsk }
func (m *Ask) code(c *codec.Coder) {
	c.Uint(&m.ID)
	c.Uint(&m.Call)
	c.Byte((*uint8)(&m.Op))
	c.String(&m.Name)
	c.Uint(&m.Type)
	c.Int(&m.Room)
	c.Bool(&m.Limited)
}

// Value is what a slot holds: inline bytes, a segment, or a file of the run's
// folder.
type Value struct {
	Len     int64
	Type    uint64
	Inline  []byte
	Segment Segment // ID 0: none
	File    string
}

func (v *Value) code(c *codec.Coder) {
	c.Int(&v.Len)
	c.Uint(&v.Type)
	c.Bytes(&v.Inline)
	v.Segment.code(c)
	c.String(&v.File)
}

// Answer answers Ask. The descriptor of a segment that the host does not have
// yet, or of a connection, comes beside it.
type Answer struct {
	ID    uint64
	Errno uint32 // WASI errno
	Name  string // the slot's full name
	Value Value
}

func (*Answer) kind() byte { return kindAnswer }
func (m *Answer) code(c *codec.Coder) {
	c.Uint(&m.ID)
	c.Uint32(&m.Errno)
	c.String(&m.Name)
	m.Value.code(c)
}

// Waiting says that a call waits for a slot, Resumed that it goes on. From
// these the node knows a deadlock.
type Waiting struct {
	Call    uint64
	Name    string
	Limited bool // it ends by itself, with a time-out
}

func (*Waiting) kind() byte { return kindWaiting }
func (m *Waiting) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.String(&m.Name)
	c.Bool(&m.Limited)
}

// Resumed ends Waiting.
type Resumed struct{ Call uint64 }

func (*Resumed) kind() byte            { return kindResumed }
func (m *Resumed) code(c *codec.Coder) { c.Uint(&m.Call) }

// Exceeded says that a call broke a limit that only the end of the host can
// enforce.
type Exceeded struct {
	Call  uint64
	Limit string // "cpu" or "memory"
	Text  string
}

func (*Exceeded) kind() byte { return kindExceeded }
func (m *Exceeded) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.String(&m.Limit)
	c.String(&m.Text)
}

// Log carries what a function wrote to standard error.
type Log struct {
	Call uint64
	Text []byte
}

func (*Log) kind() byte { return kindLog }
func (m *Log) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Bytes(&m.Text)
}

// Put is a slot that a call published.
type Put struct {
	Name  string // "x" or "/x", as the function said it
	Value Value
}

// Published lists puts and takes of a call, when they do not all fit beside
// Done.
type Published struct {
	Call  uint64
	Puts  []Put
	Takes []string // full names
}

func (*Published) kind() byte { return kindPublished }
func (m *Published) code(c *codec.Coder) {
	c.Uint(&m.Call)
	puts(c, &m.Puts)
	codec.Strings(c, &m.Takes)
}

func puts(c *codec.Coder, p *[]Put) {
	codec.List(c, p, func(c *codec.Coder, p *Put) {
		c.String(&p.Name)
		p.Value.code(c)
	})
}

// Status says how a call ended.
type Status uint8

// The ways in which a call ends.
const (
	StatusOK      Status = iota // it returned, or exited with 0
	StatusExit                  // it exited with another code
	StatusTrap                  // it trapped; Message is the reason, Frames the stack
	StatusOutput                // its output is over the limit
	StatusRefused               // it could not be started; Message says why
	StatusLimit                 // it has used more memory than it may; Message says how much
)

// Frame is a function on the stack of a trap.
type Frame struct {
	Offset   uint64 // in the module file
	Function string
}

// Loaded is a module that was set up, when, and what it cost.
type Loaded struct {
	Module string
	At     int64 // nanoseconds after the start of the call
	Took   int64 // nanoseconds
}

// Moved is a slot that a call put or took, and when.
type Moved struct {
	Put   bool
	Name  string
	Bytes int64
	At    int64 // nanoseconds after the start of the call
	Took  int64 // nanoseconds
}

// Done ends a call.
type Done struct {
	Call    uint64
	Status  Status
	Code    uint32
	Message string
	Frames  []Frame
	Output  []byte // standard output up to InlineMax
	Spilled Value  // standard output beyond that: a segment, published as slot "stdout"
	Puts    []Put
	Takes   []string // full names
	CPU     int64    // nanoseconds
	Wall    int64    // nanoseconds
	Memory  int64    // bytes of linear memory at the end
	Loaded  []Loaded
	Moved   []Moved
}

func (*Done) kind() byte { return kindDone }
func (m *Done) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Byte((*uint8)(&m.Status))
	c.Uint32(&m.Code)
	c.String(&m.Message)
	codec.List(c, &m.Frames, func(c *codec.Coder, f *Frame) {
		c.Uint(&f.Offset)
		c.String(&f.Function)
	})
	c.Bytes(&m.Output)
	m.Spilled.code(c)
	puts(c, &m.Puts)
	codec.Strings(c, &m.Takes)
	c.Int(&m.CPU)
	c.Int(&m.Wall)
	c.Int(&m.Memory)
	codec.List(c, &m.Loaded, func(c *codec.Coder, l *Loaded) {
		c.String(&l.Module)
		c.Int(&l.At)
		c.Int(&l.Took)
	})
	codec.List(c, &m.Moved, func(c *codec.Coder, v *Moved) {
		c.Bool(&v.Put)
		c.String(&v.Name)
		c.Int(&v.Bytes)
		c.Int(&v.At)
		c.Int(&v.Took)
	})
}

// Share tells a host that another one serves the run from now on.
type Share struct{}

func (*Share) kind() byte        { return kindShare }
func (*Share) code(*codec.Coder) {}

// Open is what an unfinished call has taken so far.
type Open struct {
	Call  uint64
	Takes []string // full names
}

// Shared answers Share: from this frame on the host asks the node for slots.
type Shared struct{ Open []Open }

func (*Shared) kind() byte { return kindShared }
func (m *Shared) code(c *codec.Coder) {
	codec.List(c, &m.Open, func(c *codec.Coder, o *Open) {
		c.Uint(&o.Call)
		codec.Strings(c, &o.Takes)
	})
}

// Hold keeps a host that decides about slots from using the segment of a published slot again
// while the node reads it; Off ends that.
type Hold struct {
	Segment uint64
	Slot    string // full name; empty with Off
	Off     bool
}

func (*Hold) kind() byte { return kindHold }
func (m *Hold) code(c *codec.Coder) {
	c.Uint(&m.Segment)
	c.String(&m.Slot)
	c.Bool(&m.Off)
}

// Reset ends the run: the host drops every instance, slot and buffer.
type Reset struct{}

func (*Reset) kind() byte        { return kindReset }
func (*Reset) code(*codec.Coder) {}

// Idle answers Reset: the host is clean and keeps only its loaded functions.
type Idle struct{}

func (*Idle) kind() byte        { return kindIdle }
func (*Idle) code(*codec.Coder) {}
