package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// State is how well a feature can be used.
type State string

// The states.
const (
	StateOK       State = "ok"       // used as intended
	StateDegraded State = "degraded" // works in part: Fallback says what is used instead
	StateMissing  State = "missing"  // not there: Fallback says what is used instead
)

// Feature is one row of what `weft doctor` prints.
type Feature struct {
	Name     string `json:"name"`               // "user namespaces"
	State    State  `json:"state"`              //
	Detail   string `json:"detail,omitempty"`   // what was found: "ABI 7", "operation not permitted"
	Use      string `json:"use"`                // what weft uses it for
	Fallback string `json:"fallback,omitempty"` // what it does without; set when State is not ok
	Enable   string `json:"enable,omitempty"`   // how to have it; set when State is not ok and something can be done
}

// Report is what a machine gives to weft, tried out and not guessed.
type Report struct {
	Kernel   string    `json:"kernel"`
	Arch     string    `json:"arch"`
	UID      int       `json:"uid"`
	Cores    int       `json:"cores"`
	Memory   int64     `json:"memory"` // bytes
	Features []Feature `json:"features"`
}

// probe is one feature and how to find out about it.
type probe struct {
	name, use, fallback, enable string
	try                         func() (detail string, err error)
}

// errPartly marks what works in part.
var errPartly = errors.New("in part")

func partly(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPartly, fmt.Sprintf(format, args...))
}

// Probe finds out what the machine gives to the user that runs it. It starts a
// few short-lived processes and leaves nothing behind. It takes a few
// milliseconds; when ctx ends, the features that were not reached are absent.
func Probe(ctx context.Context) Report {
	report := Report{Arch: runtime.GOARCH, UID: os.Getuid(), Cores: runtime.NumCPU()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		report.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		report.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	for _, p := range append(wallProbes(), kernelProbes()...) {
		if ctx.Err() != nil {
			break
		}
		report.Features = append(report.Features, p.run())
	}
	return report
}

func (p probe) run() Feature {
	detail, err := p.try()
	f := Feature{Name: p.name, State: StateOK, Detail: detail, Use: p.use}
	if err == nil {
		return f
	}
	f.State, f.Fallback, f.Enable = StateMissing, p.fallback, p.enable
	if errors.Is(err, errPartly) {
		f.State = StateDegraded
	}
	f.Detail = strings.TrimPrefix(err.Error(), errPartly.Error()+": ")
	if detail != "" {
		f.Detail = detail + "; " + f.Detail
	}
	return f
}

// sysctl returns the value of a kernel setting, or "" when there is no such one.
func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// wallProbes are about what a sandbox is made of.
func wallProbes() []probe {
	const asRoot = "run weft as root"
	uses := map[string][2]string{ // name -> use, fallback
		"mount":   {"an empty file tree for each host", "Landlock alone keeps hosts from files, and folders must be granted when a host starts"},
		"pid":     {"hosts see and signal no other process", "the system call filter keeps hosts from signals and tracing"},
		"network": {"hosts have no network", "the system call filter and Landlock keep hosts from connecting"},
		"ipc":     {"hosts share no System V memory", "the system call filter keeps hosts from it"},
		"uts":     {"hosts do not learn the host name", "hosts can read the host name"},
		"cgroup":  {"hosts do not learn the names of groups", "nothing: hosts have no cgroup files"},
	}
	probes := []probe{
		{"cgroups", "limits of memory, processes and CPU; telling that memory ran out",
			"limits of a process and the host's own measuring; memory that many hosts use together is not limited", enableCgroups(), tryCgroups},
		{"user namespaces", "hosts own no privilege anywhere; an ordinary user can make the other namespaces",
			"hosts run under ids without privileges, or under the user's own", enableUserNamespaces(), func() (string, error) {
				return "", tryUserNamespace()
			}},
	}
	user := os.Getuid() == 0 || tryUserNamespace() == nil
	for _, w := range walls {
		probes = append(probes, probe{w.name + " namespaces", uses[w.name][0], uses[w.name][1], asRoot, func() (string, error) {
			iso := Isolation{UID: os.Getuid(), GID: os.Getgid(), User: user}
			*w.has(&iso) = true
			return "", tryWalls(iso, os.Getuid() == 0)
		}})
	}
	return append(probes, probe{"idmapped mounts", "files that a sandbox creates belong to the folder's owner",
		"hosts of an ordinary user run under its own id and need none; hosts of root see the folders as a stranger does", "", tryIDMap})
}

func enableCgroups() string {
	if os.Getuid() == 0 {
		return "mount cgroup version 2 on /sys/fs/cgroup"
	}
	return "start weft in a delegated group: systemd-run --user --scope -p Delegate=yes weft …"
}

// enableUserNamespaces looks at the settings that distributions switch them off
// with.
func enableUserNamespaces() string {
	switch {
	case sysctl("kernel.unprivileged_userns_clone") == "0":
		return "sysctl kernel.unprivileged_userns_clone=1"
	case sysctl("user.max_user_namespaces") == "0":
		return "sysctl user.max_user_namespaces=10000"
	case sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
		return "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for weft that allows userns"
	}
	return "run weft as root, or outside of a container that forbids them"
}

func tryCgroups() (string, error) {
	self, err := findCgroups()
	if err != nil {
		return "", err
	}
	self.suffix = "-probe"
	c := newCgroups(kernelFiles{}, self)
	defer c.close()
	var usable []string
	for _, controller := range wantedControllers {
		if _, ok := c.node[controller]; ok {
			usable = append(usable, controller)
		}
	}
	why := strings.Join(c.missing, "; ")
	if len(usable) == 0 {
		return "", errors.New(why)
	}
	detail := fmt.Sprintf("version %d: %s", c.version, strings.Join(usable, ", "))
	if len(usable) < len(wantedControllers) {
		return detail, partly("%s", why)
	}
	return detail, nil
}

func tryIDMap() (string, error) {
	if os.Getuid() != 0 {
		return "", partly("only root can make them")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := userNamespace(owner{0, 0}, owner{workloadLow, workloadLow})
	if err != nil {
		return "", err
	}
	defer ns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, os.TempDir(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}); err != nil {
		return "", fmt.Errorf("mount_setattr on %s: %w", os.TempDir(), err)
	}
	return "on " + os.TempDir(), nil
}

// kernelProbes are about single features of the kernel.
func kernelProbes() []probe {
	return []probe{
		{"Landlock", "no connections, no signals and no abstract sockets, whatever else fails",
			"the system call filter and the namespaces", "boot with lsm=landlock,… (kernel 5.13 or later; all of it from 6.12)", tryLandlock},
		{"seccomp", "hosts can make only the system calls that they need", "nothing: weft starts no hosts without it",
			"a kernel with CONFIG_SECCOMP_FILTER", trySeccomp},
		{"executable memory files", "the host program runs from memory", "a file on disk", "sysctl vm.memfd_noexec=1 or 0", tryMemfd},
		{"pidfd", "waiting for and ending exactly the right process", "process ids", "kernel 5.4 or later", func() (string, error) {
			fd, err := unix.PidfdOpen(os.Getpid(), 0)
			if err == nil {
				unix.Close(fd)
			}
			return "", err
		}},
		{"PAGEMAP_SCAN", "counting the pages of a view that a function wrote to", "reading the page map entry by entry",
			"kernel 6.7 or later", tryPagemapScan},
		{"userfaultfd", "bringing cold memory back page by page", "bringing it back as a whole",
			"sysctl vm.unprivileged_userfaultfd=1, or root", tryUserfaultfd},
		{"process_madvise", "moving an idle host's memory out from outside", "the host does it when asked", "kernel 5.10 or later", tryProcessMadvise},
		{"huge pages", "arenas and templates with fewer page faults", "ordinary pages",
			"echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", tryHugePages},
		{"swap", "idle memory leaves RAM", "idle hosts are ended instead", "swap on zram, or a swap file", trySwap},
	}
}

func tryLandlock() (string, error) {
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 {
		return "", errno
	}
	detail := fmt.Sprintf("ABI %d", abi)
	switch {
	case abi < 4:
		return detail, partly("files only")
	case abi < 6:
		return detail, partly("no scopes for signals and abstract sockets")
	}
	return detail, nil
}

func trySeccomp() (string, error) {
	const getActionAvail = 2 // SECCOMP_GET_ACTION_AVAIL
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&action)))
	if errno != 0 {
		return "", errno
	}
	return "", nil
}

func tryMemfd() (string, error) {
	f, err := Executable(strings.NewReader("#!/bin/true\n"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	if setting := sysctl("vm.memfd_noexec"); setting != "" {
		return "vm.memfd_noexec=" + setting, nil
	}
	return "", nil
}

func tryUserfaultfd() (string, error) {
	const userModeOnly = 1 // UFFD_USER_MODE_ONLY
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno == 0 {
		unix.Close(int(fd))
		return "", nil
	}
	fd, _, only := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly, 0, 0)
	if only == 0 {
		unix.Close(int(fd))
		return "", partly("faults in user mode only")
	}
	return "", errno
}

func tryPagemapScan() (string, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return "", err
	}
	defer f.Close()
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(page)
	start := uint64(uintptr(unsafe.Pointer(&page[0])))
	const (
		scan    = 0xc0606610 // PAGEMAP_SCAN
		present = 1 << 3     // PAGE_IS_PRESENT
	)
	// struct pm_scan_arg of linux/fs.h
	arg := struct {
		size, flags, start, end, walkEnd, vec, vecLen, maxPages, inverted, mask, anyof, ret uint64
	}{size: 96, start: start, end: start + uint64(len(page)), mask: present, ret: present}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), scan, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return "", errno
	}
	return "", nil
}

func tryProcessMadvise() (string, error) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(page)
	iov := unix.Iovec{Base: &page[0]}
	iov.SetLen(len(page))
	if _, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, unix.MADV_COLD, 0, 0); errno != 0 {
		return "", errno
	}
	return "", nil
}

// tryHugePages reads which of the settings is chosen: the one in brackets.
func tryHugePages() (string, error) {
	chosen := func(file string) string {
		b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/" + file)
		if err != nil {
			return "absent"
		}
		_, rest, _ := strings.Cut(string(b), "[")
		word, _, _ := strings.Cut(rest, "]")
		return word
	}
	anonymous, shared := chosen("enabled"), chosen("shmem_enabled")
	detail := fmt.Sprintf("anonymous memory %s, memory files %s", anonymous, shared)
	switch {
	case anonymous != "always" && anonymous != "madvise":
		return "", errors.New(detail)
	case shared == "never" || shared == "deny" || shared == "absent":
		return "", partly("%s", detail)
	}
	return detail, nil
}

func trySwap() (string, error) {
	b, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) < 2 {
		return "", errors.New("none is on")
	}
	return strings.Fields(lines[1])[0], nil
}
