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

// A share is that of all together. Each group that follows has the weight that it is to
// have, also one that is made later, until it is removed; others keep theirs.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		name, file             string
		files                  map[string]string
		one, five, plain, tier string
		fixed                  string
	}{
		{"version 1", "cpu.shares", filesV1, "1024", "5120", "2048", "9216", "3072"},
		{"version 2", "cpu.weight", filesV2, "100", "500", "200", "900", "300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "top")
			f := &fakeCgroups{t: t, files: c.files}
			if err := f.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
			self := fakeSelf(nil)
			if c.file == "cpu.weight" {
				self.v2 = []string{dir}
			} else {
				self.v1 = map[string]string{"cpu": dir}
			}
			s := &Spawner{cgroups: newCgroups(f, self)}
			group := func(name string, l Limits) *group {
				t.Helper()
				g, err := s.cgroups.create(name)
				if err == nil {
					err = g.begin(l)
				}
				if err != nil {
					t.Fatal(err)
				}
				return g
			}
			weight := func(name string) string {
				text, err := f.Read(filepath.Join(s.cgroups.node["cpu"], name, c.file))
				if err != nil {
					t.Error(err)
				}
				return text
			}
			group("fixed", Limits{Weight: 300})
			group("early", Limits{Weight: 200, Tiered: 900})
			gone := group("gone", Limits{Tiered: 900})
			for _, tiered := range []bool{true, false, true} {
				share, whole, follows := 1, c.one, c.plain
				if tiered {
					share, whole, follows = 5, c.five, c.tier
				}
				if err := s.Share(share, tiered); err != nil {
					t.Fatal(err)
				}
				late := group("late", Limits{Weight: 200, Tiered: 900})
				for name, want := range map[string]string{".": whole, "early": follows, "late": follows, "fixed": c.fixed} {
					if got := weight(name); got != want {
						t.Errorf("tiers %v: %s weighs %s, want %s", tiered, name, got, want)
					}
				}
				if err := late.close(); err != nil {
					t.Error(err)
				}
				if gone != nil {
					if err := gone.close(); err != nil {
						t.Error(err)
					}
					gone = nil
				}
			}
		})
	}
}
