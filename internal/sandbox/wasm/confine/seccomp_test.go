package confine

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/seccomp"
)

// run interprets a program for one system call, as the kernel would.
func run(t *testing.T, program []unix.SockFilter, arch, call uint32, args ...uint64) uint32 {
	t.Helper()
	data := make([]uint32, 16) // struct seccomp_data, in words
	data[0], data[1] = call, arch
	for i, a := range args {
		data[4+2*i], data[5+2*i] = uint32(a), uint32(a>>32)
	}
	var acc uint32
	for pc := 0; pc < len(program); pc++ {
		in := program[pc]
		holds := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = data[in.K/4]
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			holds = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			holds = acc >= in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			holds = acc > in.K
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.Code)
		}
		if holds {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	t.Fatal("the program does not return")
	return 0
}

func TestFilterDecides(t *testing.T) {
	const pid = 42
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	for _, c := range []struct {
		name string
		role string
		arch uint32
		call uint32
		args []uint64
		want uint32
	}{
		{name: "read", call: unix.SYS_READ, want: allow},
		{name: "another architecture", arch: unix.AUDIT_ARCH_I386, call: unix.SYS_READ, want: kill},
		{name: "x32", call: 0x40000000 | unix.SYS_READ, want: kill},
		{name: "a call of the future", call: seccomp.LastKnown + 1, want: enosys},
		{name: "clone3", call: unix.SYS_CLONE3, want: enosys},
		{name: "openat2", call: unix.SYS_OPENAT2, want: enosys},
		{name: "unlisted", call: unix.SYS_MOUNT, want: eperm},
		{name: "hostile", call: unix.SYS_BPF, want: kill},
		{name: "a thread", call: unix.SYS_CLONE, args: []uint64{thread | unix.CLONE_SETTLS | unix.CLONE_SYSVSEM}, want: allow},
		{name: "a process", call: unix.SYS_CLONE, args: []uint64{uint64(unix.SIGCHLD)}, want: eperm},
		{name: "vfork", call: unix.SYS_CLONE, args: []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, want: eperm},
		{name: "a thread in a namespace", call: unix.SYS_CLONE, args: []uint64{thread | unix.CLONE_NEWNS}, want: eperm},
		{name: "open to read", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_RDONLY, 0xffffffff}, want: allow},
		{name: "create", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_CREAT, 0o644}, want: allow},
		{name: "create setuid", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_CREAT, 0o4755}, want: eperm},
		{name: "create setgid", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_CREAT, 0o2755}, want: eperm},
		{name: "nameless setuid", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_TMPFILE, 0o4755}, want: eperm},
		{name: "a directory", call: unix.SYS_OPENAT, args: []uint64{3, 0, unix.O_DIRECTORY, 0o4755}, want: allow},
		{name: "map data", call: unix.SYS_MMAP, args: []uint64{0, 0, 3}, want: allow},
		{name: "map code", call: unix.SYS_MMAP, args: []uint64{0, 0, 5}, want: allow},
		{name: "map writable code", call: unix.SYS_MMAP, args: []uint64{0, 0, 7}, want: eperm},
		{name: "map code", role: "expr", call: unix.SYS_MMAP, args: []uint64{0, 0, 5}, want: eperm},
		{name: "map data", role: "expr", call: unix.SYS_MMAP, args: []uint64{0, 0, 3}, want: allow},
		{name: "make code", call: unix.SYS_MPROTECT, args: []uint64{0, 0, 5}, want: allow},
		{name: "make writable code", call: unix.SYS_MPROTECT, args: []uint64{0, 0, 7}, want: eperm},
		{name: "signal itself", call: unix.SYS_TGKILL, args: []uint64{pid, 44, 23}, want: allow},
		{name: "signal another", call: unix.SYS_TGKILL, args: []uint64{1, 1, 9}, want: eperm},
		{name: "look at a limit", call: unix.SYS_PRLIMIT64, args: []uint64{0, 7, 0, 0xffff12345678}, want: allow},
		{name: "change a limit", call: unix.SYS_PRLIMIT64, args: []uint64{0, 7, 0x7f0000000000, 0}, want: eperm},
		{name: "change another's limit", call: unix.SYS_PRLIMIT64, args: []uint64{1, 7, 0, 0}, want: eperm},
		{name: "send", call: unix.SYS_SENDTO, args: []uint64{3, 0, 0, unix.MSG_NOSIGNAL, 0, 0}, want: allow},
		{name: "send somewhere", call: unix.SYS_SENDTO, args: []uint64{3, 0, 0, 0, 0x7f0000000000, 16}, want: eperm},
		{name: "fast open", call: unix.SYS_SENDMSG, args: []uint64{3, 0, unix.MSG_FASTOPEN}, want: eperm},
		{name: "no delay", call: unix.SYS_SETSOCKOPT, args: []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, want: allow},
		{name: "another protocol above TCP", call: unix.SYS_SETSOCKOPT, args: []uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, want: eperm},
		{name: "how much can be read", call: unix.SYS_IOCTL, args: []uint64{3, 0x541b}, want: allow},
		{name: "type into a terminal", call: unix.SYS_IOCTL, args: []uint64{3, unix.TIOCSTI}, want: eperm},
		{name: "type into a terminal, high bits set", call: unix.SYS_IOCTL, args: []uint64{3, 1<<32 | unix.TIOCSTI}, want: eperm},
		{name: "name memory", call: unix.SYS_PRCTL, args: []uint64{unix.PR_SET_VMA}, want: allow},
		{name: "become dumpable", call: unix.SYS_PRCTL, args: []uint64{unix.PR_SET_DUMPABLE, 1}, want: eperm},
		{name: "status flags", call: unix.SYS_FCNTL, args: []uint64{3, unix.F_SETFL}, want: allow},
		{name: "own signals", call: unix.SYS_FCNTL, args: []uint64{3, unix.F_SETOWN, 1}, want: eperm},
	} {
		if c.role == "" {
			c.role = "run"
		}
		if c.arch == 0 {
			c.arch = seccomp.AuditArch
		}
		program, err := assemble(policy(c.role, pid))
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, program, c.arch, c.call, c.args...); got != c.want {
			t.Errorf("%s, role %s: got %#x, want %#x", c.name, c.role, got, c.want)
		}
	}
}

func TestNoCallHasTwoRules(t *testing.T) {
	seen := map[uint32]bool{}
	for _, r := range policy("run", 1) {
		if seen[r.call] {
			t.Errorf("call %d has two rules: the second never counts", r.call)
		}
		seen[r.call] = true
	}
}

func TestOtherProgramsAreLeftAlone(t *testing.T) {
	if r := Applied(); r.Host || len(r.Steps) != 0 {
		t.Errorf("%+v", r)
	}
}
