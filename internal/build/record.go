package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// racy is how long before a record was made a file must have been changed for
// its times to be trusted. Within it a change may have gone unseen, as the
// clock of a file system ticks slowly.
const racy = 2 * time.Second

// record is what one build read and gave.
type record struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"` // before the compiler started
	Inputs  []input   `json:"inputs"`
	Digest  string    `json:"digest"`
	Size    int64     `json:"size"`
	Info    Info      `json:"info"`
}

// recordVersion is raised when the meaning of a record or of Info changes.
const recordVersion = 1

// input is a file, a folder or an absent path that a build depends on. A
// folder stands for the names in it.
type input struct {
	Path    string    `json:"path"`
	Absent  bool      `json:"absent,omitempty"`
	Dir     bool      `json:"dir,omitempty"`
	Size    int64     `json:"size,omitempty"`
	Inode   uint64    `json:"inode,omitempty"`
	Changed time.Time `json:"changed"` // ctime: unlike mtime it cannot be set
	Content string    `json:"content,omitempty"`
}

// observe returns the present state of a path without its content.
func observe(path string) input {
	in := input{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		in.Absent = true
		return in
	}
	in.Dir, in.Size = info.IsDir(), info.Size()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		in.Inode = st.Ino
		in.Changed = time.Unix(st.Ctim.Unix())
	}
	if in.Dir {
		in.Size = 0 // says nothing, and differs between file systems
	}
	return in
}

// content digests what a build may see of the input.
func (in input) content() string {
	switch {
	case in.Absent:
		return ""
	case in.Dir:
		entries, err := os.ReadDir(in.Path)
		if err != nil {
			return "unreadable"
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		sort.Strings(names)
		sum := sha256.Sum256([]byte(strings.Join(names, "\x00")))
		return hex.EncodeToString(sum[:])
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return "unreadable"
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unreadable"
	}
	return hex.EncodeToString(h.Sum(nil))
}

// unchanged reports whether a build at this moment would read the same as the
// one of the record did. Files whose state is the same are not read, unless
// they were changed just before the record was made.
func (in input) unchanged(made time.Time) bool {
	now := observe(in.Path)
	if now.Absent != in.Absent || now.Dir != in.Dir || now.Size != in.Size {
		return false
	}
	if now.Absent {
		return true
	}
	if now.Inode == in.Inode && now.Changed.Equal(in.Changed) && now.Changed.Before(made.Add(-racy)) {
		return true
	}
	return now.content() == in.Content
}

// recall returns the module of a record whose inputs are unchanged.
func (b *Builder) recall(file string, as form) (Module, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Module{}, false
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.Version != recordVersion || len(r.Digest) != sha256.Size*2 {
		return Module{}, false
	}
	m := Module{
		Path:   filepath.Join(b.cfg.CacheDir, "modules", filepath.Base(r.Digest)+as.ext),
		Digest: r.Digest,
		Size:   r.Size,
		Cached: true,
		Info:   r.Info,
	}
	if kept, err := os.Stat(m.Path); err != nil || kept.Size() != r.Size {
		return Module{}, false
	}
	for _, in := range r.Inputs {
		if !in.unchanged(r.Made) {
			return Module{}, false
		}
	}
	use(m.Path)
	use(file)
	return m, true
}

// remember writes a record. A record that cannot be written costs the next
// build its time and nothing else, as does one whose inputs changed while the
// compiler ran: what was read is then not known.
func (b *Builder) remember(file string, m Module, paths []string, made time.Time) {
	r := record{Version: recordVersion, Made: made, Digest: m.Digest, Size: m.Size, Info: m.Info}
	sort.Strings(paths)
	for i, path := range paths {
		if i > 0 && path == paths[i-1] {
			continue
		}
		in := observe(path)
		if in.Changed.After(made) {
			return
		}
		in.Content = in.content()
		r.Inputs = append(r.Inputs, in)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	_ = writeFile(file, data, 0o644)
}
