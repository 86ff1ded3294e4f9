package runlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/runlog"
)

func open(t *testing.T, dir string, o runlog.Options) *runlog.Folder {
	t.Helper()
	f, err := runlog.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// ended is the end of a run that is over.
func ended() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func read(t *testing.T, f *runlog.Folder, run string) []string {
	t.Helper()
	var texts []string
	for line, err := range f.Read(t.Context(), run, ended()) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, line.Text)
	}
	return texts
}

func TestLinesStayUntilTheyAreDropped(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, runlog.Options{})
	for i := range 3 {
		f.Append("one", engine.LogLine{Step: "s", Index: i, Attempt: 1, Text: fmt.Sprint("line ", i)})
		f.Append("two", engine.LogLine{Text: "other"})
	}
	want := []string{"line 0", "line 1", "line 2"}
	if got := read(t, f, "one"); !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, runlog.Options{})
	if got := read(t, f, "one"); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q", got)
	}
	f.Drop("one")
	if got := read(t, f, "one"); len(got) != 0 {
		t.Errorf("after Drop: %q", got)
	}
	if got := read(t, f, "two"); len(got) != 3 {
		t.Errorf("the other run has %q", got)
	}
	for _, err := range f.Read(t.Context(), "../two", nil) {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("a path as a run: %v", err)
		}
	}
}

func TestReadFollows(t *testing.T) {
	f := open(t, t.TempDir(), runlog.Options{})
	end := make(chan struct{})
	n := 0
	f.Append("r", engine.LogLine{Text: "0"})
	for line, err := range f.Read(t.Context(), "r", end) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Text != fmt.Sprint(n) {
			t.Fatalf("line %q, want %d", line.Text, n)
		}
		if n++; n == 20 {
			close(end)
		} else if n < 20 {
			f.Append("r", engine.LogLine{Text: fmt.Sprint(n)})
		}
	}
	if n != 20 {
		t.Errorf("%d lines", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range f.Read(ctx, "none", make(chan struct{})) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("a reader that has gone: %v", last)
	}
}

func TestALogIsBounded(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, runlog.Options{Size: 4 << 10, Line: 100})
	for range 500 {
		f.Append("r", engine.LogLine{Text: strings.Repeat("x", 1000)})
	}
	f.Append("r", engine.LogLine{Text: "more"})
	got := read(t, f, "r")
	if len(got) == 0 || !strings.Contains(got[len(got)-1], "the limit") {
		t.Errorf("the last line is %q", got)
	}
	if st, err := os.Stat(filepath.Join(dir, "r.log")); err != nil || st.Size() > 5<<10 {
		t.Errorf("the file has %d bytes: %v", st.Size(), err)
	}
}

// A line that a crash has torn is left out.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.log"), []byte("{\"text\":\"a\"}\n{\"text\":\"b"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir, runlog.Options{})
	if got := read(t, f, "r"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q", got)
	}
	f.Append("r", engine.LogLine{Text: "c"})
	f.Append("r", engine.LogLine{Text: "d"})
	if got := read(t, f, "r"); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("after the torn line: %q", got)
	}
}

// However the lines fall, a log that has ended says so, once.
func TestTheEndOfALogIsTold(t *testing.T) {
	for size := int64(300); size < 420; size += 7 {
		f := open(t, t.TempDir(), runlog.Options{Size: size})
		for i := range 20 {
			f.Append("r", engine.LogLine{Text: fmt.Sprint("line ", i)})
			if i%3 == 0 {
				read(t, f, "r") // what waits is written
			}
		}
		got := read(t, f, "r")
		told := 0
		for _, text := range got {
			if strings.Contains(text, "the log ends here") {
				told++
			}
		}
		if told != 1 || !strings.Contains(got[len(got)-1], "the log ends here") {
			t.Errorf("size %d: told %d times, the last line is %q", size, told, got[len(got)-1])
		}
	}
}

// Lines that come after a run was dropped are there once.
func TestLinesAfterADrop(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, runlog.Options{})
	for range 100 { // some of them are in one batch with the drop
		f.Append("r", engine.LogLine{Text: "before"})
		f.Drop("r")
		f.Append("r", engine.LogLine{Text: "after"})
		if got := read(t, f, "r"); !slices.Equal(got, []string{"after"}) {
			t.Fatalf("%q", got)
		}
	}
}

func TestRunsWithALog(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, runlog.Options{})
	f.Append("b", engine.LogLine{Text: "x"})
	f.Append("a", engine.LogLine{Text: "x"})
	read(t, f, "a")
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := f.Runs()
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// A disk that fails loses lines, is told once, and stops nobody.
func TestWritesThatFailAreTold(t *testing.T) {
	dir := t.TempDir()
	failed := make(chan error, 10)
	f := open(t, dir, runlog.Options{Failed: func(err error) { failed <- err }})
	if err := os.Mkdir(filepath.Join(dir, "r.log"), 0o700); err != nil { // which nothing can be appended to
		t.Fatal(err)
	}
	for range 3 {
		f.Append("r", engine.LogLine{Text: "x"})
		for range f.Read(t.Context(), "other", ended()) { // what waits is written
		}
	}
	f.Append("other", engine.LogLine{Text: "y"})
	if got := read(t, f, "other"); !slices.Equal(got, []string{"y"}) {
		t.Errorf("a log that can be written: %q", got)
	}
	if err := f.Close(); err == nil || len(failed) != 1 {
		t.Errorf("Close: %v; told %d times", err, len(failed))
	}
}

// Many follow, write and drop at once; nobody who follows is forgotten.
func TestManyAtOnce(t *testing.T) {
	f := open(t, t.TempDir(), runlog.Options{})
	end := make(chan struct{})
	var work sync.WaitGroup
	for i := range 8 {
		run := fmt.Sprint("run-", i%3)
		work.Go(func() {
			n := 0
			for line, err := range f.Read(t.Context(), run, end) {
				if err != nil {
					t.Error(err)
				}
				if line.Text == "last" {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %d last lines", run, n)
			}
		})
	}
	for i := range 300 {
		f.Append(fmt.Sprint("run-", i%3), engine.LogLine{Text: "line"})
		f.Drop(fmt.Sprint("gone-", i))
	}
	for i := range 3 {
		f.Append(fmt.Sprint("run-", i), engine.LogLine{Text: "last"})
	}
	close(end)
	work.Wait()
}
