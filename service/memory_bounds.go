package service

import (
	"fmt"

	"github.com/weft-run/weft/internal/service/wire"
)

// Bounds of a node by default: internal/service/machine and internal/service/record.
const (
	depthMax     = 32      // calls within each other
	nameMax      = 200     // bytes of a name, and of the key of an entry
	valueMax     = 1 << 20 // bytes of a value, of a result, and of arguments together
	writesMax    = 4 << 20 // bytes that are written at a time
	journalMax   = 4 << 20 // bytes of what is asked and answered until the request ends or continues
	answerMax    = 2<<20 - 128<<10
	questionsMax = 1 << 16 // of a run of a method
	perValue     = 16      // bytes of a value besides its own, and of a question
)

// limited says what is too large in a call, or not there.
func (m *Memory) limited(c call) string {
	for _, name := range [...]string{c.to.Service, c.to.Object, c.to.Method} {
		if len(name) > nameMax {
			return fmt.Sprintf("call %v: a name of %d bytes, at most %d", c.to, len(name), nameMax)
		}
	}
	if n := length(c.args); n > valueMax {
		return fmt.Sprintf("call %v: arguments of %d bytes, at most %d", c.to, n, valueMax)
	}
	if _, found := m.services.method(c.to); !found {
		return fmt.Sprintf("there is no method %v", c.to)
	}
	return ""
}

func length(args [][]byte) (n int) {
	for _, a := range args {
		n += len(a)
	}
	return n
}

// size is what a value takes in an answer.
func size(values ...wire.Value) (n int) {
	for _, v := range values {
		n += len(v.Text) + len(v.Data) + perValue
	}
	return n
}

// asks counts a question to the node, which finds out by it what is wrong with the writes before,
// and unwinds what can only fail.
func (r *memoryRun) asks(bytes int) {
	r.counts(bytes)
	r.live()
}

// counts is asks for questions that are answered whatever is wrong.
func (r *memoryRun) counts(bytes int) {
	r.unsent = 0
	r.log += bytes + perValue
	if r.questions++; r.questions > questionsMax {
		r.broken = fmt.Sprintf("%v has asked %d questions: let it continue with a new journal", r.to, questionsMax)
	}
	if r.broken == "" {
		r.broken = r.wrong
	}
	if r.wrong = ""; r.size > writesMax {
		r.broken = fmt.Sprintf("%d bytes are written at a time, at most %d", r.size, writesMax)
	}
}

// unknown reports whether a node would be asked for a key, and notes that it is known.
func (r *memoryRun) unknown(k wire.Key) bool {
	if r.known == nil || r.knownAt != r.epochs {
		r.known, r.knownAt = map[wire.Key]bool{}, r.epochs
	}
	asked := !r.known[k]
	r.known[k] = true
	return asked
}

// checks finds what is wrong with a write, and how much is written.
func (r *memoryRun) checks(w wire.Write) {
	k := w.Key
	switch {
	case r.wrong != "":
	case len(k.Field) > nameMax || len(k.Entry) > nameMax:
		r.wrong = tooLong("write", k)
	case len(w.Value) > valueMax:
		r.wrong = fmt.Sprintf("write %v: a value of %d bytes, at most %d", k, len(w.Value), valueMax)
	}
	if r.unsent += len(k.Field) + len(k.Entry) + len(w.Value); r.unsent > sizeMax {
		r.asks(0)
	}
}

func tooLong(what string, k wire.Key) string {
	return fmt.Sprintf("%s %s…: a key of more than %d bytes", what, k.String()[:32], nameMax)
}

// spoils has the method fail, whatever becomes of the part that the refusal unwinds: the node
// refuses so what it gives no answer to.
func (r *memoryRun) spoils(text string) {
	r.broken = text
	panic(refusal{text})
}

// returns is what comes of a method that returns.
func (r *memoryRun) returns(v wire.Value) wire.Value {
	if v.Code == wire.OK { // otherwise what it has written is dropped
		r.counts(0)
	}
	switch n := len(v.Data) + len(v.Text); {
	case r.broken != "":
		return wire.Value{Code: wire.Failed, Text: r.broken}
	case n > valueMax:
		return wire.Value{Code: wire.Failed, Text: fmt.Sprintf("%v: a result of %d bytes, at most %d", r.to, n, valueMax)}
	}
	return v
}

// continues is what comes of a method that begins anew, if it cannot.
func (r *memoryRun) continues(args [][]byte) wire.Value {
	if r.counts(0); r.broken == "" && r.depth == 0 {
		r.broken = r.memory.limited(call{r.to, args})
	}
	if r.broken != "" {
		return wire.Value{Code: wire.Failed, Text: r.broken}
	}
	return wire.Value{}
}

// parked unwinds a request that a node would keep for somebody to look at.
type parked struct{ text string }

// keeps notes the journal at the end of a segment.
func (t *task) keeps() {
	t.journal += t.log
	if t.log = 0; t.journal <= journalMax {
		return
	}
	why := fmt.Sprintf("its journal has %d bytes, at most %d: let the method continue with a new one", t.journal, journalMax)
	if t.undoes = nil; t.segment.number == 0 {
		panic(parked{fmt.Sprintf("%v: %s", t.own, why)})
	}
	panic(parked{fmt.Sprintf("request %s is parked: %s", t.id, why)})
}
