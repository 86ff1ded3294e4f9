package sandbox

import (
	"context"
	"errors"
	"os"
)

// Grant is a folder that may be passed to a sandbox.
type Grant struct {
	File     *os.File // pass it by SCM_RIGHTS, then close it
	Degraded string   // what is weaker than weft wants, and why; empty: nothing
}

// OpenDir opens the folder at path for a sandbox of this spawner. The path must
// be absolute and free of symbolic links. The descriptor is a detached mount of
// its own: `..` ends at its root, it cannot be written if readOnly, and nothing
// in it can be executed or is a device. Where the file system allows it, the
// files of the folder's owner belong to the sandbox's user, and the files that
// the sandbox creates belong to the folder's owner.
func (s *Spawner) OpenDir(path string, readOnly bool) (*Grant, error) {
	return nil, errors.ErrUnsupported
}

// OpenFile opens one regular file for a sandbox: for reading, or for reading
// and writing. The path must be absolute and free of symbolic links.
func OpenFile(path string, readOnly bool) (*os.File, error) { return nil, errors.ErrUnsupported }

// ErrNotGranted is returned by Dial for an address that the allow list does not
// name, and for one that it names only by a name that leads to an address no
// sandbox may reach.
var ErrNotGranted = errors.New("not granted")

// Dial connects to host:port for a sandbox, if allow names it. The entries of
// allow are "host:port". An entry whose host is an address or "localhost"
// grants exactly that address, whatever it is. An entry with a name never
// leads to loopback, link-local, multicast or metadata addresses, nor to the
// node itself. The result is a connected TCP socket.
func Dial(ctx context.Context, allow []string, host string, port int) (*os.File, error) {
	return nil, errors.ErrUnsupported
}

// Listen returns a socket that listens on the loopback address at port.
func Listen(ctx context.Context, port int) (*os.File, error) { return nil, errors.ErrUnsupported }
