package process

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Runtime says what runs a function.
type Runtime string

// The runtimes.
const (
	Native Runtime = "native" // an executable
	Python Runtime = "python" // a handler in a module
)

// Method is what the app file says of a method of a service.
type Method struct {
	Mode  string `json:"mode"`  // exclusive, shared or snapshot
	Place string `json:"place"` // FILE:LINE
}

// Function is one version of a function. It is not changed after its first use:
// the pool knows it by Name and Version.
type Function struct {
	Name    string
	Version string // of the app; calls of different versions share nothing
	Runtime Runtime

	Dir     string   // its folder, absolute: /fn in the sandbox, read-only, the working directory; "": an empty one
	Program string   // Native: the executable, below Dir or absolute in the sandbox
	Args    []string // Native: its arguments, without its name
	Module  string   // Python: the module in Dir, "report" or "reports.daily"
	Handler string   // Python: the function in it; default "handler", of an application "app"; of a service its class

	Service map[string]string // Python: the services of its app, with the classes that are named, of which it is one; nil: it is none
	Methods map[string]Method // Python: what the app file says of the methods of the service; "" is the service itself

	Resident    Resident // calls are served by processes that stay; a native program has one of the SDKs for that
	Workers     int      // Resident: how many of them at most; default 4
	Concurrency int      // Resident, ASGI: requests that one of them serves at a time; default 100

	Root   string            // folder whose files are those of the sandbox; "": the host's libraries and programs
	Layers []string          // folders of libraries, absolute: /layers/0 and so on; for Python on the module path, after Dir
	Family string            // Python: whose functions may have a parent in common, such as an app; "": the function has none. See parent.go
	Common []string          // Python: modules that the parent imports, if they are in the layers or Python's library
	Mounts []Mount           // granted folders and files
	Dial   []string          // "host:port" that it may connect to, as for sandbox.Dial; at most 64
	Files  map[string]string // path in the sandbox -> content: secrets and settings, at most 64 KiB each
	Env    []string          // NAME=value; nothing is inherited from the node

	Limits Limits
}

// Mount is a granted folder. It is opened each time that a fork server of the
// function is started.
type Mount struct {
	Host     string // absolute path without symbolic links
	Path     string // in the sandbox, absolute
	ReadOnly bool
	File     bool // it is a regular file, and no folder
}

// Limits bound one call, and its function's import. A zero field gets the
// default; where the machine has no cgroups Pool.Degraded says what that means
// for Memory, Pids, Cores and Weight.
type Limits struct {
	Memory int64         // bytes, of all processes of the call together with their files in /tmp and their output; default 512 MiB
	CPU    time.Duration // CPU time of each process of the call, rounded up to a second; default none
	Time   time.Duration // from start to end; default none
	Import time.Duration // for the module's import; default 30 s
	Cores  float64       // CPU time per wall time; default unlimited
	Weight int           // share of a contended CPU, 1 to 10000; default 100
	Pids   int           // processes and threads; default 64
	Files  int           // open descriptors of a process; default 1024
	Tmp    int64         // bytes in /tmp; default 64 MiB
	Output int64         // bytes of output; default 64 MiB
}

// EnsureDefaults fills in what is not set.
func (l *Limits) EnsureDefaults() {
	for _, d := range []struct {
		field *int64
		value int64
	}{{&l.Memory, 512 << 20}, {&l.Tmp, 64 << 20}, {&l.Output, 64 << 20}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.Pids == 0 {
		l.Pids = 64
	}
	if l.Files == 0 {
		l.Files = 1024
	}
	if l.Import == 0 {
		l.Import = 30 * time.Second
	}
}

// key tells functions apart.
type key struct{ name, version string }

func (f *Function) key() key { return key{f.Name, f.Version} }

func (f *Function) validate() error {
	switch {
	case f.Name == "":
		return errors.New("it has no name")
	case f.Runtime != Native && f.Runtime != Python:
		return fmt.Errorf("unknown runtime %q", f.Runtime)
	case f.Runtime == Native && f.Program == "":
		return errors.New("a native function needs a program")
	case f.Runtime == Native && f.Resident.Serves():
		return errors.New("only functions in Python are applications")
	case !slices.Contains([]Resident{ResidentNone, ResidentHandler, ResidentWSGI, ResidentASGI}, f.Resident):
		return fmt.Errorf("unknown kind of workers %q", f.Resident)
	case f.Workers < 0 || f.Concurrency < 0:
		return errors.New("a number of workers or of requests is negative")
	case f.Runtime == Python && !dotted(f.Module):
		return fmt.Errorf("%q is not the name of a Python module", f.Module)
	case f.Limits.Memory < 0 || f.Limits.Pids < 0 || f.Limits.Files < 0 || f.Limits.Tmp < 0 || f.Limits.Output < 0:
		return errors.New("a limit is negative")
	}
	for _, dir := range append([]string{f.Dir, f.Root}, f.Layers...) {
		if dir != "" && !filepath.IsAbs(dir) {
			return fmt.Errorf("the path %s is not absolute", dir)
		}
	}
	for path, content := range f.Files {
		if !inside(path) {
			return fmt.Errorf("no file can be placed at %s", path)
		}
		if len(content) > 64<<10 {
			return fmt.Errorf("the file %s has %d bytes, the limit is 64 KiB", path, len(content))
		}
	}
	for _, m := range f.Mounts {
		if !inside(m.Path) {
			return fmt.Errorf("nothing can be placed at %s", m.Path)
		}
	}
	if _, err := doorsOf(f.Dial); err != nil {
		return err
	}
	for _, s := range append(append([]string{f.Program}, f.Args...), f.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("%q contains a zero byte", s)
		}
	}
	if len(f.Args) > 60 || len(f.Env) > 200 {
		return fmt.Errorf("%d arguments and %d variables, the limits are 60 and 200", len(f.Args), len(f.Env))
	}
	return nil
}

// inside reports whether something of the function's may be placed at a path:
// not on what the sandbox itself consists of.
func inside(path string) bool {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return false
	}
	top, _, _ := strings.Cut(path[1:], "/")
	switch top {
	case "proc", "dev", "sys", "tmp", "usr", "lib", "lib32", "lib64", "libx32", "bin", "sbin", "fn", "layers", "weft":
		return false
	}
	return true
}

// dotted reports whether s is identifiers joined by dots.
func dotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" {
			return false
		}
		for i, r := range part {
			if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80 && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
	}
	return true
}
