package weft

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// A native function asks for buffers over a sequenced-packet socket, the descriptor in WEFT_FD. A packet is a header of
// 40 bytes, little endian, a name or text, and bytes; the memory file of a buffer comes beside it. docs/processes.md
// describes the fields.
const (
	opNeed   = 1
	opPut    = 2
	opTake   = 3
	opBorrow = 4
	opWait   = 5
	opLen    = 6

	packetHead = 40
	nameMax    = 1 << 10
	inlineMax  = 64 << 10 // of the bytes in a packet
	packetMax  = packetHead + nameMax + inlineMax
)

// statuses are the error numbers of what the node answers.
var statuses = [...]errno{0, errnoNoEntry, errnoExist, errnoPrototype, errnoQuota, errnoMultilink, errnoInval, errnoTooLarge,
	errnoBusy, errnoTimedOut, errnoIO, errnoDeadlock, errnoNoSpace}

// packet is a request, or the answer to one.
type packet struct {
	op                 uint32 // of an answer: its status
	id                 uint32
	size, typ, segment uint64
	name               string // of an answer: the text of an error
	data               []byte
	file               int // that came beside it; -1: none
}

func (p *packet) encode() []byte {
	b := make([]byte, packetHead, packetHead+len(p.name)+len(p.data))
	le := binary.LittleEndian
	le.PutUint32(b, p.op)
	le.PutUint32(b[4:], p.id)
	le.PutUint64(b[8:], p.size)
	le.PutUint64(b[16:], p.typ)
	le.PutUint64(b[24:], p.segment)
	le.PutUint32(b[32:], uint32(len(p.name)))
	le.PutUint32(b[36:], uint32(len(p.data)))
	return append(append(b, p.name...), p.data...)
}

// decode reads a packet, whose bytes it copies.
func decode(b []byte) (p packet, ok bool) {
	if len(b) < packetHead {
		return p, false
	}
	le := binary.LittleEndian
	p = packet{op: le.Uint32(b), id: le.Uint32(b[4:]), size: le.Uint64(b[8:]), typ: le.Uint64(b[16:]), segment: le.Uint64(b[24:]), file: -1}
	name, data, rest := uint64(le.Uint32(b[32:])), uint64(le.Uint32(b[36:])), b[packetHead:]
	if name+data != uint64(len(rest)) {
		return p, false
	}
	p.name, p.data = string(rest[:name]), append([]byte(nil), rest[name:]...)
	return p, true
}

// control is the connection of one call with the node. Any number of goroutines may ask at a time: one of those that
// wait for an answer reads for all of them.
type control struct {
	fd int

	mu      sync.Mutex
	last    uint32                 // number of the last request; guarded by mu
	asking  map[uint32]chan packet // who waits, by the number of the request; guarded by mu
	reading bool                   // somebody does; guarded by mu
	lost    bool                   // the connection has ended; guarded by mu

	in, oob []byte // of who reads

	mapping sync.Mutex // of the state of its mappings
	spare   []*window  // released before they were published; guarded by mapping
}

// connected is the connection with the node; nil outside of a sandbox.
func connected() *control {
	if c := serving.Load(); c != nil {
		return c
	}
	return inherited()
}

// inherited is the connection of a process that serves one call.
var inherited = sync.OnceValue(func() *control {
	text := os.Getenv("WEFT_FD")
	if text == "" {
		return nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil {
		fd = -1 // then every operation fails
	}
	return newControl(fd)
})

func newControl(fd int) *control {
	if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil || kind != syscall.SOCK_SEQPACKET {
		return &control{fd: -1, lost: true}
	}
	syscall.CloseOnExec(fd) // the answers are for this process
	return &control{fd: fd, asking: map[uint32]chan packet{}, in: make([]byte, packetMax), oob: make([]byte, syscall.CmsgSpace(4*4))}
}

// close ends the connection when the call has ended.
func (c *control) close() {
	c.end()
	c.mapping.Lock()
	defer c.mapping.Unlock()
	for _, w := range c.spare {
		syscall.Close(w.mapped.file)
		unmap(w.memory)
	}
	c.spare = nil
}

// turn tells somebody who waits that it is to read now. It is no status of an answer.
const turn = ^uint32(0)

// ask sends a request and returns the answer to it. An answer's file is the caller's.
func (c *control) ask(p packet) (packet, errno) { return c.askAnd(p, func() {}) }

// askAnd is ask that does something while the node works.
func (c *control) askAnd(p packet, meanwhile func()) (packet, errno) {
	if len(p.name) > nameMax {
		return packet{}, errnoInval
	}
	mine := make(chan packet, 2) // my turn to read, and the answer
	c.mu.Lock()
	if c.lost {
		c.mu.Unlock()
		return packet{}, errnoIO
	}
	c.last++
	p.id = c.last
	c.asking[p.id] = mine
	c.mu.Unlock()
	if !c.send(p.encode()) {
		c.end()
		return packet{}, errnoIO
	}
	meanwhile()
	c.mu.Lock()
	if _, unanswered := c.asking[p.id]; unanswered && !c.reading {
		c.reading = true
		mine <- packet{op: turn}
	}
	c.mu.Unlock()
	a, ok := <-mine
	if ok && a.op == turn {
		c.readUntil(p.id)
		a, ok = <-mine
	}
	switch {
	case !ok:
		return packet{}, errnoIO
	case int(a.op) >= len(statuses):
		return packet{}, errnoIO
	}
	return a, statuses[a.op]
}

// readUntil hands out answers until that to request id has come, and then leaves reading to another one that waits.
func (c *control) readUntil(id uint32) {
	for {
		a, ok := c.receive()
		if !ok {
			c.end()
			return
		}
		c.mu.Lock()
		if waiting := c.asking[a.id]; waiting != nil {
			delete(c.asking, a.id)
			waiting <- a
		} else if a.file >= 0 {
			syscall.Close(a.file)
		}
		if a.id == id {
			c.reading = false
			for _, other := range c.asking {
				c.reading = true
				other <- packet{op: turn}
				break
			}
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// end tells all who wait that there will be no answers.
func (c *control) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	for id, waiting := range c.asking {
		delete(c.asking, id)
		close(waiting)
	}
}

func (c *control) send(b []byte) bool {
	for {
		_, err := syscall.SendmsgN(c.fd, b, nil, nil, syscall.MSG_NOSIGNAL)
		if err != syscall.EINTR {
			return err == nil
		}
	}
}

// receive reads one answer.
func (c *control) receive() (packet, bool) {
	for {
		n, oobn, _, _, err := syscall.Recvmsg(c.fd, c.in, c.oob, syscall.MSG_CMSG_CLOEXEC)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return packet{}, false
		}
		a, ok := decode(c.in[:n])
		for i, fd := range descriptors(c.oob[:oobn]) {
			if i == 0 && ok {
				a.file = fd
			} else {
				syscall.Close(fd)
			}
		}
		return a, ok
	}
}

// descriptors are those that came beside a packet.
func descriptors(oob []byte) (fds []int) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

func (c *control) wait(slot string, timeout int64) errno {
	p := packet{op: opWait, name: slot} // size 0: for ever
	if timeout >= 0 {
		p.size = uint64(max(timeout, 1))
	}
	_, e := c.ask(p)
	return e
}

func (c *control) length(slot string) (size, typ uint64, e errno) {
	a, e := c.ask(packet{op: opLen, name: slot})
	return a.size, a.typ, e
}
