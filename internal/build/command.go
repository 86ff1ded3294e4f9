package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of what an error keeps of a compiler's output.
const (
	maxOutputBytes = 16 << 10
	maxOutputLines = 30
)

// command is a toolchain program to run.
type command struct {
	path  string
	args  []string
	dir   string
	env   []string // in addition to this process's environment
	quiet bool     // no progress event
}

// String writes the command as one would type it.
func (c command) String() string {
	parts := slices.Clone(c.env)
	for _, a := range append([]string{c.path}, c.args...) {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$\\*?[]{}();&|<>`~#") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		parts = append(parts, a)
	}
	return strings.Join(parts, " ")
}

// run runs a command for a job and returns its standard output. The command
// gets a process group of its own, all of which is killed when ctx ends. It
// does not outlive this process.
func (j *job) run(ctx context.Context, c command) ([]byte, error) {
	if !c.quiet {
		j.progress(Event{Kind: Started, Function: j.source.Function, Command: c.String()})
	}
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir = c.dir
	// Temporary files go where they are removed even if the compiler is killed.
	cmd.Env = append(append(os.Environ(), "TMPDIR="+j.dir), c.env...)
	// The kernel sends the death signal when the thread that started the
	// command ends, so that thread stays until the command is over.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var stdout bytes.Buffer
	stderr := head{limit: maxOutputBytes}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	e := &Error{Source: j.source, Command: c.String(), Output: stderr.lines()}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		e.Message, e.Err, e.Exit = "cannot run the compiler", err, -1
		return nil, e
	}
	e.Exit = exit.ExitCode()
	e.Message = fmt.Sprintf("compiler failed (%s)", exit.ProcessState)
	if e.Output == "" {
		e.Output = "(it wrote nothing to stderr)"
	}
	return nil, e
}

// head is a writer that keeps the beginning of what is written.
type head struct {
	bytes.Buffer
	limit int
	more  bool
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.limit - h.Len(); room < len(p) {
		h.more = true
		h.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return h.Buffer.Write(p)
}

// lines returns what was kept, at most maxOutputLines of it.
func (h *head) lines() string {
	lines := strings.Split(strings.TrimRight(h.String(), "\n"), "\n")
	if len(lines) > maxOutputLines {
		lines, h.more = lines[:maxOutputLines], true
	}
	s := strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD")
	if h.more {
		s += "\n…"
	}
	return s
}
