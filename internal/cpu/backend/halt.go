package backend

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// halt stops a task. With a group of version 2 the kernel freezes all that is in it, at
// once and unseen by its parents; such a task can still be killed. Without one, every
// process of the tree gets SIGSTOP, the root first, until no more turn up. The freezer of
// version 1 is not used: what it has frozen cannot be killed.
func halt(t *Task) error {
	if t.frozen || t.stopped != nil {
		return nil
	}
	if !t.alive() {
		return ErrGone
	}
	if t.o.Freezer != "" {
		err := writeFile(t.o.Freezer+"/cgroup.freeze", "1")
		if err == nil {
			t.frozen = true
			return nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("stop process %d: %w", t.o.PID, err)
		}
	}
	var stopped []int
	err := t.eachProcess(func(pid int) error {
		err := t.signal(pid, unix.SIGSTOP)
		if err == nil {
			stopped = append(stopped, pid)
		}
		return err
	})
	t.stopped = stopped
	if err != nil {
		return fmt.Errorf("stop process %d: %w", t.o.PID, errors.Join(err, resume(t)))
	}
	return nil
}

// resume undoes halt: the last one that was stopped goes first, so no parent finds its
// children stopped. What is not stopped costs no system call.
func resume(t *Task) error {
	if !t.frozen && t.stopped == nil {
		return nil
	}
	var errs []error
	if t.frozen {
		t.frozen = false
		if err := writeFile(t.o.Freezer+"/cgroup.freeze", "0"); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	for i := len(t.stopped) - 1; i >= 0; i-- {
		if err := t.signal(t.stopped[i], unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, err)
		}
	}
	t.stopped = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("continue process %d: %w", t.o.PID, err)
	}
	if !t.alive() {
		return ErrGone
	}
	return nil
}

// signal sends to a process of the task; to the root by its descriptor, which cannot mean
// another process.
func (t *Task) signal(pid int, s unix.Signal) error {
	if pid == t.o.PID {
		return unix.PidfdSendSignal(t.pidfd, s, nil, 0)
	}
	return unix.Kill(pid, s)
}

// writeFile writes a control file, which exists or does not.
func writeFile(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	_, err = unix.Write(fd, []byte(value))
	if err != nil {
		err = &os.PathError{Op: "write", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}
