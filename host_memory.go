//go:build !wasip1

package weft

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Outside of a sandbox (no WEFT_FD in the environment) the slots are a table in the memory of the process, for tests of
// function code. Everything is copied, nothing is limited, and no grant is asked for.
var slots = struct {
	sync.Mutex
	values    map[string]value
	published chan struct{} // closed and replaced at every publication
}{values: map[string]value{}, published: make(chan struct{})}

// value is what a slot holds.
type value struct {
	data []byte
	typ  uint64
}

// find is the full name of the published slot that a reader means. The caller holds the lock.
func find(slot string) (string, errno) {
	if !validName(slot) {
		return "", errnoInval
	}
	if _, ok := slots.values[Qualify(slot)]; ok {
		return Qualify(slot), 0
	}
	if strings.Contains(slot, "/") {
		return "", errnoNoEntry
	}
	found := ""
	for name := range slots.values {
		if strings.HasSuffix(name, "/"+slot) {
			if found != "" {
				return "", errnoMultilink
			}
			found = name
		}
	}
	if found == "" {
		return "", errnoNoEntry
	}
	return found, 0
}

// validName checks the part of the name after its last slash.
func validName(slot string) bool {
	last := slot[strings.LastIndexByte(slot, '/')+1:]
	if last == "" || len(last) > 128 {
		return false
	}
	for _, c := range last {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

func hostEnv(name string) string { return os.Getenv(name) }

func hostPut(slot string, typ uint64, data unsafe.Pointer, n int) errno {
	if d := connected(); d != nil {
		return d.put(slot, typ, unsafe.Slice((*byte)(data), n))
	}
	slots.Lock()
	defer slots.Unlock()
	if !validName(slot) || strings.LastIndexByte(slot, '/') > 0 {
		return errnoInval
	}
	name := Qualify(slot)
	if _, ok := slots.values[name]; ok {
		return errnoExist
	}
	slots.values[name] = value{data: append([]byte{}, unsafe.Slice((*byte)(data), n)...), typ: typ}
	close(slots.published)
	slots.published = make(chan struct{})
	return 0
}

func hostTake(slot string, typ uint64, data unsafe.Pointer, n int) (int, errno) {
	return memoryRead(slot, typ, data, n, true)
}

func hostBorrow(slot string, typ uint64, data unsafe.Pointer, n int) (int, errno) {
	return memoryRead(slot, typ, data, n, false)
}

func memoryRead(slot string, typ uint64, data unsafe.Pointer, n int, consume bool) (int, errno) {
	slots.Lock()
	defer slots.Unlock()
	name, e := find(slot)
	if e != 0 {
		return 0, e
	}
	v := slots.values[name]
	switch {
	case typ != 0 && v.typ != 0 && typ != v.typ:
		return 0, errnoPrototype
	case len(v.data) > n:
		return len(v.data), errnoOverflow
	}
	copy(unsafe.Slice((*byte)(data), n), v.data)
	if consume {
		delete(slots.values, name)
	}
	return len(v.data), 0
}

func hostWait(slot string, timeout int64) errno {
	if d := connected(); d != nil {
		return d.wait(slot, timeout)
	}
	var limit <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(time.Duration(timeout))
		defer timer.Stop()
		limit = timer.C
	}
	for {
		slots.Lock()
		_, e := find(slot)
		published := slots.published
		slots.Unlock()
		if e == errnoInval {
			return e
		}
		if e != errnoNoEntry {
			return 0
		}
		select {
		case <-published:
		case <-limit:
			return errnoTimedOut
		}
	}
}

func hostLen(slot string) (size, typ uint64, e errno) {
	if d := connected(); d != nil {
		return d.length(slot)
	}
	slots.Lock()
	defer slots.Unlock()
	name, e := find(slot)
	if e != 0 {
		return 0, 0, e
	}
	v := slots.values[name]
	return uint64(len(v.data)), v.typ, 0
}

func hostAlloc(data unsafe.Pointer, n int) errno { return 0 }

// hostRelease makes the window zero, as the real one does.
func hostRelease(data unsafe.Pointer) errno {
	windows.Lock()
	defer windows.Unlock()
	for _, w := range windows.shown {
		if w.start() == data {
			clear(w.bytes(w.size))
		}
	}
	return 0
}

func hostDial(host string, port uint16) (int32, errno) {
	conn, err := net.Dial("tcp", address(host, port))
	if err != nil {
		var unknown *net.DNSError
		none := errors.As(err, &unknown)
		// What a native function is not granted has no name, no way to it or no socket for it.
		if connected() != nil && (none || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENETUNREACH)) {
			return 0, errnoNotCapable
		}
		if none {
			return 0, errnoUnreachable
		}
		return 0, errnoConnRefused
	}
	defer conn.Close()
	return duplicate(conn.(*net.TCPConn))
}

func hostListen(port uint16) (int32, errno) {
	if connected() != nil {
		return 0, errnoNotCapable
	}
	listener, err := net.Listen("tcp", address("127.0.0.1", port))
	if err != nil {
		return 0, errnoBusy
	}
	defer listener.Close()
	return duplicate(listener.(*net.TCPListener))
}

// duplicate is a descriptor of a socket that outlives the socket's Go value.
func duplicate(socket interface{ File() (*os.File, error) }) (int32, errno) {
	f, err := socket.File()
	if err != nil {
		return 0, errnoIO
	}
	defer f.Close()
	descriptor, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return 0, errnoIO
	}
	return int32(descriptor), 0
}
