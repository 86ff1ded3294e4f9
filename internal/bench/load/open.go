package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Open asks a server as Closed does, in one thread and cheaply, but at times that were fixed beforehand (Spec.Schedule): an open
// loop. It has as many connections as that takes: a new one is opened whenever all others wait for answers. Latencies count from the times at
// which requests should have been sent. Order.Count and Order.For are not looked at.
func Open(ctx context.Context, network, address string, o Order, times []time.Duration) (Done, error) {
	c, err := Dial(network, address, 1)
	if err != nil {
		return Done{}, err
	}
	d, err := c.open(ctx, network, address, &o, times)
	return d, errors.Join(err, c.Close())
}

func (c *Closed) open(ctx context.Context, network, address string, o *Order, times []time.Duration) (Done, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// timerfd_create(2): readable from the time on that it is set to, among the connections.
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return Done{}, fmt.Errorf("make a timer: %w", err)
	}
	defer unix.Close(timer)
	if err := unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(timer)}); err != nil {
		return Done{}, fmt.Errorf("wait for a timer: %w", err)
	}
	var d Done
	idle := append([]*conn{}, c.conns...)
	events := make([]unix.EpollEvent, 64)
	begun := time.Now()
	last := begun
	for next, running := 0, 0; ; {
		var soon time.Duration // until then no connection is opened
		for next < len(times) && time.Since(begun) >= times[next] {
			if len(idle) == 0 {
				err := c.add(network, address)
				if errors.Is(err, unix.EAGAIN) { // as many as there may be wait to be accepted: of Unix sockets the kernel asks for another try, of others it makes one
					soon = time.Since(begun) + time.Millisecond
					break
				}
				if err != nil {
					return d, fmt.Errorf("open connection %d: %w", len(c.conns)+1, err)
				}
				idle = append(idle, c.conns[len(c.conns)-1])
			}
			k := idle[len(idle)-1]
			idle = idle[:len(idle)-1]
			if err := k.send(o.request(), begun.Add(times[next])); err != nil {
				return d, err
			}
			next++
			running++
		}
		if next == len(times) && running == 0 {
			d.Took, d.Opened = last.Sub(begun), len(c.conns)
			return d, nil
		}
		if next < len(times) {
			wait := unix.NsecToTimespec(max(times[next]-time.Since(begun), soon-time.Since(begun), 1).Nanoseconds())
			if err := unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Value: wait}, nil); err != nil {
				return d, fmt.Errorf("set a timer: %w", err)
			}
		}
		n, err := unix.EpollWait(c.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return d, fmt.Errorf("wait for answers: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return d, err
		}
		if n <= 0 && running > 0 && time.Since(last) > patience {
			return d, errStuck
		}
		for _, e := range events[:max(n, 0)] {
			k := c.by[e.Fd]
			if k == nil {
				continue // the timer, which is set again before it is waited for
			}
			status, body, err := k.receive()
			if err != nil {
				at := slices.Index(idle, k)
				if at < 0 {
					return d, err
				}
				idle = slices.Delete(idle, at, at+1) // the server has closed what was not used
				if err := c.drop(k); err != nil {
					return d, err
				}
				continue
			}
			if body == nil {
				continue // there is more to come
			}
			last = time.Now()
			running--
			err = d.answer(o, status, body, last.Sub(k.sent))
			if k.last {
				err = errors.Join(err, c.drop(k))
			} else {
				idle = append(idle, k)
			}
			if err != nil {
				return d, err
			}
		}
	}
}
