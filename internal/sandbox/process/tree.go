package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/sandbox"
)

// config is what a warden is told: struct warden_config, and records.
type config struct {
	flags       uint32
	uid, gid    int
	cpu         time.Duration
	files       int
	fileSize    int64
	data, space int64
	threads     int64
	tmp         int64
	records     []byte
	count       uint32
	mounts      []*os.File
}

// add appends a record.
func (c *config) add(kind, a uint32, s1 string, s2 ...string) {
	b := s1
	n2 := 0
	if len(s2) > 0 {
		n2 = len(s2[0]) + 1
	}
	for _, v := range []uint32{kind, a, uint32(len(b) + 1), uint32(n2)} {
		c.records = binary.NativeEndian.AppendUint32(c.records, v)
	}
	c.records = append(append(c.records, b...), 0)
	if len(s2) > 0 {
		c.records = append(append(c.records, s2[0]...), 0)
	}
	for len(c.records)%8 != 0 {
		c.records = append(c.records, 0)
	}
	c.count++
}

// filterBytes appends a filter, whose length counts without a NUL.
func (c *config) filterBytes(which uint32, program []byte) {
	for _, v := range []uint32{recFilter, which, uint32(len(program)), 0} {
		c.records = binary.NativeEndian.AppendUint32(c.records, v)
	}
	c.records = append(c.records, program...)
	for len(c.records)%8 != 0 {
		c.records = append(c.records, 0)
	}
	c.count++
}

func (c *config) encode() []byte {
	var b []byte
	for _, v := range []uint32{configMagic, uint32(configSize + len(c.records)), c.flags, uint32(c.uid), uint32(c.gid), c.count} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	cpu := int64((c.cpu + time.Second - 1) / time.Second)
	for _, v := range []int64{cpu, int64(c.files), c.fileSize, c.data, c.space, c.threads, c.tmp} {
		b = binary.NativeEndian.AppendUint64(b, uint64(v))
	}
	return append(b, c.records...)
}

// in makes an absolute path of the sandbox one of the tree under construction.
func in(path string) string { return strings.TrimPrefix(path, "/") }

// base adds what every sandbox has, and the host's or the given files.
func (c *config) base(root string, doors []door) error {
	c.add(recDir, 0o755, "proc")
	c.add(recDir, 0o755, "tmp")
	c.add(recDir, 0o755, "fn")
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		c.add(recBind, bindDevice|bindFile|bindOptional, "/dev/"+name, "dev/"+name)
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "shm": "/tmp"} {
		c.add(recLink, 0, "dev/"+name, target)
	}
	if root != "" {
		return c.copyTop(root)
	}
	for _, name := range []string{"usr", "lib", "lib32", "lib64", "libx32", "bin", "sbin"} {
		if err := c.entry("/", name); err != nil {
			return err
		}
	}
	for _, name := range []string{"ld.so.cache", "localtime", "alternatives", "ssl/certs", "mime.types"} {
		info, err := os.Stat("/etc/" + name)
		if err != nil {
			continue
		}
		kind := uint32(bindOptional)
		if !info.IsDir() {
			kind |= bindFile
		}
		c.add(recBind, kind, "/etc/"+name, "etc/"+name)
	}
	uid, gid := strconv.Itoa(c.uid), strconv.Itoa(c.gid)
	c.add(recFile, 0o444, "etc/passwd", "weft:x:"+uid+":"+gid+":weft:/tmp:/usr/sbin/nologin\n")
	c.add(recFile, 0o444, "etc/group", "weft:x:"+gid+":\n")
	c.add(recFile, 0o444, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
	c.add(recFile, 0o444, "etc/hosts", hosts(doors))
	return nil
}

// copyTop adds the top of a given root.
func (c *config) copyTop(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"proc", "dev", "sys", "tmp", "fn", "layers", "weft"}, e.Name()) {
			continue
		}
		if err := c.entry(root, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// entry adds what is at the top of a tree: folders are bound, links copied.
func (c *config) entry(root, name string) error {
	path := filepath.Join(root, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return fmt.Errorf("root: %w", err)
		}
		c.add(recLink, 0, name, target)
	case info.IsDir():
		c.add(recBind, 0, path, name)
	case info.Mode().IsRegular():
		c.add(recBind, bindFile, path, name)
	}
	return nil
}

// code adds a folder of the function's, such that the sandbox's user can read
// it although the files belong to somebody else.
func (c *config) code(s *sandbox.Spawner, path, target string) error {
	if _, root := s.Isolated(); !root {
		c.add(recBind, 0, path, target)
		return nil
	}
	g, err := s.OpenCode(path)
	if err != nil {
		return err
	}
	c.add(recDir, 0o755, target)
	c.add(recMount, uint32(len(c.mounts)), target)
	c.mounts = append(c.mounts, g.File)
	return nil
}

// granted adds the folders and files that the function was given.
func (c *config) granted(s *sandbox.Spawner, f *Function) error {
	for _, m := range f.Mounts {
		open, make, mode := s.OpenDir, uint32(recDir), uint32(0o755)
		if m.File {
			open, make, mode = s.OpenFileMount, recEmpty, 0
		}
		g, err := open(m.Host, m.ReadOnly)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Path, err)
		}
		c.add(make, mode, in(m.Path))
		c.add(recMount, uint32(len(c.mounts)), in(m.Path))
		c.mounts = append(c.mounts, g.File)
	}
	for _, path := range slices.Sorted(maps.Keys(f.Files)) {
		c.add(recFile, 0o444, in(path), f.Files[path])
	}
	return nil
}

func (c *config) close() {
	for _, f := range c.mounts {
		f.Close()
	}
}

// memoryFile returns a memory file with the bytes, at its start.
func memoryFile(name string, b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdNoExec)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	for at := 0; at < len(b); {
		n, err := unix.Pwrite(fd, b[at:], int64(at))
		if err != nil && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("memory file %s: %w", name, err)
		}
		at += max(n, 0)
	}
	return f, nil
}

const mfdNoExec = 8 // MFD_NOEXEC_SEAL

// Where no cgroup limits memory, each process of a call has its private memory limited, in
// bytes, and its address space, for what it shares. Programs map more than they use: Go's
// runtime 32 MiB to write to, and 600 MiB that it only keeps free.
const (
	untouched = 36 << 20
	reserved  = 4 << 30
)

// newConfig says everything about a version to its warden. flags are flagParent,
// flagAdopt or none; with the second above is the parent's user namespace.
func newConfig(s *sandbox.Spawner, f *Function, py *python.Interpreter, limited limits, flags uint32, above *os.File) (*config, error) {
	iso, root := s.Isolated()
	l := f.Limits
	cpu := l.CPU
	if f.Runtime == Native && f.Resident != ResidentNone {
		cpu = 0 // it is of each call
	}
	c := &config{uid: iso.UID, gid: iso.GID, flags: flagNet | flags, cpu: cpu, files: l.Files, tmp: l.Tmp, fileSize: max(l.Tmp, l.Output)}
	if root {
		c.flags |= flagSetID
	}
	doors, err := doorsOf(f.Dial)
	if err != nil {
		return nil, err
	}
	for _, d := range doors {
		c.flags &^= flagNet // that of the version is for all of its calls: they cannot listen in it
		c.add(recDoor, uint32(d.port), d.address.String())
	}
	if !limited.memory {
		c.data, c.space = l.Memory+untouched, l.Memory+reserved
	}
	if !limited.pids {
		c.threads = int64(l.Pids)
	}
	if flags&flagParent != 0 { // what it forks lowers its own
		c.files, c.fileSize, c.data, c.space, c.threads = 0, 0, 0, 0, 0
	}
	err = func() error {
		if err := c.base(f.Root, doors); err != nil {
			return err
		}
		if f.Dir != "" {
			if err := c.code(s, f.Dir, "fn"); err != nil {
				return err
			}
		}
		for i, dir := range f.Layers {
			if err := c.code(s, dir, "layers/"+strconv.Itoa(i)); err != nil {
				return err
			}
		}
		if err := c.granted(s, f); err != nil {
			return err
		}
		if above != nil {
			c.add(recJoin, uint32(len(c.mounts)), "user")
			c.mounts = append(c.mounts, above)
		}
		outer := ofServer
		if flags&flagParent != 0 {
			outer = ofParent
		}
		for which, of := range []role{outer, ofCall} {
			program, err := filter(of, len(f.Dial) > 0)
			if err != nil {
				return err
			}
			c.filterBytes(uint32(which), program)
		}
		env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "USER=weft"}
		if f.Runtime == Python {
			return c.python(f, py, env)
		}
		program := f.Program
		if !filepath.IsAbs(program) {
			program = "/fn/" + program
		}
		c.add(recArg, 0, program)
		for _, a := range f.Args {
			c.add(recArg, 0, a)
		}
		for _, v := range merge(env, f.Env) {
			c.add(recEnv, 0, v)
		}
		return nil
	}()
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// merge puts variables together; later lists win.
func merge(lists ...[]string) []string {
	var names []string
	values := map[string]string{}
	for _, list := range lists {
		for _, v := range list {
			name, value, _ := strings.Cut(v, "=")
			if _, ok := values[name]; !ok {
				names = append(names, name)
			}
			values[name] = value
		}
	}
	for i, name := range names {
		names[i] = name + "=" + values[name]
	}
	return names
}
