package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// job is one installation.
type job struct {
	store   *Store
	request Request
	dir     string // for temporary files
}

// resolve has pip choose wheels and download them into the cache.
func (j *job) resolve(ctx context.Context) ([]Wheel, error) {
	list := filepath.Join(j.request.Dir, j.request.File)
	if j.request.File == "" {
		list = filepath.Join(j.dir, "requirements.txt")
		if err := os.WriteFile(list, []byte(strings.Join(j.request.Lines, "\n")+"\n"), 0o644); err != nil {
			return nil, &Error{Request: j.request, Message: "cannot write to the cache", Err: err}
		}
	}
	got, err := j.download(ctx, "-r", list)
	if err != nil {
		return nil, err
	}
	pins := []Wheel{}
	for _, path := range got {
		w := Wheel{File: filepath.Base(path)}
		if !strings.HasSuffix(w.File, ".whl") {
			return nil, &Error{Request: j.request, Message: w.File + " is a source distribution, which would have to be built",
				Hint: "build it with `pip wheel -w wheels NAME`, and say `--find-links wheels` in the requirements"}
		}
		if w.SHA256, err = digest(path); err == nil {
			err = w.check()
		}
		if err == nil {
			err = j.keep(path, w)
		}
		if err != nil {
			return nil, &Error{Request: j.request, Message: "cannot keep " + w.File, Err: err}
		}
		pins = append(pins, w)
	}
	slices.SortFunc(pins, byFile)
	return pins, nil
}

// fetch sees to it that the wheels of a lock are in the cache: they are there,
// came along, or are downloaded.
func (j *job) fetch(ctx context.Context, pins []Wheel) error {
	var missing []Wheel
	for _, w := range pins {
		if _, err := os.Stat(j.store.wheel(w)); err == nil {
			continue
		}
		found, err := j.brought(w)
		if err != nil {
			return err
		}
		if !found {
			missing = append(missing, w)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if j.request.Offline {
		return &Error{Request: j.request, Message: missing[0].File + " did not come with the app", Hint: "deploy the app again"}
	}
	var text strings.Builder
	for _, w := range missing {
		fmt.Fprintf(&text, "%s==%s --hash=sha256:%s\n", w.Name(), w.Version(), w.SHA256)
	}
	list := filepath.Join(j.dir, "locked.txt")
	if err := os.WriteFile(list, []byte(text.String()), 0o644); err != nil {
		return &Error{Request: j.request, Message: "cannot write to the cache", Err: err}
	}
	args := []string{"--no-deps", "--require-hashes", "-r", list}
	args = append(args, j.sources()...)
	got, err := j.download(ctx, args...)
	if err != nil {
		return err
	}
	for _, w := range missing {
		i := slices.IndexFunc(got, func(path string) bool { return filepath.Base(path) == w.File })
		if i < 0 {
			return &Error{Request: j.request, Message: "the index has no " + w.File + " any more", Hint: "remove " + LockName + " to choose anew"}
		}
		if err := j.verified(got[i], w); err != nil {
			return err
		}
	}
	return nil
}

// sources are the options of the requirements that say where wheels are: a lock
// says only which.
func (j *job) sources() []string {
	lines := j.request.Lines
	if j.request.File != "" {
		text, err := os.ReadFile(filepath.Join(j.request.Dir, j.request.File))
		if err != nil {
			return nil // it was read before
		}
		lines = strings.Split(string(text), "\n")
	}
	var out []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		for _, option := range []string{"--find-links", "-f", "--index-url", "-i", "--extra-index-url"} {
			rest, ok := strings.CutPrefix(line, option)
			if ok && rest != "" && (rest[0] == ' ' || rest[0] == '=') {
				out = append(out, option, strings.TrimSpace(rest[1:]))
			}
		}
		if line == "--no-index" {
			out = append(out, line)
		}
	}
	return out
}

// brought looks for a wheel in the folder that came along.
func (j *job) brought(w Wheel) (bool, error) {
	if j.request.Wheels == "" {
		return false, nil
	}
	for _, path := range []string{filepath.Join(j.request.Wheels, w.SHA256, w.File), filepath.Join(j.request.Wheels, w.File)} {
		if _, err := os.Stat(path); err == nil {
			return true, j.verified(path, w)
		}
	}
	return false, nil
}

// verified keeps a wheel that is what the lock says.
func (j *job) verified(path string, w Wheel) error {
	sum, err := digest(path)
	if err == nil && sum != w.SHA256 {
		return &Error{Request: j.request, Message: fmt.Sprintf("%s is not what %s says: its SHA-256 is %s instead of %s", w.File, LockName, sum, w.SHA256),
			Hint: "somebody has changed it; if that is right, remove " + LockName + " to choose anew"}
	}
	if err == nil {
		err = j.keep(path, w)
	}
	if err != nil {
		return &Error{Request: j.request, Message: "cannot keep " + w.File, Err: err}
	}
	return nil
}

// keep copies a wheel into the cache.
func (j *job) keep(path string, w Wheel) error {
	to := j.store.wheel(w)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	part := filepath.Join(j.dir, "part")
	if err := os.WriteFile(part, data, 0o644); err != nil {
		return err
	}
	return os.Rename(part, to)
}

// download runs pip, and returns what it has downloaded.
func (j *job) download(ctx context.Context, args ...string) ([]string, error) {
	dir := filepath.Join(j.dir, "download")
	// --prefer-binary and the like are left to the requirements; what has no
	// wheel is an error, unless they say --no-binary, which is refused later.
	all := append([]string{"-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off",
		"--quiet", "--only-binary", ":all:", "--dest", dir}, args...)
	if out, err := j.python(ctx, append(all, j.store.o.Pip...)); err != nil {
		return nil, j.explain(out, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Request: j.request, Message: "cannot read what pip has downloaded", Err: err}
	}
	var files []string
	for _, e := range entries {
		files = append(files, filepath.Join(dir, e.Name()))
	}
	return files, nil
}

// pipTime bounds one run of pip or of the compiler.
const pipTime = 20 * time.Minute

// python runs the interpreter in the app's folder, in a process group of its own
// that does not outlive this process, and returns what it writes to its
// standard error.
func (j *job) python(ctx context.Context, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pipTime)
	defer cancel()
	name, err := exec.LookPath(j.store.o.Python) // not the resolved path: that would leave a virtual environment
	if err != nil {
		return "", err
	}
	if name, err = filepath.Abs(name); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = j.request.Dir
	cmd.Env = append(os.Environ(), "TMPDIR="+j.dir, "PYTHONDONTWRITEBYTECODE=1")
	// The kernel sends the death signal when the thread that started the
	// process ends, so that thread stays until it is over.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	return said.String(), err
}

// explain makes an error of what pip says.
func (j *job) explain(out string, err error) *Error {
	e := &Error{Request: j.request, Message: "pip failed", Output: complaints(out), Err: err}
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(out, p) })
	}
	switch {
	case has("No module named pip"):
		e.Message, e.Err, e.Output = "this Python has no pip", nil, ""
		e.Hint = "install it (apt-get install python3-pip), or name another interpreter with the option python"
	case has("DO NOT MATCH THE HASHES", "HASHES ARE REQUIRED"):
		e.Message, e.Err = "a package is not what its hash says", nil
		e.Hint = "somebody has changed it; if that is right, remove its hash, or " + LockName
	case has("NewConnectionError", "Failed to establish", "name resolution", "Max retries exceeded", "ConnectTimeout", "ProxyError", "SSLError", "Connection refused"):
		e.Message, e.Err = "the package index cannot be reached", nil
		e.Hint = "once " + LockName + " is there and the wheels are in the cache, no index is needed; or say --find-links FOLDER in the requirements"
	case has("No matching distribution found", "Could not find a version"):
		e.Message, e.Err = "a package, in that version and as a wheel for this Python, is not there", nil
		e.Hint = "see that name and version are right; of a package that comes as source only build a wheel with `pip wheel -w wheels NAME`, and say `--find-links wheels` in the requirements"
	case has("ResolutionImpossible"):
		e.Message, e.Err = "the requirements contradict each other", nil
	case has("Invalid requirement"):
		e.Message, e.Err = "a requirement is malformed", nil
	}
	return e
}

// complaints are the lines of pip's output that matter, the first twenty.
func complaints(out string) string {
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(out, "\uFFFD")) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "WARNING: Retrying") || strings.HasPrefix(line, "[notice]") || len(lines) == 20 {
			continue
		}
		if len(line) > 300 {
			line = strings.ToValidUTF8(line[:300], "") + "…"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// unlocked is the error of requirements that are not in the lock.
func (j *job) unlocked(tags []string) *Error {
	e := &Error{Request: j.request, Message: LockName + " does not have them", Hint: "build the app, and deploy what that gives"}
	if len(tags) > 0 {
		e.Message = fmt.Sprintf("%s has them for %s, and the Python here is %s", LockName, strings.Join(tags, ", "), j.store.found.Tag)
		e.Hint = "build the app with a Python like that of the machine where it is to run, or give that machine one"
	}
	return e
}

// compileScript compiles the modules of a folder. It reads them and runs none.
// What does not compile, such as templates and code for other versions, is left
// as it is. Limits keep a source that is made for it from taking the machine.
const compileScript = `import compileall, py_compile, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (1200, 1200))
compileall.compile_dir(sys.argv[1], quiet=2, force=True, maxlevels=100, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`

// compile makes the byte code of a layer's modules.
func (j *job) compile(ctx context.Context, dir string) error {
	if out, err := j.python(ctx, []string{"-I", "-S", "-c", compileScript, dir}); err != nil {
		return &Error{Request: j.request, Message: "cannot compile the modules", Output: complaints(out), Err: err}
	}
	return nil
}
