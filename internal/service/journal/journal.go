// Package journal is what a request has done before it waited: each question that
// its methods asked, with the answer. When an execution is lost, because the
// instance or the node died, or somebody older needed its locks, another one is
// given the same answers to the same questions, and so comes to where the first one
// was, provided that it asks the same. Compare finds out where it does not.
//
// A request is a stack of executions: its own method, and those that it has called
// and waits for. Path says which one an entry belongs to: "" is the request's own
// method, "3" what that called with question 3, "3.1" what that one called.
package journal

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/codec"
	"github.com/weft-run/weft/internal/service/wire"
)

// version is the first byte of a chunk.
const version = 1

// ChunkMax bounds what Encode gives, in bytes, unless one entry alone is larger.
const ChunkMax = 60 << 10

// Entry is a question with its answer. Seq 0 is the start of an execution. A later
// entry with the same Path and Seq replaces an earlier one.
type Entry struct {
	Path     string
	Seq      uint64
	What     string      // what was asked for, for people
	Hash     uint64      // of all of the question
	Answered bool        // it was; otherwise it was waited for
	Answer   wire.Answer // the body
	Start    wire.Start  // of Seq 0: what is given
}

// Of makes the entry of a question that has no answer yet.
func Of(path string, q wire.Asker) Entry {
	what, detail := q.Describe()
	head := q.Head()
	c := codec.Writer(nil)
	detail(c)
	head.Changes(c)
	h := fnv.New64a()
	h.Write([]byte(what))
	h.Write(c.Rest())
	return Entry{Path: path, Seq: head.Seq, What: what, Hash: h.Sum64()}
}

// Below is the path of what a question calls.
func Below(path string, seq uint64) string {
	if path == "" {
		return strconv.FormatUint(seq, 10)
	}
	return path + "." + strconv.FormatUint(seq, 10)
}

// Divergence is a method that does not ask what it has asked before.
type Divergence struct {
	Method   wire.Target
	Seq      uint64
	Was, Now string
	Detail   bool // the same is asked for, with other arguments or after other writes
}

func (d *Divergence) Error() string {
	if d.Detail {
		return fmt.Sprintf("%v is not deterministic: question %d, %q, comes with other arguments or writes than the first time", d.Method, d.Seq, d.Was)
	}
	return fmt.Sprintf("%v is not deterministic: question %d was %q, now it is %q", d.Method, d.Seq, d.Was, d.Now)
}

// Compare holds a question against what was asked before.
func Compare(method wire.Target, was Entry, q wire.Asker) *Divergence {
	now := Of(was.Path, q)
	if now.Hash == was.Hash && now.What == was.What {
		return nil
	}
	return &Divergence{Method: method, Seq: was.Seq, Was: was.What, Now: now.What, Detail: now.What == was.What}
}

func (e *Entry) code(c *codec.Coder) {
	c.String(&e.Path)
	c.Uint(&e.Seq)
	if e.Seq == 0 {
		e.Start.Given(c)
		return
	}
	c.String(&e.What)
	c.Uint(&e.Hash)
	c.Bool(&e.Answered)
	if e.Answered {
		e.Answer.Body(c)
	}
}

// Encode gives the chunks that hold entries.
func Encode(entries []Entry) [][]byte {
	var chunks [][]byte
	c := codec.Writer([]byte{version})
	for i := range entries {
		before := len(c.Rest())
		entries[i].code(c)
		if all := c.Rest(); len(all) > ChunkMax && before > 1 {
			chunks = append(chunks, all[:before:before])
			c = codec.Writer(append([]byte{version}, all[before:]...))
		}
	}
	return append(chunks, c.Rest())
}

// Decode reads a chunk.
func Decode(chunk []byte) ([]Entry, error) {
	if len(chunk) == 0 || chunk[0] != version {
		return nil, fmt.Errorf("decode journal: %w: not a version that this weft knows", codec.ErrMalformed)
	}
	var entries []Entry
	for rest := chunk[1:]; len(rest) > 0; {
		var e Entry
		c := codec.Reader(rest)
		e.code(c)
		if err := c.Err(); err != nil {
			return nil, fmt.Errorf("decode journal: %w", err)
		}
		entries = append(entries, e)
		rest = c.Rest()
	}
	return entries, nil
}

// String is a line for people.
func (e Entry) String() string {
	if e.Seq == 0 {
		return strings.TrimSpace(e.Path + " start")
	}
	line := strings.TrimSpace(fmt.Sprint(e.Path, " ", e.Seq, " ", e.What))
	if !e.Answered {
		return line + ": waits"
	}
	return line + ": " + e.Answer.Value.Code.String()
}
