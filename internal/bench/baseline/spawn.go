package baseline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hello is what every Spawn prints.
const Hello = "hello\n"

// Spawn is a way to start a program that prints Hello and ends.
type Spawn struct {
	command []string
	attr    *syscall.SysProcAttr
}

// NewProcess spawns a plain process: an executable of 159 bytes without a C library, written into dir. Its start is as cheap as that of a
// process can be, so what is compared with it is not flattered.
func NewProcess(dir string) (*Spawn, error) {
	path, err := writeTiny(dir)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	return probed(&Spawn{command: []string{path}})
}

// NewNamespacedProcess spawns the same executable in user, mount, pid, network, ipc and uts namespaces of its own.
func NewNamespacedProcess(dir string) (*Spawn, error) {
	path, err := writeTiny(dir)
	if err != nil {
		return nil, fmt.Errorf("namespaced process: %w", err)
	}
	s, err := probed(&Spawn{command: []string{path}, attr: &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 65534, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 65534, HostID: os.Getgid(), Size: 1}},
	}})
	if err != nil {
		return nil, fmt.Errorf("namespaced process: %w", err)
	}
	return s, nil
}

// NewPython spawns a python3 interpreter without site packages.
func NewPython() (*Spawn, error) {
	path, err := exec.LookPath("python3")
	if err != nil {
		return nil, fmt.Errorf("python3: %w", err)
	}
	// What is found may be a script that looks for the interpreter; only the interpreter itself is to be timed.
	out, err := exec.Command(path, "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return nil, fmt.Errorf("python3: ask %s for its executable: %w", path, err)
	}
	return probed(&Spawn{command: []string{strings.TrimSpace(string(out)), "-S", "-E", "-I", "-c", "print('hello')"}})
}

// probed tries s once.
func probed(s *Spawn) (*Spawn, error) {
	out, err := s.Run(context.Background())
	if err != nil {
		return nil, err
	}
	if string(out) != Hello {
		return nil, fmt.Errorf("%s printed %q, want %q", s.command[0], out, Hello)
	}
	return s, nil
}

// Run starts the program, waits for its end and returns what it printed.
func (s *Spawn) Run(ctx context.Context) ([]byte, error) {
	c := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	c.SysProcAttr = s.attr
	c.Env = []string{}
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w", filepath.Base(s.command[0]), err)
	}
	return out.Bytes(), nil
}

// writeTiny writes the tiny executable into dir unless it is there.
func writeTiny(dir string) (string, error) {
	image, err := tinyExecutable(Hello)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tiny")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, image) {
		return path, nil
	}
	if err := os.WriteFile(path, image, 0o755); err != nil {
		return "", err
	}
	return path, nil
}

// errArchitecture says that the tiny executable has no code for this processor.
var errArchitecture = errors.New("no tiny executable for " + runtime.GOARCH)

// tinyExecutable is a static ELF executable that writes text to its standard output and exits: a file header, one program header that maps
// the whole file, 33 bytes of code, the text. Layout and field order are those of elf(5).
func tinyExecutable(text string) ([]byte, error) {
	if runtime.GOARCH != "amd64" {
		return nil, errArchitecture
	}
	const base, headers = 0x400000, 64 + 56
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 1, 0, 0, 0, // mov edi, 1 (standard output)
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, [rip+16] (the text, after the code)
		0xba, byte(len(text)), byte(len(text) >> 8), 0, 0, // mov edx, length
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}
	size := uint64(headers + len(code) + len(text))
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	le := binary.LittleEndian
	b = le.AppendUint16(b, 2)            // executable
	b = le.AppendUint16(b, 62)           // x86-64
	b = le.AppendUint32(b, 1)            // version
	b = le.AppendUint64(b, base+headers) // entry
	b = le.AppendUint64(b, 64)           // program headers
	b = le.AppendUint64(b, 0)            // no sections
	b = le.AppendUint32(b, 0)            // flags
	b = le.AppendUint16(b, 64)           // size of this header
	b = le.AppendUint16(b, 56)           // of a program header
	b = le.AppendUint16(b, 1)            // of which there is one
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // readable, executable
	b = le.AppendUint64(b, 0) // from the start of the file
	b = le.AppendUint64(b, base)
	b = le.AppendUint64(b, base)
	b = le.AppendUint64(b, size)
	b = le.AppendUint64(b, size)
	b = le.AppendUint64(b, 4096)
	return append(append(b, code...), text...), nil
}
