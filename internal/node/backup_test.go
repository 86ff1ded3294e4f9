package node_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
)

// A backup is of one moment, however much goes on: what is restored has every
// run that was accepted before, with its bytes, and those under way go on.
func TestBackupUnderLoad(t *testing.T) {
	s := serve(t, t.TempDir())
	const yaml = `functions: {f: {source: ACTOR, env: {N: "%d"}}, big: {source: ACTOR, output: bytes}}
workflows:
  main:
    steps:
      put: {call: f, with: {do: "put data 1000000 0 ${ .input.fill }"}}
      wait: {needs: [put], wait: "20ms"}
      sum: {call: f, needs: [wait], with: {do: "take put/data"}}
      big: {call: big, needs: [sum], with: {do: "emit 1000000"}}
    output: {sum: "${ .sum }", big: "${ .big }"}
  held:
    steps:
      put: {call: f, with: {do: "put data 1000000 0 7"}}
      hold: {needs: [put], signal: go}
      sum: {call: f, needs: [hold], with: {do: "take put/data"}}
    output: "${ .sum }"
`
	deploy(t, s, fmt.Sprintf(yaml, 0))
	held, _, err := s.Runs.Start(t.Context(), engine.StartRequest{App: "test", Workflow: "held"})
	if err != nil {
		t.Fatal(err)
	}
	var done []engine.Run // before the backup
	for i := range 5 {
		done = append(done, ended(t, s, start(t, s, map[string]any{"fill": fmt.Sprint(i + 1)}).ID))
	}
	if !eventually(func() bool {
		d, err := s.Runs.Get(t.Context(), held.ID)
		return err == nil && len(d.Signals) == 1
	}) {
		t.Fatal("the run does not wait for its signal")
	}
	stop := make(chan struct{})
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() {
			for n := range 50 { // not more: a backup is as large, and takes as long, as what they leave
				select {
				case <-stop:
					return
				default:
				}
				r := start(t, s, map[string]any{"fill": fmt.Sprint(10 + (i+n)%100)})
				if r = ended(t, s, r.ID); r.Status != engine.Succeeded {
					t.Errorf("%+v", r)
					return
				}
			}
		})
	}
	work.Go(func() { // versions come and go
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			v := deploy(t, s, fmt.Sprintf(yaml, n))
			if _, err := s.Apps.Rollback(t.Context(), "test"); err != nil {
				t.Error(err)
			}
			s.Apps.DeleteVersion(t.Context(), "test", v.ID) // a run may have it
		}
	})
	var archives [3]bytes.Buffer
	for i := range archives {
		if err := s.Backup(t.Context(), &slowWriter{w: &archives[i]}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	work.Wait()
	if err := s.Runs.Cancel(t.Context(), held.ID, "over"); err != nil {
		t.Fatal(err)
	}
	for i := range archives {
		t.Run(fmt.Sprint("restored ", i), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := node.Restore(t.Context(), &archives[i], dir); err != nil {
				t.Fatal(err)
			}
			r := serveBeside(t, dir)
			for _, was := range done {
				is, err := r.Runs.Get(t.Context(), was.ID)
				if err != nil || is.Status != engine.Succeeded || asJSON(t, is.Output) != asJSON(t, was.Output) {
					t.Errorf("run %s is %+v: %v", was.ID, is.Run, err)
				}
				if want := strings.Repeat("e", 1_000_000); stored(t, r, is.Run) != want {
					t.Errorf("run %s has other bytes", was.ID)
				}
			}
			if err := r.Runs.Signal(t.Context(), held.ID, "go", "", nil); err != nil {
				t.Fatal(err)
			}
			if run := ended(t, r, held.ID); run.Status != engine.Succeeded || !strings.Contains(fmt.Sprint(run.Output), "1000000 bytes") {
				t.Errorf("the run that waited: %+v", run)
			}
			list, _, err := r.Runs.List(t.Context(), engine.Filter{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range list { // those that were under way
				if run = ended(t, r, run.ID); run.Status != engine.Succeeded {
					t.Errorf("run %s: %+v", run.ID, run.Failure)
				}
			}
			for _, a := range r.Apps.List() {
				versions, err := r.Apps.Versions(a.Name)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range versions {
					if _, _, err := r.Apps.Get(a.Name, v.ID); err != nil {
						t.Errorf("version %s: %v", v.ID, err)
					}
				}
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stored is what the buffer "big" of a run's output holds.
func stored(t *testing.T, s *node.Server, r engine.Run) string {
	t.Helper()
	out, _ := r.Output.(map[string]any)
	ref, _ := out["big"].(map[string]any)
	slot, _ := ref["$buffer"].(string)
	b, _, err := s.Runs.Open(t.Context(), r.ID, slot)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer b.Close()
	text, err := io.ReadAll(b)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// slowWriter takes its time now and then, as a client over a network does.
type slowWriter struct {
	w io.Writer
	n int
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.n++; w.n%64 == 0 {
		eventually(func() bool { w.n++; return w.n%3 == 0 })
	}
	return w.w.Write(p)
}

// saved is a small backup.
func saved(t *testing.T) []byte {
	t.Helper()
	s := serveBeside(t, t.TempDir())
	defer s.Close()
	deploy(t, s, actorApp(""))
	ended(t, s, start(t, s, map[string]any{"do": "log there"}).ID)
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestABackupThatIsCutShort(t *testing.T) {
	whole := saved(t)
	dir := t.TempDir()
	cuts := []int{0, 100}
	r := &counting{r: bytes.NewReader(whole)}
	tr := tar.NewReader(r)
	for {
		if _, err := tr.Next(); err != nil {
			break
		}
		cuts = append(cuts, r.n-512, r.n, r.n+100)
	}
	for _, n := range cuts {
		if n >= len(whole)-1024 {
			continue
		}
		err := node.Restore(t.Context(), bytes.NewReader(whole[:n]), dir)
		if err == nil {
			t.Fatalf("%d of %d bytes are restored", n, len(whole))
		}
		if list, _ := os.ReadDir(dir); len(list) > 1 {
			t.Fatalf("%d bytes leave %v", n, list)
		}
	}
	if err := node.Restore(t.Context(), bytes.NewReader(whole), dir); err != nil {
		t.Errorf("into the same folder, whole: %v", err)
	}
	err := node.Restore(t.Context(), bytes.NewReader(whole), dir)
	wantError(t, err, "data folder "+dir, "is not empty")
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// A restore that is interrupted leaves a folder that no server takes, and that
// can be restored once more.
func TestAnInterruptedRestore(t *testing.T) {
	whole := saved(t)
	dir := t.TempDir()
	for _, name := range []string{"restore.partial", "lock", "store/half"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := node.Serve(t.Context(), serverConfig(t, dir)); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("a server takes it: %v", err)
	}
	if err := node.Restore(t.Context(), bytes.NewReader(whole), dir); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	list, _, err := s.Runs.List(t.Context(), engine.Filter{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	var lines []string
	over := make(chan struct{})
	close(over)
	for line, err := range s.Logs.Read(t.Context(), list[0].ID, over) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Text)
	}
	if !slices.Equal(lines, []string{"there"}) {
		t.Errorf("its log: %q", lines)
	}
}

func TestHostileArchives(t *testing.T) {
	head := tar.Header{Name: "backup.json", Typeflag: tar.TypeReg, Mode: 0o600}
	reg := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o6777}
	}
	tests := map[string][]tar.Header{
		"upwards":            {reg("store/../../x")},
		"absolute":           {reg("/etc/x")},
		"link":               {{Name: "apps/l", Typeflag: tar.TypeSymlink, Linkname: "/"}, reg("apps/l/x")},
		"hard link":          {{Name: "apps/l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"device":             {{Name: "apps/d", Typeflag: tar.TypeChar}},
		"machine code":       {reg("cache/images/x.image")},
		"the lock":           {reg("lock")},
		"audit":              {reg("audit.log")},
		"twice":              {reg("apps/a"), reg("apps/a")},
		"two heads":          {reg("backup.json")},
		"no end":             {reg("apps/a")},
		"a file as a folder": {reg("apps"), reg("apps/a")},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "data")
			var b bytes.Buffer
			tw := tar.NewWriter(&b)
			text := []byte(`{"format": 1}`)
			first := head
			first.Size = int64(len(text))
			write := func(h tar.Header, text []byte) {
				if err := tw.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := tw.Write(text); err != nil {
					t.Fatal(err)
				}
			}
			write(first, text)
			for _, h := range headers {
				write(h, nil)
			}
			if name != "no end" {
				write(reg("backup.end"), nil)
			}
			if err := tw.Close(); err != nil {
				t.Fatal(err)
			}
			if err := node.Restore(t.Context(), &b, dir); err == nil {
				t.Error("it was restored")
			}
			if list, _ := os.ReadDir(above); len(list) != 1 {
				t.Errorf("it has left its folder: %v", list)
			}
			if list, _ := os.ReadDir(dir); len(list) > 1 {
				t.Errorf("left: %v", list)
			}
		})
	}
	for name, text := range map[string]string{"nothing": "", "no archive": strings.Repeat("x", 4096), "newer": ""} {
		var b bytes.Buffer
		b.WriteString(text)
		if name == "newer" {
			tw := tar.NewWriter(&b)
			body := `{"format": 2}`
			tw.WriteHeader(&tar.Header{Name: "backup.json", Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(body))})
			io.WriteString(tw, body)
			tw.Close()
		}
		if err := node.Restore(t.Context(), &b, t.TempDir()); err == nil {
			t.Errorf("%s: it was restored", name)
		}
	}
}

func TestABackupThatNobodyReads(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	deploy(t, s, actorApp(""))
	gone := errors.New("gone")
	if err := s.Backup(t.Context(), failing{gone}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "weft-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// failing is a writer that fails.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
