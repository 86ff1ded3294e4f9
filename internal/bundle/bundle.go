// Package bundle packs an app for deployment: its app file, the modules of its
// functions, and the files that it brings along, as one archive whose name is
// its content.
//
//	b, err := bundle.Collect(a, bundle.Parts{Modules: modules}) // where the sources are
//	err = b.Write(w)
//
//	err = bundle.Unpack(r, dir, bundle.Limits{})   // where the app is to run
//	digest, err := bundle.Digest(dir)
//	a, err := bundle.Load(dir)
//
// A server needs no compiler: what it gets is what a sandbox runs. Two bundles
// with the same digest behave the same.
//
//	weft.yaml           the app file, as it was written
//	bundle.json         which module a function is, and where links lead
//	modules/DIGEST.wasm the modules: .bin for programs, .tar for Python
//	weft.lock, wheels/  what functions in Python require (package layer)
//	files/PATH          what grants with relative paths name, as far as it is in the app's folder
//
// A relative path that leads out of the app's folder, through a link or "..", is
// not packed: the bundle says where it leads, and the server decides whether the
// app may see that place.
package bundle

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/app"
)

// Names in a bundle.
const (
	manifestName = "bundle.json"
	modulesName  = "modules"
	filesName    = "files"
	lockName     = "weft.lock"
	wheelsName   = "wheels"
)

// formatVersion is that of the manifest. Newer ones are refused.
const formatVersion = 1

// manifest is bundle.json.
type manifest struct {
	Format  int               `json:"format"`
	Modules map[string]string `json:"modules"`         // by function: a name in the bundle
	Links   map[string]string `json:"links,omitempty"` // by relative path of a grant: where it leads

	// Requirements has by function the digest of what it requires, which the lock
	// knows them by.
	Requirements map[string]string `json:"requirements,omitempty"`
}

// Parts is what an app was built to.
type Parts struct {
	Modules      map[string]string // of the functions, by name: paths of files
	Requirements map[string]string // of functions in Python, by name: the digest by which the lock knows them
	Wheels       []string          // that the lock names: paths of files, each in a folder named by its SHA-256
	Lock         []byte            // weft.lock
}

// Bundle is an app that is ready to be written as an archive.
type Bundle struct {
	entries map[string]entry // by name in the bundle
	digest  string
}

// entry is one file of a bundle.
type entry struct {
	host string // file to read; empty: content
	data []byte
	size int64
	exec bool
	sum  [sha256.Size]byte
}

// Collect finds what belongs to an app and reads it all once.
func Collect(a *app.App, parts Parts) (*Bundle, error) {
	b := &Bundle{entries: map[string]entry{}}
	m := manifest{Format: formatVersion, Modules: map[string]string{}, Requirements: parts.Requirements}
	if a.Text != nil {
		b.text(app.FileName, a.Text)
	} else if err := b.file(app.FileName, a.File, false); err != nil {
		return nil, err
	}
	units := a.Units()
	for _, name := range slices.Sorted(maps.Keys(units)) {
		module := parts.Modules[name]
		if module == "" {
			return nil, fmt.Errorf("pack app %s: function %s has not been built", a.Name, name)
		}
		e, err := read(module, false)
		if err != nil {
			return nil, err
		}
		in := path.Join(modulesName, hex.EncodeToString(e.sum[:16])+filepath.Ext(module))
		b.entries[in], m.Modules[name] = e, in
		for _, g := range units[name].Files {
			if err := b.grant(a, name, g, &m); err != nil {
				return nil, err
			}
		}
	}
	if len(parts.Requirements) > 0 {
		b.text(lockName, parts.Lock)
		for _, file := range parts.Wheels {
			if err := b.file(path.Join(wheelsName, filepath.Base(filepath.Dir(file)), filepath.Base(file)), file, false); err != nil {
				return nil, err
			}
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("pack app %s: %w", a.Name, err)
	}
	b.text(manifestName, text)
	b.digest = digest(b.entries)
	return b, nil
}

// Digest names the content: 16 hexadecimal digits.
func (b *Bundle) Digest() string { return b.digest }

// Size is the sum of the files, in bytes.
func (b *Bundle) Size() int64 {
	var n int64
	for _, e := range b.entries {
		n += e.size
	}
	return n
}

// grant packs what a relative grant names.
func (b *Bundle) grant(a *app.App, function string, g app.FileGrant, m *manifest) error {
	if filepath.IsAbs(g.Host) {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("grant %s of function %s: %w", g.Host, function, err) }
	if g.Write {
		return fail(errors.New("a deployed app cannot write to its own files; grant an absolute folder of the server instead"))
	}
	root, err := filepath.Abs(a.Dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return fail(err)
	}
	host, err := filepath.EvalSymlinks(filepath.Join(root, g.Host))
	if err != nil {
		return fail(err)
	}
	rel, err := filepath.Rel(root, host)
	if err != nil {
		return fail(err)
	}
	if !filepath.IsLocal(rel) || !filepath.IsLocal(g.Host) {
		if m.Links == nil {
			m.Links = map[string]string{}
		}
		m.Links[g.Host] = host
		return nil
	}
	skip, err := readIgnore(root)
	if err != nil {
		return fail(err)
	}
	base := path.Join(filesName, filepath.ToSlash(filepath.Clean(g.Host)))
	for above := path.Dir(base); above != filesName && above != "."; above = path.Dir(above) {
		b.entries[above+"/"] = entry{}
	}
	err = filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if skip.match(filepath.ToSlash(inside), d.IsDir()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		below, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		name := path.Join(base, filepath.ToSlash(below))
		switch {
		case name == filesName:
			return nil
		case d.IsDir():
			b.entries[name+"/"] = entry{}
			return nil
		case d.Type().IsRegular():
			return b.file(name, p, true)
		}
		return fmt.Errorf("%s is a %s; only files and folders can be deployed: name it in %s, or grant the place where it leads", inside, kind(d.Type()), IgnoreName)
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeSymlink:
		return "symbolic link"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeNamedPipe:
		return "pipe"
	}
	return "device"
}

// text adds a file with the content.
func (b *Bundle) text(name string, content []byte) {
	b.entries[name] = entry{data: content, size: int64(len(content)), sum: sha256.Sum256(content)}
}

// file adds a file of the host.
func (b *Bundle) file(name, host string, mode bool) error {
	e, err := read(host, mode)
	if err != nil {
		return err
	}
	b.entries[name] = e
	return nil
}

// read measures a file and sums it up.
func read(host string, mode bool) (entry, error) {
	f, err := os.Open(host)
	if err != nil {
		return entry{}, fmt.Errorf("pack: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return entry{}, fmt.Errorf("pack: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return entry{}, fmt.Errorf("pack %s: %w", host, err)
	}
	e := entry{host: host, size: n, exec: mode && st.Mode()&0o100 != 0}
	h.Sum(e.sum[:0])
	return e, nil
}

// digest sums up names, kinds and contents, in the order of the names.
func digest(entries map[string]entry) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		fmt.Fprintf(h, "%q %v %d %x\n", name, e.exec, e.size, e.sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Write writes the archive: a gzipped tar. A file that has changed since Collect
// is an error.
func (b *Bundle) Write(w io.Writer) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // programs take a quarter of the time, and a tenth more bytes
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(b.entries)) {
		if err := b.entries[name].write(tw, name); err != nil {
			return err
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

func (e entry) write(tw *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: e.size, Mode: 0o644, Format: tar.FormatPAX}
	if e.exec {
		h.Mode = 0o755
	}
	if strings.HasSuffix(name, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	if e.host == "" {
		if _, err := tw.Write(e.data); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		return nil
	}
	f, err := os.Open(e.host)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(tw, io.TeeReader(f, sum))
	if err == nil && (n != e.size || [sha256.Size]byte(sum.Sum(nil)) != e.sum) {
		err = errors.New("the file has changed meanwhile")
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", e.host, err)
	}
	return nil
}

// Digest names the content of an unpacked bundle, as Bundle.Digest does.
func Digest(dir string) (string, error) {
	entries := map[string]entry{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if strings.HasPrefix(name, filesName+"/") {
				entries[name+"/"] = entry{}
			}
			return nil
		}
		e, err := read(p, strings.HasPrefix(name, filesName+"/"))
		entries[name] = e
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sum up %s: %w", dir, err)
	}
	return digest(entries), nil
}

// Load reads the app of an unpacked bundle: its functions' sources are modules,
// and its relative grants are in place.
func Load(dir string) (*app.App, error) {
	a, err := app.Load(dir)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read bundle: %s: %w", manifestName, err)
	}
	if m.Format != formatVersion {
		return nil, fmt.Errorf("read bundle: its format is %d, this weft reads %d: the server is older than the command line", m.Format, formatVersion)
	}
	for name, f := range a.Units() {
		module := m.Modules[name]
		if path.Dir(module) != modulesName || !filepath.IsLocal(module) {
			return nil, fmt.Errorf("read bundle: function %s has no module", name)
		}
		f.Source = filepath.Join(dir, filepath.FromSlash(module))
		if !f.Requirements.IsZero() {
			f.Requirements.Digest, f.Requirements.Wheels = m.Requirements[name], filepath.Join(dir, wheelsName)
		}
		for i, g := range f.Files {
			if filepath.IsAbs(g.Host) {
				continue
			}
			if to := m.Links[g.Host]; to != "" {
				if !filepath.IsAbs(to) || filepath.Clean(to) != to {
					return nil, fmt.Errorf("read bundle: grant %s of function %s leads to %q", g.Host, name, to)
				}
				f.Files[i].Host = to
				continue
			}
			if !filepath.IsLocal(g.Host) {
				return nil, fmt.Errorf("read bundle: grant %s of function %s leads out of the app", g.Host, name)
			}
			f.Files[i].Host = filepath.Join(dir, filesName, filepath.Clean(g.Host))
		}
	}
	return a, nil
}
