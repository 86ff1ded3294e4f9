package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// fakeGroups is a hierarchy in a plain folder. A process that is written to a group is in
// no other.
type fakeGroups struct {
	t       *testing.T
	version int
	top     string
	files   map[string]string // of a new group

	mu  sync.Mutex
	log []string
	in  map[string]string // process -> group
}

func newFake(t *testing.T, version int) *fakeGroups {
	f := &fakeGroups{t: t, version: version, top: t.TempDir(), in: map[string]string{}, files: map[string]string{"cgroup.procs": ""}}
	f.files[weights[version].file] = fmt.Sprint(weights[version].normal)
	for _, dir := range []string{"home", "node", "call"} {
		f.make(filepath.Join(f.top, dir))
	}
	return f
}

func (f *fakeGroups) make(dir string) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	for name, text := range f.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fakeGroups) Version() int { return f.version }
func (f *fakeGroups) Dir() string  { return f.top + "/node" }
func (f *fakeGroups) Home() string { return f.top + "/home" }

func (f *fakeGroups) Make(name string) (string, error) {
	f.make(f.Dir() + "/" + name)
	return f.Dir() + "/" + name, nil
}

func (f *fakeGroups) Read(file string) (string, error) {
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

func (f *fakeGroups) Write(file, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	rel, _ := filepath.Rel(f.top, file)
	f.log = append(f.log, rel+" = "+value)
	if _, err := os.Stat(file); err != nil {
		return err
	}
	dir := filepath.Dir(file)
	switch filepath.Base(file) {
	case "cgroup.procs":
		f.in[value] = filepath.Base(dir)
		return nil
	}
	return os.WriteFile(file, []byte(value), 0o600)
}

func (f *fakeGroups) Close() error {
	names, _ := os.ReadDir(f.Dir())
	for _, n := range names {
		if n.IsDir() {
			if err := os.RemoveAll(f.Dir() + "/" + n.Name()); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(f.Dir())
}

// wrote returns what was written since the last time.
func (f *fakeGroups) wrote() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

// where is the group of a process.
func (f *fakeGroups) where(pid int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.in[fmt.Sprint(pid)]
}

// Two backends of one process have tiers of their own, and the first one leaves those of
// the second alone.
func TestTwoCgroupsOfOneProcess(t *testing.T) {
	var all [2]*Cgroup
	for i := range all {
		c, err := NewCgroup(Options{NodeStays: true})
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		all[i] = c
	}
	if all[0].Dir(policy.Batch) == all[1].Dir(policy.Batch) {
		t.Fatalf("both are in %s", all[0].Dir(policy.Batch))
	}
	pid := script(t, "exec sleep 60")
	task := attach(t, TaskOptions{PID: pid})
	if err := all[1].Add(task, Place{Tier: policy.Batch}); err != nil {
		t.Fatal(err)
	}
	if err := all[0].Close(); err != nil {
		t.Error(err)
	}
	until(t, "it is in batch of the second", func() bool { return strings.HasSuffix(all[1].Dir(policy.Batch), cpuGroupOf(pid)) })
}

func TestCgroupGroupsOfTiers(t *testing.T) {
	self := fmt.Sprint(os.Getpid())
	for version, want := range map[int][]string{
		1: {"node/cpu.shares = 10240", "node/express/cpu.shares = 20480", "node/normal/cpu.shares = 1024", "node/batch/cpu.shares = 102"},
		2: {"node/cpu.weight = 1000", "node/express/cpu.weight = 2000", "node/normal/cpu.weight = 100", "node/batch/cpu.weight = 10"},
	} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			f := newFake(t, version)
			b, err := newCgroup(f, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := f.wrote(), append(want, "node/express/cgroup.procs = "+self); !slices.Equal(got, want) {
				t.Errorf("wrote %q, want %q", got, want)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if got := f.where(os.Getpid()); got != "home" {
				t.Errorf("the node is in %s", got)
			}
			if _, err := os.Stat(f.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("left: %v", err)
			}
		})
	}
}

func TestCgroupOfATask(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int
		places  []Place
		want    []string
	}{
		{"version 2", 2, []Place{{Tier: policy.Express}, {Tier: policy.Express}, {Tier: policy.Batch}, {Tier: policy.Batch}, {Tier: policy.Normal}}, []string{
			"call/cpu.weight = 2000", "call/cpu.weight = 10", "call/cpu.weight = 100", "call/cpu.weight = 100"}},
		{"version 1", 1, []Place{{Tier: policy.Batch}, {Tier: policy.Express}}, []string{
			"call/cpu.shares = 102", "call/cpu.shares = 20480", "call/cpu.shares = 1024"}},
		{"ranks", 2, []Place{{Tier: policy.Normal, Rank: 1}, {Tier: policy.Normal, Rank: 3}, {Tier: policy.Normal, Rank: 99}}, []string{
			"call/cpu.weight = 50", "call/cpu.weight = 12", "call/cpu.weight = 1", "call/cpu.weight = 100"}},
		{"where it is", 2, []Place{{Tier: policy.Normal}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, c.version)
			b, err := newCgroup(f, Options{NodeStays: true})
			if err != nil {
				t.Fatal(err)
			}
			f.wrote()
			group := f.top + "/call"
			task := attach(t, TaskOptions{PID: os.Getpid(), Group: group})
			do := b.Add
			for _, p := range c.places {
				if err := do(task, p); err != nil {
					t.Fatal(err)
				}
				do = b.Move
			}
			if err := b.Remove(task); err != nil {
				t.Fatal(err)
			}
			if got := f.wrote(); !slices.Equal(got, c.want) {
				t.Errorf("wrote %q\nwant  %q", got, c.want)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCgroupMovesTasksWithoutAGroup(t *testing.T) {
	f := newFake(t, 2)
	b, err := newCgroup(f, Options{NodeStays: true})
	if err != nil {
		t.Fatal(err)
	}
	pid := script(t, "sleep 60 & wait")
	until(t, "it has a child", func() bool { return len(processes(pid, 0, "")) == 2 })
	child := processes(pid, 0, "")[1]
	express := policy.Express
	task := attach(t, TaskOptions{PID: pid, Born: &express})
	f.wrote()
	if err := b.Add(task, Place{Tier: policy.Express}); err != nil {
		t.Fatal(err)
	}
	if got := f.wrote(); got != nil {
		t.Errorf("a task that is born in its tier costs %q", got)
	}
	if err := b.Move(task, Place{Tier: policy.Batch}); err != nil {
		t.Fatal(err)
	}
	until(t, "both are in batch", func() bool { return f.where(pid) == "batch" && f.where(child) == "batch" })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if f.where(pid) != "home" || f.where(child) != "home" {
		t.Errorf("they are in %s and %s", f.where(pid), f.where(child))
	}
}

// newTiers makes real tiers.
func newTiers(t *testing.T) *Cgroup {
	t.Helper()
	c, err := NewCgroup(Options{})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCgroupTiers(t *testing.T) {
	home := cpuGroupOf(os.Getpid())
	c := newTiers(t)
	a, b := script(t, spinner), script(t, spinner)
	pin(t, a)
	pin(t, b)
	first, second := attach(t, TaskOptions{PID: a}), attach(t, TaskOptions{PID: b})
	if err := errors.Join(c.Add(first, Place{Tier: policy.Express}), c.Add(second, Place{Tier: policy.Batch})); err != nil {
		t.Fatal(err)
	}
	in := func(pid int, tier policy.Tier) func() bool {
		return func() bool { return filepath.Base(cpuGroupOf(pid)) == tier.String() }
	}
	until(t, "the first is in express", in(a, policy.Express))
	until(t, "the second is in batch", in(b, policy.Batch))
	if !in(os.Getpid(), policy.Express)() {
		t.Errorf("the node is in %s", cpuGroupOf(os.Getpid()))
	}
	ahead(t, "express before batch", first, second)
	if err := errors.Join(c.Move(first, Place{Tier: policy.Batch}), c.Move(second, Place{Tier: policy.Normal})); err != nil {
		t.Fatal(err)
	}
	until(t, "the first is in batch", in(a, policy.Batch))
	until(t, "the second is in normal", in(b, policy.Normal))
	ahead(t, "normal before batch", second, first)
	dir := c.tree.Dir()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid(), a, b} {
		if got := cpuGroupOf(pid); got != home {
			t.Errorf("process %d is in %s, not in %s", pid, got, home)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %s", dir)
	}
}

func TestCgroupOfATaskOnThisKernel(t *testing.T) {
	c := newTiers(t)
	dirs := [2]string{}
	var tasks [2]*Task
	for i := range dirs {
		dir, err := c.tree.Make(fmt.Sprintf("call%d", i)) // where a sandbox would have it
		if err != nil {
			t.Fatal(err)
		}
		pid := script(t, spinner)
		pin(t, pid)
		if err := writeFile(dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
			t.Fatal(err)
		}
		dirs[i], tasks[i] = dir, attach(t, TaskOptions{PID: pid, Group: dir})
	}
	if err := errors.Join(c.Add(tasks[0], Place{Tier: policy.Express}), c.Add(tasks[1], Place{Tier: policy.Batch})); err != nil {
		t.Fatal(err)
	}
	ahead(t, "express before batch", tasks[0], tasks[1])
	if err := errors.Join(c.Move(tasks[0], Place{Tier: policy.Batch}), c.Move(tasks[1], Place{Tier: policy.Normal})); err != nil {
		t.Fatal(err)
	}
	ahead(t, "normal before batch", tasks[1], tasks[0])
	for i, task := range tasks {
		if err := c.Remove(task); err != nil {
			t.Error(err)
		}
		w := weights[c.version]
		if text, err := c.tree.Read(dirs[i] + "/" + w.file); err != nil || text != fmt.Sprint(w.normal) {
			t.Errorf("weight is %s, %v", text, err)
		}
		_ = unix.Kill(task.PID(), unix.SIGKILL)
	}
	for _, task := range tasks {
		until(t, "it has ended", func() bool { return !task.alive() })
	}
}

func TestCgroupIsSweptWhenTheNodeWasKilled(t *testing.T) {
	newTiers(t).Close()
	node := act(t, "node")
	read := line(t, node)
	launch(t, node)
	dir := read()
	if strings.HasPrefix(dir, "error") {
		t.Fatal(dir)
	}
	if _, err := os.Stat(dir + "/express"); err != nil {
		t.Fatal(err)
	}
	newTiers(t).Close()
	if _, err := os.Stat(dir + "/express"); err != nil {
		t.Fatalf("a node that lives was swept: %v", err)
	}
	_ = node.Process.Kill()
	_, _ = node.Process.Wait()
	newTiers(t)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %s", dir)
	}
}
