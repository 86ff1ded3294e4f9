package replay

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes a goroutine at a time, as a message from outside would: through the poller of
// the runtime. Package time's own sleep is up to a millisecond late when nothing else
// happens, since the poller waits for it in whole milliseconds, and a tenth of a short call
// that would be.
type alarm struct {
	fd   int
	file *os.File
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	return &alarm{fd, os.NewFile(uintptr(fd), "timer")}, nil
}

// wait returns at a time, or when ctx is done.
func (a *alarm) wait(ctx context.Context, until time.Time) error {
	for ctx.Err() == nil {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}, nil); err != nil {
			return fmt.Errorf("set timer: %w", err)
		}
		var expired [8]byte
		if _, err := a.file.Read(expired[:]); err != nil {
			return fmt.Errorf("wait for timer: %w", err)
		}
	}
	return ctx.Err()
}

func (a *alarm) close() error { return a.file.Close() }
