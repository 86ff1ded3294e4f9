package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTree(t *testing.T) {
	top := t.TempDir()
	for _, c := range []struct {
		name    string
		files   map[string]string
		self    func(dir string) cgroupSelf
		version int
		refused bool
	}{
		{"version 1", filesV1, func(dir string) cgroupSelf {
			s := fakeSelf(nil)
			s.v1 = map[string]string{"cpu": dir, "memory": "/nowhere"}
			return s
		}, 1, false},
		{"version 2", filesV2, func(dir string) cgroupSelf {
			s := fakeSelf(nil)
			s.v2, s.own = []string{dir}, dir
			return s
		}, 2, false},
		{"no such controller", map[string]string{"cgroup.controllers": "memory pids", "cgroup.subtree_control": ""}, func(dir string) cgroupSelf {
			s := fakeSelf(nil)
			s.v2 = []string{dir}
			return s
		}, 2, true},
		{"no cgroups", filesV2, func(string) cgroupSelf { return fakeSelf(nil) }, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeCgroups{t: t, files: c.files}
			dir := filepath.Join(top, c.name)
			if err := f.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
			self := c.self(dir)
			self.suffix = "-cpu"
			tree, err := newTree(f, self, "cpu")
			if c.refused {
				if err == nil {
					t.Fatal("made")
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if tree.Version() != c.version || tree.Home() != dir || tree.Dir() != filepath.Join(dir, "weft-100-5-77-cpu") {
					t.Errorf("version %d, home %s, dir %s", tree.Version(), tree.Home(), tree.Dir())
				}
				express, err := tree.Make("express")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(express); err != nil {
					t.Error(err)
				}
				if err := tree.Close(); err != nil {
					t.Error(err)
				}
			}
			if left, _ := f.Dirs(dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestOutsideOfTheNodesOwnGroups(t *testing.T) {
	const name = "weft-100-5-77"
	for dir, want := range map[string]string{
		"/sys/fs/cgroup/cpu":                           "/sys/fs/cgroup/cpu",
		"/sys/fs/cgroup/cpu/app":                       "/sys/fs/cgroup/cpu/app",
		"/sys/fs/cgroup/cpu/app/weft-100-5-77-cpu/top": "/sys/fs/cgroup/cpu/app",
		"/sys/fs/cgroup/cpu/weft-100-5-77":             "/sys/fs/cgroup/cpu",
		"/sys/fs/cgroup/cpu/weft-100-5-778/top":        "/sys/fs/cgroup/cpu/weft-100-5-778/top",
		"/":                                            "/",
	} {
		if got := outside(dir, name); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}
