package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cgroupFiles is the part of the file system that cgroups are made of. Paths
// are absolute; the files exist as soon as their directory does.
type cgroupFiles interface {
	Mkdir(dir string) error
	Remove(dir string) error
	Read(file string) (string, error)
	Write(file, value string) error
	Dirs(dir string) ([]string, error) // names of the directories in dir
}

// kernelFiles is cgroupFiles as the kernel has it.
type kernelFiles struct{}

var _ cgroupFiles = kernelFiles{}

func (kernelFiles) Mkdir(dir string) error  { return os.Mkdir(dir, 0o755) }
func (kernelFiles) Remove(dir string) error { return syscall.Rmdir(dir) }

func (kernelFiles) Read(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

// Write opens without O_CREAT and O_TRUNC: a control file is there or it is not.
func (kernelFiles) Write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (kernelFiles) Dirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// cgroups makes the groups of one node. In every hierarchy that it uses it owns
// one directory, named after the node's process, and one below it for each
// process that the node confines.
type cgroups struct {
	files   cgroupFiles
	version int               // 1 or 2; 0: there are none, and every operation does nothing
	node    map[string]string // controller -> the node's directory; in version 2 all are the same
	missing []string          // controllers that are wanted and not usable, each with the reason

	weighing sync.Mutex        // held while a weight is written that depends on tiered
	tiered   bool              // groups are tiers; guarded by weighing
	follow   map[*group]Limits // the groups whose weight depends on that; guarded by weighing
}

// group is the cgroup of one confined process.
type group struct {
	of   *cgroups
	name string
	dir  *os.File // version 2: the directory, for CLONE_INTO_CGROUP

}

// wantedControllers are those that carry limits of ours.
var wantedControllers = []string{"memory", "pids", "cpu"}

// newCgroups finds the hierarchies, creates the node's directory in each and
// removes those of nodes that have died. Where none is usable it returns
// cgroups that do nothing, and says why in missing.
func newCgroups(files cgroupFiles, self cgroupSelf) *cgroups {
	c := &cgroups{files: files, node: map[string]string{}, follow: map[*group]Limits{}}
	name := self.name()
	for _, controller := range wantedControllers {
		parent, ok := self.v1[controller]
		if !ok {
			continue
		}
		if err := c.adopt(parent, name, self, controller); err != nil {
			c.missing = append(c.missing, fmt.Sprintf("%s: %v", controller, err))
		}
	}
	if len(c.node) > 0 {
		c.version = 1
		return c
	}
	c.adoptV2(name, self)
	if len(c.node) > 0 {
		c.version = 2
	} else if len(c.missing) == 0 {
		c.missing = append(c.missing, "no cgroup file system is mounted")
	}
	return c
}

// adopt makes the node's directory below parent, for the controllers.
func (c *cgroups) adopt(parent, name string, self cgroupSelf, controllers ...string) error {
	c.sweep(parent, self)
	dir := path.Join(parent, name)
	if err := c.files.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, controller := range controllers {
		c.node[controller] = dir
	}
	return nil
}

// adoptV2 takes the first parent in which a group with controllers can be made.
func (c *cgroups) adoptV2(name string, self cgroupSelf) {
	for _, parent := range self.v2 {
		available, err := c.files.Read(path.Join(parent, "cgroup.controllers"))
		if err != nil {
			c.missing = append(c.missing, err.Error())
			continue
		}
		var usable, refused []string
		for _, controller := range wantedControllers {
			if !slices.Contains(strings.Fields(available), controller) {
				refused = append(refused, controller+": not delegated to "+parent)
			} else if err := c.enable(parent, controller); err != nil {
				refused = append(refused, fmt.Sprintf("%s: %v", controller, err))
			} else {
				usable = append(usable, controller)
			}
		}
		if len(usable) == 0 {
			c.missing = append(c.missing, refused...)
			continue
		}
		if err := c.adopt(parent, name, self, usable...); err != nil {
			c.missing = append(c.missing, err.Error())
			continue
		}
		for _, controller := range usable {
			if err := c.enable(c.node[controller], controller); err != nil {
				refused = append(refused, fmt.Sprintf("%s: %v", controller, err))
				delete(c.node, controller)
			}
		}
		c.missing = refused
		return
	}
}

// enable turns a controller on for the children of dir.
func (c *cgroups) enable(dir, controller string) error {
	file := path.Join(dir, "cgroup.subtree_control")
	on, err := c.files.Read(file)
	if err == nil && slices.Contains(strings.Fields(on), controller) {
		return nil
	}
	return c.files.Write(file, "+"+controller)
}

// dirs returns the node's directories, each once.
func (c *cgroups) dirs() []string {
	var out []string
	for _, controller := range wantedControllers {
		if dir, ok := c.node[controller]; ok && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// close removes the node's directories, which must be empty by now.
func (c *cgroups) close() error {
	var errs []error
	for _, dir := range c.dirs() {
		errs = append(errs, c.remove(dir))
	}
	return errors.Join(errs...)
}

// remove removes a directory. A process that has been waited for may take a
// moment longer to leave its group.
func (c *cgroups) remove(dir string) error {
	var err error
	for wait := time.Millisecond; wait < 500*time.Millisecond; wait *= 2 {
		err = c.files.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(wait)
	}
	return fmt.Errorf("remove cgroup %s: %w", dir, err)
}

// sweep removes the groups that dead nodes left in parent and its siblings, and
// ends what still runs in them: it outlived its node. The siblings are where
// those nodes ran that a session or service manager gave a group of their own.
func (c *cgroups) sweep(parent string, self cgroupSelf) {
	above := path.Dir(parent)
	siblings, _ := c.files.Dirs(above)
	places := []string{parent}
	for _, name := range siblings {
		if place := path.Join(above, name); place != parent {
			places = append(places, place)
		}
	}
	for _, place := range places {
		names, _ := c.files.Dirs(place)
		for _, name := range names {
			if self.stale(name) {
				c.removeNode(path.Join(place, name))
			}
		}
	}
}

// removeNode removes the directory of a dead node with all in it.
func (c *cgroups) removeNode(node string) {
	children, _ := c.files.Dirs(node)
	for _, child := range children {
		c.end(path.Join(node, child))
		_ = c.remove(path.Join(node, child))
	}
	_ = c.remove(node)
}

// end kills every process of a group.
func (c *cgroups) end(dir string) {
	if c.files.Write(path.Join(dir, "cgroup.kill"), "1") == nil {
		return
	}
	pids, _ := c.files.Read(path.Join(dir, "cgroup.procs"))
	for _, line := range strings.Fields(pids) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// create makes the group of one process.
func (c *cgroups) create(name string) (*group, error) {
	g := &group{of: c, name: name}
	for _, dir := range c.dirs() {
		if err := c.files.Mkdir(path.Join(dir, name)); err != nil {
			_ = g.close()
			return nil, fmt.Errorf("create cgroup: %w", err)
		}
	}
	if c.version == 2 {
		dir, err := os.OpenFile(path.Join(c.dirs()[0], name), os.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			_ = g.close()
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		g.dir = dir
	}
	return g, nil
}

// file returns the control file of a controller, or "" without that controller.
func (g *group) file(controller, name string) string {
	dir, ok := g.of.node[controller]
	if !ok {
		return ""
	}
	return path.Join(dir, g.name, name)
}

// entrances opens the files through which the process enters the group, in
// version 1: it writes "0" to each. That a single thread moves itself is the one
// way that does not make the kernel wait for a grace period, which takes 10 to
// 20 ms. In version 2 the process is born in the group.
func (g *group) entrances() ([]*os.File, error) {
	if g.of.version != 1 {
		return nil, nil
	}
	var files []*os.File
	for _, dir := range g.of.dirs() {
		f, err := os.OpenFile(path.Join(dir, g.name, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("enter cgroup: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// close removes the group, which must be empty by now.
func (g *group) close() error {
	g.of.weighing.Lock()
	delete(g.of.follow, g)
	g.of.weighing.Unlock()
	var errs []error
	if g.dir != nil {
		errs = append(errs, g.dir.Close())
	}
	for _, dir := range g.of.dirs() {
		errs = append(errs, g.of.remove(path.Join(dir, g.name)))
	}
	return errors.Join(errs...)
}

// cgroupSelf is where the node finds itself.
type cgroupSelf struct {
	pid    int
	start  string               // start time of the node's process, in clock ticks since boot
	ns     string               // inode of the node's pid namespace, in which pid counts
	suffix string               // tells the directory of a probe from that of the node
	born   func(pid int) string // start time of a process of this namespace; "" when there is none
	v1     map[string]string    // controller -> directory of the node's own group
	v2     []string             // directories in which a group may be made, in the order to try them
	own    string               // the node's own group in version 2; "" when there is none
}

// name is the name of the node's directory. With the start time a pid that is
// used again is told apart; with the namespace, the same pid in another
// container.
func (s cgroupSelf) name() string {
	return fmt.Sprintf("weft-%d-%s-%s%s", s.pid, s.start, s.ns, s.suffix)
}

// stale reports whether name is that of a node of this namespace that has died.
func (s cgroupSelf) stale(name string) bool {
	parts := strings.Split(name, "-")
	if len(parts) < 4 || parts[0] != "weft" || parts[3] != s.ns {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid == s.pid && parts[2] == s.start {
		return false
	}
	return s.born(pid) != parts[2]
}

// findCgroups reads where this process is.
func findCgroups() (cgroupSelf, error) {
	self := cgroupSelf{pid: os.Getpid(), born: startTime}
	self.start = startTime(self.pid)
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return self, fmt.Errorf("find cgroups: %w", err)
	}
	self.ns = strings.Trim(strings.TrimPrefix(link, "pid:"), "[]")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return self, fmt.Errorf("find cgroups: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return self, fmt.Errorf("find cgroups: %w", err)
	}
	root := os.Getuid() == 0
	self.v1, self.v2 = cgroupDirs(string(mounts), string(own), root)
	if n := len(self.v2); n > 0 {
		self.own = self.v2[0]
		if root && n > 1 { // the top is tried first
			self.own = self.v2[1]
		}
	}
	for controller, dir := range self.v1 {
		self.v1[controller] = outside(dir, self.name())
	}
	for i, dir := range self.v2 {
		self.v2[i] = outside(dir, self.name())
	}
	return self, nil
}

// cgroupDirs computes from /proc/self/mountinfo and /proc/self/cgroup where the
// process's own groups are. In version 2, where a group that holds processes
// can have no children with controllers, the places to try are, for root, the
// top of the hierarchy, and then the parents of the own group upwards: for an
// ordinary user these are what its session manager delegated.
func cgroupDirs(mountinfo, own string, root bool) (v1 map[string]string, v2 []string) {
	paths := map[string]string{}
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			paths[controller] = parts[2] // "" is version 2
		}
	}
	v1 = map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(mountinfo))
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		mountRoot, point := fields[3], fields[4]
		below := func(p string) string {
			if rel, err := filepath.Rel(mountRoot, p); err == nil && !strings.HasPrefix(rel, "..") {
				return path.Join(point, rel)
			}
			return point // the own group is outside what is mounted here
		}
		switch kind[0] {
		case "cgroup":
			for _, controller := range strings.Split(kind[2], ",") {
				if p, ok := paths[controller]; ok && controller != "" {
					v1[controller] = below(p)
				}
			}
		case "cgroup2":
			p, ok := paths[""]
			if !ok {
				continue
			}
			if root {
				v2 = append(v2, point)
			}
			for dir := below(p); strings.HasPrefix(dir, point); dir = path.Dir(dir) {
				if !slices.Contains(v2, dir) {
					v2 = append(v2, dir)
				}
				if dir == point {
					break
				}
			}
		}
	}
	return v1, v2
}

// startTime returns when a process started, in clock ticks since boot: field 22
// of /proc/PID/stat (proc_pid_stat(5)).
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the name in parentheses and may contain anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
