package sandbox

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Executable puts an executable image into a sealed memory file, so that the
// node can start it without a file on disk and nobody can change it. The file
// lives as long as the node; it is made once.
func Executable(image io.Reader) (*os.File, error) {
	// MFD_EXEC says so explicitly, for kernels where vm.memfd_noexec is 1;
	// kernels before 6.3 do not know the flag.
	fd, err := unix.MemfdCreate("weft-host", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("weft-host", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("create host executable: %w", err)
	}
	f := os.NewFile(uintptr(fd), "weft-host")
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{image}, make([]byte, 1<<20)); err != nil {
		f.Close()
		return nil, fmt.Errorf("write host executable: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal host executable: %w", err)
	}
	return f, nil
}
