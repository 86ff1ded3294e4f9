package sandbox

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// fakeCgroups is a cgroup file system in a plain folder: a new directory gets
// its control files, and one with processes or children cannot be removed.
type fakeCgroups struct {
	kernelFiles
	t     *testing.T
	files map[string]string // of a new directory
	deny  map[string]error  // path -> what a write to it fails with
	log   []string          // writes
}

func (f *fakeCgroups) Mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range f.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return nil
}

func (f *fakeCgroups) Remove(dir string) error {
	if children, _ := f.Dirs(dir); len(children) > 0 {
		return syscall.EBUSY
	}
	return os.RemoveAll(dir)
}

func (f *fakeCgroups) Write(file, value string) error {
	if err := f.deny[file]; err != nil {
		return &fs.PathError{Op: "write", Path: file, Err: err}
	}
	if err := f.kernelFiles.Write(file, value); err != nil {
		return err
	}
	f.log = append(f.log, path.Base(path.Dir(file))+"/"+path.Base(file)+" = "+value)
	return nil
}

var (
	filesV2 = map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "", "cgroup.procs": "", "cgroup.kill": "",
		"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.peak": "4096\n", "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\n",
		"pids.max": "max", "cpu.weight": "100", "cpu.max": "max 100000",
	}
	filesV1 = map[string]string{
		"cgroup.procs": "", "tasks": "", "memory.limit_in_bytes": "", "memory.memsw.limit_in_bytes": "", "pids.max": "", "cpu.shares": "", "cpu.cfs_quota_us": "",
		"memory.max_usage_in_bytes": "8192", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
	}
)

func fakeSelf(born map[int]string) cgroupSelf {
	return cgroupSelf{pid: 100, start: "5", ns: "77", born: func(pid int) string { return born[pid] }}
}

func TestCgroupVersion2(t *testing.T) {
	top := t.TempDir()
	f := &fakeCgroups{t: t, files: filesV2}
	f.deny = map[string]error{filepath.Join(top, "closed/cgroup.subtree_control"): syscall.EBUSY}
	for _, dir := range []string{"closed", "open"} {
		if err := f.Mkdir(filepath.Join(top, dir)); err != nil {
			t.Fatal(err)
		}
	}
	self := fakeSelf(nil)
	self.v2 = []string{filepath.Join(top, "closed"), filepath.Join(top, "open")}
	c := newCgroups(f, self)
	if c.version != 2 || len(c.missing) != 0 {
		t.Fatalf("version %d, missing %q", c.version, c.missing)
	}
	g, err := c.create("1")
	if err != nil {
		t.Fatal(err)
	}
	if g.dir == nil {
		t.Error("no descriptor to be born in")
	}
	f.log = nil
	limits := Limits{Memory: 1 << 20, Pids: 9, Cores: 1.5, Weight: 300}
	if err := g.limit(nil, limits); err != nil {
		t.Fatal(err)
	}
	want := []string{"1/memory.max = 1048576", "1/memory.swap.max = 0", "1/memory.oom.group = 1", "1/pids.max = 9",
		"1/cpu.weight = 300", "1/cpu.max = 150000 100000"}
	if !slices.Equal(f.log, want) {
		t.Errorf("wrote %q", f.log)
	}
	f.log = nil
	next := limits
	next.Memory, next.Cores = 0, 0
	if err := g.limit(&limits, next); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1/memory.max = max", "1/memory.swap.max = max", "1/cpu.max = max 100000"}; !slices.Equal(f.log, want) {
		t.Errorf("wrote %q", f.log)
	}
	if files, err := g.entrances(); len(files) != 0 || err != nil { // it is born there
		t.Errorf("entrances %v, %v", files, err)
	}
	if g.outOfMemory() != 3 || g.peak() != 4096 {
		t.Errorf("out of memory %d, peak %d", g.outOfMemory(), g.peak())
	}
	if err := c.close(); err == nil {
		t.Error("the node's group was removed with a group in it")
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if left, _ := f.Dirs(filepath.Join(top, "open")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestCgroupVersion1(t *testing.T) {
	top := t.TempDir()
	f := &fakeCgroups{t: t, files: filesV1}
	self := fakeSelf(nil)
	self.v1 = map[string]string{}
	for _, controller := range []string{"memory", "pids", "cpu"} {
		self.v1[controller] = filepath.Join(top, controller)
		if err := f.Mkdir(self.v1[controller]); err != nil {
			t.Fatal(err)
		}
	}
	self.v1["pids"] = filepath.Join(top, "none")
	c := newCgroups(f, self)
	if c.version != 1 || len(c.missing) != 1 || !strings.HasPrefix(c.missing[0], "pids: mkdir ") {
		t.Fatalf("version %d, missing %q", c.version, c.missing)
	}
	g, err := c.create("1")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.limit(nil, Limits{Memory: 1 << 20, Pids: 9, Cores: 0.5, Weight: 200}); err != nil {
		t.Fatal(err)
	}
	files, err := g.entrances()
	if err != nil || len(files) != 2 || files[0].Name() != filepath.Join(c.node["memory"], "1/tasks") {
		t.Errorf("entrances %v, %v", files, err)
	}
	closeAll(files)
	want := []string{"1/memory.limit_in_bytes = 1048576", "1/memory.memsw.limit_in_bytes = 1048576", "1/cpu.shares = 2048",
		"1/cpu.cfs_quota_us = 50000"}
	if !slices.Equal(f.log, want) {
		t.Errorf("wrote %q", f.log)
	}
	if g.outOfMemory() != 2 || g.peak() != 8192 {
		t.Errorf("out of memory %d, peak %d", g.outOfMemory(), g.peak())
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

func TestCgroupsOfDeadNodesAreRemoved(t *testing.T) {
	top := t.TempDir()
	f := &fakeCgroups{t: t, files: filesV2}
	parent := filepath.Join(top, "p")
	if err := f.Mkdir(parent); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{ // name -> stays
		"weft-1-10-77":  true,  // lives
		"weft-1-9-77":   false, // the pid belongs to another process now
		"weft-2-10-77":  false, // gone
		"weft-2-10-78":  true,  // of another container
		"weft-x-10-77":  true,
		"weft.service":  true,
		"docker-2-3-77": true,
	}
	for name := range names {
		for _, dir := range []string{name, name + "/1", name + "/2"} {
			if err := f.Mkdir(filepath.Join(parent, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sibling := filepath.Join(top, "q")
	for _, dir := range []string{sibling, filepath.Join(sibling, "weft-2-10-77"), filepath.Join(sibling, "other")} {
		if err := f.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	self := fakeSelf(map[int]string{1: "10"})
	self.v2 = []string{parent}
	c := newCgroups(f, self)
	for name, stays := range names {
		if _, err := os.Stat(filepath.Join(parent, name)); (err == nil) != stays {
			t.Errorf("%s: stays %v, want %v", name, err == nil, stays)
		}
	}
	if left, _ := f.Dirs(sibling); !slices.Equal(left, []string{"other"}) {
		t.Errorf("in the sibling: %q", left)
	}
	if !slices.Contains(f.log, "1/cgroup.kill = 1") {
		t.Errorf("nothing was killed: %q", f.log)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

func TestNoCgroups(t *testing.T) {
	c := newCgroups(kernelFiles{}, fakeSelf(nil))
	if c.version != 0 || !slices.Equal(c.missing, []string{"no cgroup file system is mounted"}) {
		t.Fatalf("version %d, missing %q", c.version, c.missing)
	}
	g, err := c.create("1")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{g.limit(nil, Limits{Memory: 1, Pids: 1, Cores: 1}), g.close(), c.close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWhereCgroupsAre(t *testing.T) {
	const v2 = "36 29 0:31 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
	for _, c := range []struct {
		name, mounts, own string
		root              bool
		v1                map[string]string
		v2                []string
	}{
		{name: "login session", mounts: v2, own: "0::/user.slice/user-1.slice/user@1.service/app.slice/term.scope\n",
			v2: []string{"/sys/fs/cgroup/user.slice/user-1.slice/user@1.service/app.slice/term.scope",
				"/sys/fs/cgroup/user.slice/user-1.slice/user@1.service/app.slice",
				"/sys/fs/cgroup/user.slice/user-1.slice/user@1.service",
				"/sys/fs/cgroup/user.slice/user-1.slice", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"}},
		{name: "root", mounts: v2, own: "0::/system.slice/x.service\n", root: true,
			v2: []string{"/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/x.service", "/sys/fs/cgroup/system.slice"}},
		{name: "hybrid", own: "5:cpu,cpuacct:/\n4:memory:/a/b\n1:name=systemd:/x\n0::/u\n", root: true,
			mounts: "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"2 0 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			v1: map[string]string{"cpu": "/sys/fs/cgroup/cpu", "cpuacct": "/sys/fs/cgroup/cpu", "memory": "/sys/fs/cgroup/memory/a/b"},
			v2: []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/u"}},
		{name: "container without a cgroup namespace", own: "4:memory:/docker/1/in\n",
			mounts: "2 0 0:2 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			v1:     map[string]string{"memory": "/sys/fs/cgroup/memory/in"}},
		{name: "own group is not mounted", own: "4:memory:/docker/2\n",
			mounts: "2 0 0:2 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			v1:     map[string]string{"memory": "/sys/fs/cgroup/memory"}},
		{name: "none", mounts: "1 0 0:1 / / rw - ext4 /dev/vda rw\n", own: ""},
	} {
		v1, v2 := cgroupDirs(c.mounts, c.own, c.root)
		if !maps.Equal(v1, c.v1) || !slices.Equal(v2, c.v2) {
			t.Errorf("%s: got %v and %q", c.name, v1, v2)
		}
	}
}
