package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolation says which walls are put around a process. Spawner.Isolation
// returns what this machine and this user allow.
type Isolation struct {
	User   bool `json:"user"`   // user namespace of its own
	Mount  bool `json:"mount"`  // mount namespace with an empty read-only root
	PID    bool `json:"pid"`    // pid namespace: it sees no other process
	Net    bool `json:"net"`    // network namespace in which no interface is up
	IPC    bool `json:"ipc"`    // System V and POSIX message namespace
	UTS    bool `json:"uts"`    // host name of its own
	Cgroup bool `json:"cgroup"` // cgroup namespace
	UID    int  `json:"uid"`    // host user id it runs under
	GID    int  `json:"gid"`    // host group id it runs under
}

// workload is the user and group under which a node of root runs hosts: far
// away from the ids of people, daemons, containers and dynamic users. Where the
// node itself lives in a user namespace that ends below it, workloadLow is
// used.
const (
	workload    = 1_900_000_000
	workloadLow = 65_533
)

// capabilities that a host of an ordinary user needs inside its user namespace
// until it has built its walls.
var enterCapabilities = []uintptr{unix.CAP_SETPCAP, unix.CAP_SYS_ADMIN}

// wall is one namespace: how it is asked for and where it is noted.
type wall struct {
	name string
	flag uintptr
	has  func(*Isolation) *bool
}

var walls = []wall{
	{"mount", syscall.CLONE_NEWNS, func(i *Isolation) *bool { return &i.Mount }},
	{"pid", syscall.CLONE_NEWPID, func(i *Isolation) *bool { return &i.PID }},
	{"network", syscall.CLONE_NEWNET, func(i *Isolation) *bool { return &i.Net }},
	{"ipc", syscall.CLONE_NEWIPC, func(i *Isolation) *bool { return &i.IPC }},
	{"uts", syscall.CLONE_NEWUTS, func(i *Isolation) *bool { return &i.UTS }},
	{"cgroup", syscall.CLONE_NEWCGROUP, func(i *Isolation) *bool { return &i.Cgroup }},
}

// attributes returns how a process is started with these walls. root: by root,
// who needs no user namespace to make the others; the host makes its own after
// it has changed its ids, so that it owns none of the others, and so that the
// node need not be copied (Go forks without CLONE_VM only for CLONE_NEWUSER).
func (i Isolation) attributes(root bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	for _, w := range walls {
		if *w.has(&i) {
			attr.Cloneflags |= w.flag
		}
	}
	if !root && i.User {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: i.UID, HostID: i.UID, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: i.GID, HostID: i.GID, Size: 1}}
		attr.AmbientCaps = enterCapabilities
	}
	return attr
}

// detectIsolation tries out which walls can be had, and says what is missing.
func detectIsolation() (Isolation, []string) {
	root := os.Getuid() == 0
	iso := Isolation{UID: os.Getuid(), GID: os.Getgid()}
	if root {
		iso.UID = workloadID("/proc/self/uid_map")
		iso.GID = workloadID("/proc/self/gid_map")
	}
	full := iso
	full.User = true
	for _, w := range walls {
		*w.has(&full) = true
	}
	user := tryUserNamespace()
	if user == nil && tryWalls(full, root) == nil {
		return full, nil
	}
	var missing []string
	if user != nil {
		missing = append(missing, fmt.Sprintf("user namespace: %v", user))
	}
	iso.User = user == nil
	for _, w := range walls {
		*w.has(&iso) = true
		if err := tryWalls(iso, root); err != nil {
			missing = append(missing, fmt.Sprintf("%s namespace: %v", w.name, err))
			*w.has(&iso) = false
		}
	}
	return iso, missing
}

// tryWalls starts a process with the walls, and gets it to run a program that
// does not exist: that it fails for this reason shows that all before it
// worked. The change of root, to where it is already, shows that the
// capabilities in the new user namespace count: some systems let anybody make
// one and then grant nothing in it.
func tryWalls(iso Isolation, root bool) error {
	attr := iso.attributes(root)
	if attr.Cloneflags&(syscall.CLONE_NEWUSER|syscall.CLONE_NEWNS) != 0 {
		attr.Chroot = "/"
	}
	return tryStart(attr)
}

func tryUserNamespace() error {
	uid, gid := os.Getuid(), os.Getgid()
	return tryStart(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		Chroot:      "/",
	})
}

func tryStart(attr *syscall.SysProcAttr) error {
	const nothing = "/proc/self/weft-no-such-program"
	_, _, err := syscall.StartProcess(nothing, []string{"weft-try"}, &syscall.ProcAttr{Sys: attr})
	if err == syscall.ENOENT {
		return nil
	}
	return err
}

// workloadID returns the workload's id as far as a map of ids reaches.
func workloadID(mapFile string) int {
	text, err := os.ReadFile(mapFile)
	if err != nil {
		return workloadLow
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		var inside, outside, size int64
		if n, _ := fmt.Sscan(lines.Text(), &inside, &outside, &size); n == 3 && inside <= workload && workload < inside+size {
			return workload
		}
	}
	return workloadLow
}

// emptyNetwork moves the calling thread into a network namespace of its own, in
// which nothing is up. The thread must never run anything else afterwards.
func emptyNetwork() error {
	runtime.LockOSThread()
	return unix.Unshare(unix.CLONE_NEWNET)
}
