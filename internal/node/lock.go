package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// How long is waited for a server that uses a data folder: one that was killed
// just now may still be dying.
const (
	lockPatience = 5 * time.Second
	lockEvery    = 50 * time.Millisecond
)

// lockFolder makes sure that one server uses a data folder. The lock goes with
// the process.
func lockFolder(ctx context.Context, dir string) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, fmt.Errorf("lock data folder %s: %w", dir, err) }
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fail(err)
	}
	deadline := time.Now().Add(lockPatience)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(deadline) {
			select {
			case <-time.After(lockEvery):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another weft server uses it%s; stop that one, or give this one another folder with --data", whose(f))
		}
		f.Close()
		return fail(err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return fail(err)
	}
	f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0) // for whoever is refused; a full disk is no reason to refuse anybody
	return f, nil
}

// whose names the process that has the lock, as far as its file tells.
func whose(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return ", process " + pid
	}
	return ""
}
