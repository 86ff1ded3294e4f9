package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The numbers of warden.h.
const (
	configMagic = 0x64726177
	configSize  = 80

	flagSetID  = 1 << 0
	flagPython = 1 << 1
	flagNet    = 1 << 2
	flagParent = 1 << 3
	flagAdopt  = 1 << 4

	recDir    = 1
	recLink   = 2
	recFile   = 3
	recBind   = 4
	recMount  = 5
	recArg    = 6
	recEnv    = 7
	recFilter = 8
	recEmpty  = 10
	recDoor   = 11
	recJoin   = 9

	bindDevice   = 1
	bindOptional = 2
	bindFile     = 4

	msgPrepare = 1
	msgStart   = 2
	msgSignal  = 3
	msgAdopt   = 4
	msgFind    = 5
	msgReady   = 10
	msgFailed  = 11
	msgEnded   = 12
	msgDoor    = 14
	msgOrphan  = 13
	msgFound   = 15
	msgAlone   = 16

	prepareInto = 1 << 31

	readyNoProc     = 1
	readyNoLandlock = 2

	messageSize = 48
	textMax     = 64 << 10
	filesMax    = 16
	callsMax    = 256

	wardenExit = 97
	unsaidExit = 98 // of a Python call that cannot say how it has ended
)

// message is what node and warden say to each other: struct message, and text.
type message struct {
	kind uint32
	a    uint32
	id   uint64
	v    [4]int64
	text []byte
}

func (m *message) append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, m.kind)
	b = binary.NativeEndian.AppendUint32(b, m.a)
	b = binary.NativeEndian.AppendUint64(b, m.id)
	for _, v := range m.v {
		b = binary.NativeEndian.AppendUint64(b, uint64(v))
	}
	return append(b, m.text...)
}

func parseMessage(b []byte) (message, error) {
	var m message
	if len(b) < messageSize {
		return m, fmt.Errorf("a message of %d bytes", len(b))
	}
	m.kind, m.a, m.id = binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint64(b[8:])
	for i := range m.v {
		m.v[i] = int64(binary.NativeEndian.Uint64(b[16+8*i:]))
	}
	m.text = append([]byte(nil), b[messageSize:]...)
	return m, nil
}

// socket is one end of a pair of sequenced-packet sockets.
type socket struct {
	conn *net.UnixConn
	mu   sync.Mutex // of sending
	out  []byte     // guarded by mu
	in   []byte
	oob  []byte
}

// newPair makes the node's end and the other, which a process inherits.
func newPair(max int) (*socket, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	unix.SetNonblock(fds[1], false)
	theirs := os.NewFile(uintptr(fds[1]), "control")
	ours := os.NewFile(uintptr(fds[0]), "control")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return &socket{conn: c.(*net.UnixConn), in: make([]byte, max), oob: make([]byte, unix.CmsgSpace(4*filesMax))}, theirs, nil
}

// send sends one packet and copies of descriptors.
func (s *socket) send(fill func([]byte) []byte, files ...*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	return s.sendFDs(fill, fds)
}

func (s *socket) sendFDs(fill func([]byte) []byte, fds []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = fill(s.out[:0])
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := s.conn.WriteMsgUnix(s.out, oob, nil)
	return err
}

// receive reads one packet, valid until the next call, and the descriptors
// beside it, which the caller owns. The end is io.EOF.
func (s *socket) receive() ([]byte, []int, error) {
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(s.in, s.oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, nil, err
	}
	var fds []int
	if oobn > 0 {
		messages, err := unix.ParseSocketControlMessage(s.oob[:oobn])
		if err != nil {
			return nil, nil, err
		}
		for i := range messages {
			if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeFDs(fds)
		return nil, nil, errors.New("a message too long")
	}
	return s.in[:n], fds, nil
}

func (s *socket) close() { s.conn.Close() }

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
