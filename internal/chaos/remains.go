package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/runlog"
	"github.com/weft-run/weft/internal/store/pebble"
)

// adopted is what was there before the first server.
type adopted struct{ mounts []string }

func (*adopted) release() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }

// remains looks at what a server that has ended has left.
func (l *life) remains(before *adopted) {
	if left := orphans(0); len(left) > 0 {
		l.fault("processes are left: %v", left)
	}
	for _, pid := range l.node.Pids() {
		if left := cgroups(pid); len(left) > 0 {
			l.fault("cgroups of server %d are left: %v", pid, left)
		}
	}
	for _, m := range mounts() {
		if !slices.Contains(before.mounts, m) && (strings.Contains(m, l.o.Dir) || strings.Contains(m, " weft ")) {
			l.fault("a mount is left: %s", m)
		}
	}
	if left := names(l.node.path("tmp")); len(left) > 0 {
		l.fault("temporary files are left: %v", left)
	}
	if left := names(l.o.Dir); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "sock") }) {
		l.fault("a socket is left: %v", left)
	}
	known := []string{"admin.token", "apps", "audit.log", "buffers", "lock", "logs", "secret.key", "store"}
	for _, name := range names(l.node.path("data")) {
		if !slices.Contains(known, name) {
			l.fault("in the data folder there is %s", name)
		}
	}
	l.appFolders()
	if err := l.records(); err != nil {
		l.fault("%v", err)
	}
}

// appFolders checks that there is a folder for every version that was deployed,
// and no other.
func (l *life) appFolders() {
	if left := names(l.node.path("data", "apps")); len(left) != 1 || left[0] != chaosApp {
		l.fault("there are folders of apps %v, want that of %s", left, chaosApp)
	}
	for _, id := range names(l.node.path("data", "apps", chaosApp)) {
		if l.apps.get(chaosApp, id) == nil {
			l.fault("there is a folder of version %s, which nobody has deployed", id)
		}
	}
}

// records checks that everything in the store and in the folder of blobs belongs
// to a run, and that it goes after the retention.
func (l *life) records() (err error) {
	runs := map[string]*patron{}
	for _, p := range l.all() {
		runs[p.run.ID] = p
	}
	s, err := pebble.Open(l.node.path("data", "store"), pebble.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	blobs, err := data.Open(l.node.path("data", "buffers"), data.Options{})
	if err != nil {
		return err
	}
	logs, err := runlog.Open(l.node.path("data", "logs"), runlog.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	snapshot := s.Snapshot()
	keys, err := engine.Remains(snapshot)
	snapshot.Close()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "open/") {
			l.fault("the store has %s, and no run is under way", key)
		}
		if strings.HasPrefix(key, "journal/") && runs[strings.Split(key, "/")[1]] == nil {
			l.fault("the store has %s, which belongs to no run", key)
		}
	}
	owners, err := blobs.Owners()
	if err != nil {
		return err
	}
	for _, owner := range owners {
		if runs[owner] == nil {
			l.fault("there are blobs of %s, which is no run", owner)
		}
	}
	for _, name := range names(l.node.path("data", "logs")) {
		if runs[strings.TrimSuffix(name, ".log")] == nil {
			l.fault("there is a log %s, which belongs to no run", name)
		}
	}
	return l.expire(s, blobs, logs)
}

// expire lets the retention of all runs pass.
func (l *life) expire(s *pebble.Store, blobs *data.Folder, logs *runlog.Folder) error {
	broken := make(chan error, 1)
	e := engine.New(engine.Options{
		World: late{engine.Real}, Store: s, Blobs: folder{blobs}, Logs: logs, Catalog: nobody{}, Broken: func(err error) { broken <- err },
	})
	if err := e.Recover(); err != nil {
		return fmt.Errorf("after the retention: %w", err)
	}
	e.Expire()
	deadline := time.Now().Add(time.Minute)
	for {
		snapshot := s.Snapshot()
		keys, err := engine.Remains(snapshot)
		snapshot.Close()
		owners, err2 := blobs.Owners()
		left := names(l.node.path("data", "logs"))
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if len(keys)+len(owners)+len(left) == 0 {
			break
		}
		select {
		case err := <-broken:
			return err
		default:
		}
		if time.Now().After(deadline) {
			l.fault("after the retention there are %d keys: %.500q, blobs of %.500q, logs %.500q", len(keys), keys, owners, left)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := blobs.Sweep(time.Now().Add(24 * time.Hour)); err != nil {
		return err
	}
	err := filepath.WalkDir(l.node.path("data", "buffers"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			l.fault("after the retention there is %s", path)
		}
		return err
	})
	return errors.Join(err, e.Close())
}

// late is the world as it will be when no run is retained any longer.
type late struct{ engine.World }

func (w late) Now() time.Time { return w.World.Now().Add(8 * 24 * time.Hour) }

// nobody has no apps.
type nobody struct{}

func (nobody) Program(context.Context, string, string) (*engine.Program, error) {
	return nil, fmt.Errorf("a run that has ended does not need its app, which is %w", engine.ErrGone)
}

// folder lets an engine use a data folder.
type folder struct{ *data.Folder }

func (f folder) Open(owner, name string) (engine.Blob, int64, error) {
	b, size, err := f.Folder.Open(owner, name)
	if err != nil {
		return nil, 0, err
	}
	return b, size, nil
}

// names lists what is in a folder.
func names(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

// mounts are those that this process sees.
func mounts() []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\n")
}

// cgroups finds the groups that a server has made, in any hierarchy.
func cgroups(pid int) []string {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/weft-%d-*", "/sys/fs/cgroup/*/weft-%d-*", "/sys/fs/cgroup/*/*/weft-%d-*"} {
		dirs, _ := filepath.Glob(fmt.Sprintf(pattern, pid)) // the patterns are right
		found = append(found, dirs...)
	}
	return found
}

// orphanTime is what processes are given to notice the death of their server.
const orphanTime = 10 * time.Second

// orphans are the processes that have fallen to this one, the server itself
// (0: there is none) apart, and do not end. Those that have ended are buried.
func orphans(server int) []string {
	for deadline := time.Now().Add(orphanTime); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for _, p := range processes() {
			if p.parent != os.Getpid() || p.pid == server {
				continue
			}
			if p.state == "Z" {
				unix.Wait4(p.pid, nil, unix.WNOHANG, nil) // it may be gone
				continue
			}
			left = append(left, fmt.Sprintf("%d %s", p.pid, p.name))
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// proc is a line of /proc.
type proc struct {
	pid, parent int
	name, state string
}

// processes lists those of this machine.
func processes() []proc {
	var all []proc
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		text := string(b)
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		if open < 0 || end < open {
			continue
		}
		fields := strings.Fields(text[end+1:])
		if len(fields) < 2 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		all = append(all, proc{pid, parent, text[open+1 : end], fields[0]})
	}
	return all
}
