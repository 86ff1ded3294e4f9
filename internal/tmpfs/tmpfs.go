// Package tmpfs gives tests a disk that can be full: a file system in memory with
// a size of its own, which goes with the test.
package tmpfs

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// New makes a file system that nobody else sees, and returns the path of its root.
// The size is as in mount(8): "1m". It goes with the descriptor that it is
// reached by, at the test's end. Without the privilege to mount the test is
// skipped.
func New(t testing.TB, size string) string {
	t.Helper()
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Skipf("a file system of its own needs the privilege to mount: fsopen: %v", err)
	}
	defer unix.Close(fsfd)
	if err := errors.Join(unix.FsconfigSetString(fsfd, "size", size), unix.FsconfigCreate(fsfd)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}
