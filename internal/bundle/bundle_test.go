package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
)

// write makes files below dir, with their folders.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// folder makes an app that brings files along and links out of its folder.
func folder(t *testing.T) (a *app.App, modules map[string]string, outside string) {
	t.Helper()
	dir, outside := t.TempDir(), t.TempDir()
	write(t, dir, map[string]string{
		"weft.yaml": `name: shop
functions:
  f: {source: ./f.wasm, files: ["./in/data::/data", "./out::/out", "/etc::/etc"]}
  g: {source: ./f.wasm}
workflows: {main: {steps: {f: {call: f}}}}
`,
		".weftignore":       "# not these\n*.log\nin/data/tmp/\n",
		"in/data/a/x.txt":   "x",
		"in/data/noise.log": "noise",
		"in/data/tmp/y":     "y",
		"f.wasm":            "module",
	})
	if err := os.Mkdir(filepath.Join(dir, "in/data/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := filepath.Join(dir, "f.wasm")
	return a, map[string]string{"f": m, "g": m}, outside
}

func TestBundleComesBackAsItWas(t *testing.T) {
	a, modules, outside := folder(t)
	b, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := b.Write(&archive); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := bundle.Unpack(&archive, dir, bundle.Limits{}); err != nil {
		t.Fatal(err)
	}
	if d, err := bundle.Digest(dir); err != nil || d != b.Digest() {
		t.Errorf("digest %s of what was unpacked, %s of what was packed: %v", d, b.Digest(), err)
	}
	got, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := got.Functions["f"].Files
	want := []string{filepath.Join(dir, "files/in/data"), outside, "/etc"}
	for i, w := range want {
		if real, _ := filepath.EvalSymlinks(w); files[i].Host != w && files[i].Host != real {
			t.Errorf("grant %d leads to %s, want %s", i, files[i].Host, w)
		}
	}
	if text, err := os.ReadFile(filepath.Join(files[0].Host, "a/x.txt")); err != nil || string(text) != "x" {
		t.Errorf("packed file: %q, %v", text, err)
	}
	for _, gone := range []string{"noise.log", "tmp"} {
		if _, err := os.Stat(filepath.Join(files[0].Host, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was packed in spite of .weftignore: %v", gone, err)
		}
	}
	if st, err := os.Stat(filepath.Join(files[0].Host, "empty")); err != nil || !st.IsDir() {
		t.Errorf("the empty folder is missing: %v", err)
	}
	if f, g := got.Functions["f"].Source, got.Functions["g"].Source; f != g {
		t.Errorf("one module is in the bundle twice: %s, %s", f, g)
	}
}

func TestDigestNamesTheContent(t *testing.T) {
	a, modules, _ := folder(t)
	first, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.Dir, map[string]string{"in/data/noise.log": "other noise"})
	same, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil || same.Digest() != first.Digest() {
		t.Errorf("a file that is left out changes the digest: %v", err)
	}
	write(t, a.Dir, map[string]string{"in/data/a/x.txt": "z"})
	other, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil || other.Digest() == first.Digest() {
		t.Errorf("another content has the same digest: %v", err)
	}
	if err := first.Write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("a file changes between Collect and Write: %v", err)
	}
}

func TestWritableFilesOfTheAppAreRefused(t *testing.T) {
	a, modules, _ := folder(t)
	a.Functions["f"].Files[0].Write = true
	if _, err := bundle.Collect(a, bundle.Parts{Modules: modules}); err == nil || !strings.Contains(err.Error(), "cannot write to its own files") {
		t.Errorf("a writable grant: %v", err)
	}
}

// archive makes a gzipped tar of these headers, each with its size in zeros.
func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestUnpackRefuses(t *testing.T) {
	reg := func(name string, size int64) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size, Mode: 0o644}
	}
	tests := map[string][]tar.Header{
		"absolute":        {reg("/etc/passwd", 1)},
		"upwards":         {reg("files/../../x", 1)},
		"unknown":         {reg("bin/sh", 1)},
		"link":            {{Name: "files/l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		"hard link":       {{Name: "files/l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"device":          {{Name: "files/d", Typeflag: tar.TypeChar}},
		"large":           {reg("files/a", 60), reg("files/b", 60)},
		"many":            {reg("files/a", 1), reg("files/b", 1), reg("files/c", 1), reg("files/d", 1), reg("files/e", 1)},
		"twice":           {reg("files/a", 1), reg("files/a", 1)},
		"file and folder": {reg("files/a", 1), reg("files/a/b", 1)},
		"folder and file": {reg("files/a/b", 1), reg("files/a", 1)},
		"deep":            {reg("files/a/b/c/d", 1)},
		"long name":       {reg("files/"+strings.Repeat("x", 300), 1)},
		"app file":        {reg("weft.yaml", 2<<20)},
		"manifest":        {reg("bundle.json", 9<<20)},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			l := bundle.Limits{Size: 100, Files: 4}
			if strings.Contains(name, "file") { // these are refused for themselves
				l.Size = 1 << 30
			}
			if err := bundle.Unpack(archive(t, headers...), t.TempDir(), l); !errors.Is(err, bundle.ErrBundle) {
				t.Errorf("it was unpacked: %v", err)
			}
		})
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("no archive"))
	var good bytes.Buffer
	zw := gzip.NewWriter(&good)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(&tar.Header{Name: "files/a/b", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644}); err != nil {
		f.Fatal(err)
	}
	if _, err := tw.Write([]byte("x")); err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Fuzz(func(t *testing.T, src []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		err := bundle.Unpack(bytes.NewReader(src), dir, bundle.Limits{Size: 1 << 16, Files: 50})
		if list, _ := os.ReadDir(above); len(list) != 1 {
			t.Fatalf("it left its folder: %v", list)
		}
		if err == nil {
			if _, err := bundle.Digest(dir); err != nil {
				t.Fatal(err)
			}
		}
	})
}
