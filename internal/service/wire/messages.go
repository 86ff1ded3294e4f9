package wire

import (
	"time"

	"github.com/weft-run/weft/internal/codec"
)

// Target is a method of an object of a service.
type Target struct {
	Service string
	Object  string // "" where a service has one object only
	Method  string
}

func (t Target) String() string {
	if t.Object == "" {
		return t.Service + "." + t.Method
	}
	return t.Service + "/" + t.Object + "." + t.Method
}

// Fields codes a target.
func (t *Target) Fields(c *codec.Coder) {
	c.String(&t.Service)
	c.String(&t.Object)
	c.String(&t.Method)
}

// Key is a place in the state of the object whose method asks: a field, or an entry
// of a field that is a map. An entry's key is in the encoding of arguments.
type Key struct {
	Field string
	Item  bool // an entry
	Entry string
}

// VersionField is the field of an object that has the version of its state, for code that knows of
// one: a number, as JSON. Other code asks for nothing by that name.
const VersionField = "#version"

// FitMethod is what an instance is called by that is to say whether its code fits state which is stored: Start has all
// that it is to look at of an object. The text of a result that is OK says what does not fit, a line for
// each field; it is empty where the object has the state of another version. No method has that name.
const FitMethod = "#fits"

func (k *Key) code(c *codec.Coder) {
	c.String(&k.Field)
	c.Bool(&k.Item)
	if k.Item {
		c.String(&k.Entry)
	}
}

// Write is a value that a key gets. Later writes of a key replace earlier ones.
type Write struct {
	Key     Key
	Value   []byte
	Deleted bool // it has no value
}

// Code says how something went.
type Code uint8

// The codes.
const (
	OK       Code = iota
	Absent        // of a key: it has no value
	Pending       // of a handle: it is not there yet
	Failed        // the method, or the one that it called, has returned an error
	Refused       // the node does not do that; the text says why
	Aborted       // the execution is over
	Proceed       // of Run: do it, and tell with Ran
	Panicked      // of Return: the method did not return; it is tried again
	Busy          // of a request from outside: too many wait already; nothing has happened
	Conflict      // of a request from outside: its key belongs to another call
	Late          // of a request from outside: its deadline has passed; the text says what has become of it
)

func (c Code) String() string {
	return [...]string{"ok", "absent", "pending", "failed", "refused", "aborted", "proceed", "panicked", "busy", "conflict", "late"}[min(c, Late)]
}

// Value is a value, or the reason why there is none.
type Value struct {
	Code Code
	Text string // of an error; of Scan: the entry's key
	Data []byte
}

// Fields codes a value.
func (v *Value) Fields(c *codec.Coder) {
	code := uint8(v.Code)
	c.Byte(&code)
	if v.Code = Code(code); v.Code > Late {
		c.Fail("code")
	}
	c.String(&v.Text)
	c.Bytes(&v.Data)
}

// Known is a key with its value.
type Known struct {
	Key   Key
	Value Value // OK or Absent
}

// Start begins an execution of a method.
type Start struct {
	Call    uint64 // its number; no other execution of the node's life has it
	Request string // whose part it is; stays the same when it is tried again
	Attempt uint32 // 1, 2, … of the request
	To      Target
	Args    [][]byte
	Now     int64   // the time, in nanoseconds since 1970; the same again when the method is replayed
	Seed    uint64  // of randomness, likewise
	Values  []Known // which the instance need not ask for
}

func (*Start) kind() byte { return kindStart }
func (m *Start) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.String(&m.Request)
	c.Uint32(&m.Attempt)
	m.To.Fields(c)
	arguments(c, &m.Args)
	m.Given(c)
}

// Given codes what is the same again when a method is replayed.
func (m *Start) Given(c *codec.Coder) {
	c.Int(&m.Now)
	c.Uint(&m.Seed)
	codec.List(c, &m.Values, func(c *codec.Coder, k *Known) {
		k.Key.code(c)
		k.Value.Fields(c)
	})
}

// Answer answers the question Seq.
type Answer struct {
	Call, Seq uint64
	Value     Value
	List      []Value // of Read: as the keys; of Scan: entries; of Await: as the handles
	Now       int64   // the time, likewise
	Fresh     bool    // what was read before is not to be used any more
}

func (*Answer) kind() byte { return kindAnswer }
func (m *Answer) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Uint(&m.Seq)
	m.Body(c)
}

// Body codes what is the same again when a method is replayed.
func (m *Answer) Body(c *codec.Coder) {
	m.Value.Fields(c)
	codec.List(c, &m.List, func(c *codec.Coder, v *Value) { v.Fields(c) })
	c.Int(&m.Now)
	c.Bool(&m.Fresh)
}

// Question is what every question has.
type Question struct {
	Call, Seq uint64
	Writes    []Write // since the last question
}

// Head is the question itself, for who has an Asker.
func (q *Question) Head() *Question { return q }

func (q *Question) code(c *codec.Coder) {
	c.Uint(&q.Call)
	c.Uint(&q.Seq)
	q.Changes(c)
}

// Changes codes the writes.
func (q *Question) Changes(c *codec.Coder) {
	codec.List(c, &q.Writes, func(c *codec.Coder, w *Write) {
		w.Key.code(c)
		c.Bool(&w.Deleted)
		c.Bytes(&w.Value)
	})
}

// Asker is a message that is a question.
type Asker interface {
	Message
	Head() *Question
	// Describe names what is asked, for people and to be compared with what was
	// asked before; detail is the rest that has to be the same.
	Describe() (what string, detail func(*codec.Coder))
}

// Read asks for values. The answer has them in List. Where they are too large for one
// answer the last ones are Pending, and are asked for again; the first one never is.
type Read struct {
	Question
	Keys   []Key
	Update bool // they will be written: nobody else gets to read them
}

func (*Read) kind() byte { return kindRead }
func (m *Read) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Read) body(c *codec.Coder) {
	codec.List(c, &m.Keys, func(c *codec.Coder, k *Key) { k.code(c) })
	c.Bool(&m.Update)
}

// Scan asks for the entries of a map in the order of their keys, those after
// a key. Where they are too large for one answer its Value is Pending, and more come
// after the last one.
type Scan struct {
	Question
	Field string
	After string // "": from the first one
	Limit uint32 // entries, at least 1
}

func (*Scan) kind() byte { return kindScan }
func (m *Scan) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Scan) body(c *codec.Coder) {
	c.String(&m.Field)
	c.String(&m.After)
	c.Uint32(&m.Limit)
}

// Mode is how a method is called.
type Mode uint8

// The modes.
const (
	Wait  Mode = iota // the answer is its result
	Async             // its result comes with Await
	Send              // nobody waits for it
)

// Invoke calls a method. Delay is not for Wait.
type Invoke struct {
	Question
	Mode  Mode
	To    Target
	Args  [][]byte
	Delay time.Duration // it begins that much later
}

func (*Invoke) kind() byte { return kindInvoke }
func (m *Invoke) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Invoke) body(c *codec.Coder) {
	mode := uint8(m.Mode)
	c.Byte(&mode)
	if m.Mode = Mode(mode); m.Mode > Send {
		c.Fail("mode")
	}
	m.To.Fields(c)
	arguments(c, &m.Args)
	delay := int64(m.Delay)
	c.Int(&delay)
	m.Delay = time.Duration(delay)
}

// Edge is an edge of a transaction.
type Edge uint8

// The edges.
const (
	Begin  Edge = iota // no answer
	Commit             // the answer is OK, or why the transaction came to nothing
	Abort              // no answer: what it wrote and sent came to nothing
)

// Transaction begins or ends a transaction. One within another joins it.
type Transaction struct {
	Question
	Edge Edge
}

func (*Transaction) kind() byte { return kindTransaction }
func (m *Transaction) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Transaction) body(c *codec.Coder) {
	edge := uint8(m.Edge)
	c.Byte(&edge)
	if m.Edge = Edge(edge); m.Edge > Abort {
		c.Fail("edge")
	}
}

// Run is a side effect, done at least once; its first recorded result stands. The
// answer is that result, or Proceed with the effect's key, the same in every
// attempt, in Text.
type Run struct {
	Question
	Name string
}

func (*Run) kind() byte { return kindRun }
func (m *Run) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Run) body(c *codec.Coder) { c.String(&m.Name) }

// Ran is the result of a Run that was to proceed: of its Seq, not a question of its
// own. The answer comes when it is recorded.
type Ran struct {
	Call, Seq uint64
	Value     Value // OK or Failed
}

func (*Ran) kind() byte { return kindRan }
func (m *Ran) code(c *codec.Coder) {
	c.Uint(&m.Call)
	c.Uint(&m.Seq)
	m.Value.Fields(c)
}

// Timer makes a handle that is there after a while. No answer.
type Timer struct {
	Question
	Delay time.Duration
}

func (*Timer) kind() byte { return kindTimer }
func (m *Timer) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Timer) body(c *codec.Coder) {
	delay := int64(m.Delay)
	c.Int(&delay)
	m.Delay = time.Duration(delay)
}

// Promise makes a handle of what somebody outside will say, under a name that
// belongs to the request. No answer.
type Promise struct {
	Question
	Name string
}

func (*Promise) kind() byte { return kindPromise }
func (m *Promise) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Promise) body(c *codec.Coder) { c.String(&m.Name) }

// Await waits for handles, which are the Seqs of other questions: for all, or for
// one of them.
type Await struct {
	Question
	Handles []uint64
	Any     bool
}

func (*Await) kind() byte { return kindAwait }
func (m *Await) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Await) body(c *codec.Coder) {
	codec.List(c, &m.Handles, func(c *codec.Coder, h *uint64) { c.Uint(h) })
	c.Bool(&m.Any)
}

// Compensate says what undoes the work of the request if that fails later or is
// cancelled. The latest goes first. No answer.
type Compensate struct {
	Question
	To   Target
	Args [][]byte
}

func (*Compensate) kind() byte { return kindCompensate }
func (m *Compensate) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Compensate) body(c *codec.Coder) {
	m.To.Fields(c)
	arguments(c, &m.Args)
}

// Continue ends the execution, and begins the method anew with other arguments and
// an empty journal. Only the method that the request is for does so.
type Continue struct {
	Question
	Args [][]byte
}

func (*Continue) kind() byte { return kindContinue }
func (m *Continue) code(c *codec.Coder) {
	m.Question.code(c)
	m.body(c)
}

func (m *Continue) body(c *codec.Coder) { arguments(c, &m.Args) }

// Return ends the execution. What an execution that fails wrote and sent since the
// last time that it waited comes to nothing.
type Return struct {
	Question
	Value Value  // OK, Failed or Panicked
	Used  uint64 // bit i: Start's value i was read
}

func (*Return) kind() byte { return kindReturn }
func (m *Return) code(c *codec.Coder) {
	m.Question.code(c)
	m.Value.Fields(c)
	c.Uint(&m.Used)
}

// arguments codes arguments.
func arguments(c *codec.Coder, a *[][]byte) {
	codec.List(c, a, func(c *codec.Coder, b *[]byte) { c.Bytes(b) })
}
