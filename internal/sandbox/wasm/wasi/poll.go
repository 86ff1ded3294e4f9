package wasi

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A blocking call is always a ppoll(2) of the descriptor in question and of an
// eventfd that [System.Interrupt] writes to.

// wakeup returns the eventfd, making it at the first blocking call.
func (s *System) wakeup() (int, Errno) {
	if fd := s.wakeFD.Load(); fd > 0 {
		return int(fd) - 1, Success
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, toErrno(err)
	}
	s.wakeFD.Store(int32(fd) + 1)
	return fd, Success
}

// wake makes an eventfd readable. Its counter cannot overflow: one is added per
// Interrupt.
func wake(fd int) {
	one := [8]byte{1}
	_, _ = unix.Write(fd, one[:])
}

// wait returns when the host descriptor is ready, or, when that could take time
// and nonblock is set, AGAIN at once.
func (s *System) wait(fd int, events int16, nonblock bool) Errno {
	s.poll.fds = append(s.poll.fds[:0], unix.PollFd{Fd: int32(fd), Events: events})
	timeout := int64(-1)
	if nonblock {
		timeout = 0
	}
	n, e := s.block(timeout)
	if e != Success {
		return e
	}
	if n == 0 {
		return Eagain
	}
	return Success
}

// poller is the scratch space of poll_oneoff.
type poller struct {
	fds  []unix.PollFd
	subs []subscription
}

// block polls s.poll.fds for up to timeout nanoseconds, without limit when that
// is negative, and returns how many of them are ready.
func (s *System) block(timeout int64) (int, Errno) {
	waker, e := s.wakeup()
	if e != Success {
		return 0, e
	}
	if s.interrupted.Load() {
		return 0, Ecanceled
	}
	s.poll.fds = append(s.poll.fds, unix.PollFd{Fd: int32(waker), Events: unix.POLLIN})
	last := len(s.poll.fds) - 1
	start, _ := s.hostNow()
	for {
		var ts *unix.Timespec
		if timeout >= 0 {
			now, _ := s.hostNow()
			t := unix.NsecToTimespec(max(timeout-(now-start), 0))
			ts = &t
		}
		n, _, err := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.poll.fds[0])), uintptr(len(s.poll.fds)),
			uintptr(unsafe.Pointer(ts)), 0, 0, 0)
		if err == unix.EINTR {
			continue
		}
		if err != 0 {
			return 0, hostErrno(err)
		}
		if s.poll.fds[last].Revents != 0 || s.interrupted.Load() {
			return 0, Ecanceled
		}
		s.poll.fds = s.poll.fds[:last]
		return int(n), Success
	}
}

// subscription is one of what poll_oneoff waits for.
type subscription struct {
	userdata uint64
	kind     uint8
	err      Errno
	ready    bool
	bytes    uint64
	hangup   bool
	deadline int64 // of a clock: nanoseconds from the call, negative when passed
	slot     int   // index of the host descriptor in poll.fds, or -1
}

const (
	eventClock   = 0
	eventFdRead  = 1
	eventFdWrite = 2

	// maxSubscriptions bounds one poll_oneoff: two for each descriptor that a
	// guest can have, and some clocks.
	maxSubscriptions = 8192
)

func pollOneoff(s *System, mem []byte, a []uint64) Errno {
	n := uint32(a[2])
	if n == 0 || n > maxSubscriptions {
		return Einval
	}
	in, ok := span(mem, uint32(a[0]), n*subscriptionSize)
	if !ok {
		return Efault
	}
	out, ok := span(mem, uint32(a[1]), n*eventSize)
	if !ok {
		return Efault
	}
	count, ok := span(mem, uint32(a[3]), 4)
	if !ok {
		return Efault
	}
	timeout := int64(math.MaxInt64)
	s.poll.subs, s.poll.fds = s.poll.subs[:0], s.poll.fds[:0]
	for ; len(in) > 0; in = in[subscriptionSize:] {
		sub := s.subscribe(in)
		switch {
		case sub.ready || sub.err != Success:
			timeout = 0
		case sub.kind == eventClock:
			timeout = min(timeout, max(sub.deadline, 0))
		}
		s.poll.subs = append(s.poll.subs, sub)
	}
	start, _ := s.hostNow()
	if timeout == math.MaxInt64 {
		timeout = -1
	}
	polled := len(s.poll.fds)
	if timeout != 0 || polled > 0 || s.interrupted.Load() {
		if _, e := s.block(timeout); e != Success {
			return e
		}
	}
	now, _ := s.hostNow()
	events := uint32(0)
	for i := range s.poll.subs {
		sub := &s.poll.subs[i]
		s.settle(sub, now-start)
		if sub.ready || sub.err != Success {
			putEvent(out[events*eventSize:], sub)
			events++
		}
	}
	le.PutUint32(count, events)
	return Success
}

// hostNow is the machine's monotonic clock, which sleeping goes by whatever
// clock was injected.
func (s *System) hostNow() (int64, Errno) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano(), toErrno(err)
}

// subscribe reads a subscription: userdata u64, kind u8 at 8; of a clock the id
// u32 at 16, timeout u64 at 24, flags u16 at 40; of a descriptor its number u32
// at 16.
func (s *System) subscribe(b []byte) subscription {
	sub := subscription{userdata: le.Uint64(b), kind: b[8], slot: -1}
	switch sub.kind {
	case eventClock:
		s.subscribeClock(&sub, le.Uint32(b[16:]), le.Uint64(b[24:]), le.Uint16(b[40:]))
	case eventFdRead:
		s.subscribeFD(&sub, le.Uint32(b[16:]), RightFdRead|RightSockAccept, unix.POLLIN)
	case eventFdWrite:
		s.subscribeFD(&sub, le.Uint32(b[16:]), RightFdWrite, unix.POLLOUT)
	default:
		sub.err = Einval
	}
	return sub
}

func (s *System) subscribeClock(sub *subscription, clock uint32, timeout uint64, flags uint16) {
	const absolute = 1
	if flags&^absolute != 0 {
		sub.err = Einval
		return
	}
	if clock != clockRealtime && clock != clockMonotonic {
		sub.err = Einval
		if clock == clockProcess || clock == clockThread {
			sub.err = Enotsup
		}
		return
	}
	timeout = min(timeout, math.MaxInt64-1)
	sub.deadline = int64(timeout)
	if flags&absolute != 0 {
		now, _ := s.now(clock)
		sub.deadline -= int64(now)
	}
	sub.ready = sub.deadline <= 0
}

// subscribeFD subscribes to a descriptor that has any of the rights.
func (s *System) subscribeFD(sub *subscription, fd uint32, rights Rights, events int16) {
	d, e := s.get(fd)
	switch {
	case e != Success:
		sub.err = e
		return
	case d.base&RightPollFdReadwrite == 0 || d.base&rights == 0:
		sub.err = Enotcapable
		return
	}
	switch o := d.obj.(type) {
	case stream:
		if host := o.pollFD(); host >= 0 {
			sub.slot = len(s.poll.fds)
			s.poll.fds = append(s.poll.fds, unix.PollFd{Fd: int32(host), Events: events})
			return
		}
		sub.ready, sub.bytes = true, 1
	case regular:
		sub.ready = true
		var st Filestat
		if sub.kind == eventFdRead && o.stat(&st) == Success && st.Size > d.offset {
			sub.bytes = st.Size - d.offset
		}
	default:
		sub.err = Enotsup
	}
}

// settle decides what has become of a subscription after elapsed nanoseconds.
func (s *System) settle(sub *subscription, elapsed int64) {
	if sub.kind == eventClock && sub.err == Success {
		sub.ready = sub.deadline <= elapsed
		return
	}
	if sub.slot < 0 {
		return
	}
	p := s.poll.fds[sub.slot]
	if p.Revents == 0 {
		return
	}
	sub.ready = true
	sub.hangup = p.Revents&(unix.POLLHUP|unix.POLLERR) != 0
	if p.Revents&unix.POLLNVAL != 0 {
		sub.err = Ebadf
	}
	if sub.kind == eventFdRead && p.Revents&unix.POLLIN != 0 {
		sub.bytes = 1 // at least
		if n, err := unix.IoctlGetInt(int(p.Fd), unix.TIOCINQ); err == nil {
			sub.bytes = uint64(max(n, 0))
		}
	}
}

// putEvent stores an event: userdata u64, error u16, kind u8 at 10, bytes u64 at
// 16, flags u16 at 24.
func putEvent(b []byte, sub *subscription) {
	clear(b[:eventSize])
	le.PutUint64(b, sub.userdata)
	le.PutUint16(b[8:], uint16(sub.err))
	b[10] = sub.kind
	if sub.kind != eventClock {
		le.PutUint64(b[16:], sub.bytes)
		if sub.hangup {
			le.PutUint16(b[24:], 1)
		}
	}
}
