package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/yamlfile"
)

// CheckApp compares what an app asks for with what the operator grants. The
// error, of type app.Errors, has all that is not granted, each with its place
// in the app file. Links in the paths of folders are followed as they are on
// disk now.
func (c *Config) CheckApp(a *app.App) error {
	k := checker{config: c, app: a}
	for _, f := range c.Grants.Folders {
		// A folder that cannot be looked at holds nothing that could be granted.
		if path, err := realPath(f.Path); err == nil {
			k.folders = append(k.folders, Folder{path, f.Write})
		}
	}
	units := a.Units()
	for _, name := range slices.Sorted(maps.Keys(units)) {
		k.function(units[name])
	}
	if len(k.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(k.errs, func(a, b *app.Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return k.errs
}

// checker is the state of one CheckApp.
type checker struct {
	config  *Config
	app     *app.App
	folders []Folder // that are granted, without links
	errs    app.Errors
}

// refuse notes that the node does not grant what is at a place.
func (k *checker) refuse(at app.Pos, hint, format string, args ...any) {
	k.errs = append(k.errs, &app.Error{File: k.app.File, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (k *checker) function(f *app.Function) {
	g := k.config.Grants
	if f.Runtime != app.RuntimeWasm && !g.Native { // Python loads native code as it likes
		k.refuse(f.Place("runtime"), "build it as WebAssembly, or set grants.native in the node's configuration", "function %s is %s, which is native code, and this node allows none", f.Name, f.Runtime)
	}
	if f.Memory > g.Memory {
		k.refuse(f.Place("memory"), "raise grants.memory in the node's configuration, or use less", "function %s has %s of memory; this node grants %s at most",
			f.Name, yamlfile.WriteSize(f.Memory), yamlfile.WriteSize(g.Memory))
	} else if all := k.config.Limits.Memory; all > 0 && f.Memory > all {
		k.refuse(f.Place("memory"), "raise limits.memory in the node's configuration, or use less", "function %s has %s of memory; this node has %s for all",
			f.Name, yamlfile.WriteSize(f.Memory), yamlfile.WriteSize(all))
	}
	for i, file := range f.Files {
		k.file(f, file, f.Place("files["+strconv.Itoa(i)+"]"))
	}
	for i, address := range f.Dial {
		host, port, err := net.SplitHostPort(address)
		n, nerr := strconv.Atoi(port)
		if err != nil || nerr != nil || !slices.ContainsFunc(g.Dial, func(p Peer) bool { return p.Allows(host, n) }) {
			k.refuse(f.Place("dial["+strconv.Itoa(i)+"]"), "add it to grants.dial in the node's configuration", "function %s connects to %s, which this node does not grant", f.Name, address)
		}
	}
	for i, port := range f.Listen {
		if !slices.ContainsFunc(g.Listen, func(p Ports) bool { return p.Has(port) }) {
			k.refuse(f.Place("listen["+strconv.Itoa(i)+"]"), "add it to grants.listen in the node's configuration", "function %s accepts on port %d, which this node does not grant", f.Name, port)
		}
	}
}

// file checks a grant of a file or a folder.
func (k *checker) file(f *app.Function, file app.FileGrant, at app.Pos) {
	if k.app.Dir == "" && filepath.IsLocal(file.Host) {
		return // the app is not on disk; what is there will be checked again
	}
	host := file.Host
	if !filepath.IsAbs(host) {
		host = filepath.Join(k.app.Dir, host)
	}
	path, err := realPath(host)
	if err != nil {
		k.refuse(at, "look at the links on the way there", "function %s reads %s, which leads nowhere: %v", f.Name, file.Host, reason(err))
		return
	}
	if k.app.Dir != "" {
		if own, err := realPath(k.app.Dir); err == nil && isInside(path, own) {
			return
		}
	}
	inside := func(f Folder) bool { return isInside(path, f.Path) }
	switch {
	case !slices.ContainsFunc(k.folders, inside):
		k.refuse(at, "add a folder to grants.folders in the node's configuration, or move the files into the app", "function %s reads %s, which this node does not grant", f.Name, file.Host)
	case file.Write && !slices.ContainsFunc(k.folders, func(f Folder) bool { return f.Write && inside(f) }):
		k.refuse(at, "add :rw to the folder in grants.folders of the node's configuration, or grant it with :ro", "function %s writes to %s, which this node grants for reading", f.Name, file.Host)
	}
}

// isInside reports whether path is dir or below it. Both are absolute and clean.
func isInside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// realPath follows the links of a path. What does not exist at its end stays as
// it is; a link that leads nowhere is an error, since one day it may lead
// somewhere.
func realPath(path string) (string, error) {
	path, rest := filepath.Clean(path), ""
	for {
		found, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(found, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if _, lerr := os.Lstat(path); lerr == nil {
			return "", err
		}
		if parent := filepath.Dir(path); parent != path {
			path, rest = parent, filepath.Join(filepath.Base(path), rest)
			continue
		}
		return "", err
	}
}

// reason leaves the call and the path out of an error about a file.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return errors.New(strings.ToLower(err.Error()))
}
