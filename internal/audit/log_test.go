package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string, o Options) *Log {
	t.Helper()
	o.Now = func() time.Time { return noon }
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func record(t *testing.T, l *Log, actions ...string) {
	t.Helper()
	for _, a := range actions {
		if err := l.Record(Entry{Action: a}); err != nil {
			t.Fatal(err)
		}
	}
}

// actions reads the log, newest first.
func actions(t *testing.T, l *Log, n int) []string {
	t.Helper()
	entries, err := l.Read(n)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Action)
	}
	return out
}

func wantActions(t *testing.T, l *Log, n int, want ...string) {
	t.Helper()
	if got := actions(t, l, n); !slices.Equal(got, want) {
		t.Errorf("Read(%d) is %q, want %q", n, got, want)
	}
}

func TestEntriesAreReadAsTheyWereRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path, Options{})
	full := Entry{At: noon.Add(time.Hour).In(time.FixedZone("", 3600)), Who: "ci\n<&>\"", Role: "deploy", From: "10.0.0.7:4711", Action: "app.deploy", Subject: "shop", Outcome: "ok", Request: "r-1"}
	if err := l.Record(full); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", FieldMax)
	if err := l.Record(Entry{Action: "x", Subject: long}); err != nil {
		t.Fatal(err)
	}
	entries, err := l.Read(10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	full.At = full.At.UTC()
	if entries[1] != full {
		t.Errorf("read %+v, recorded %+v", entries[1], full)
	}
	if !entries[0].At.Equal(noon) {
		t.Errorf("an entry without a time is of %s, want the clock's", entries[0].At)
	}
	if s := entries[0].Subject; len(s) > FieldMax || !strings.HasPrefix(long, strings.TrimSuffix(s, "…")) || len(s) < FieldMax-8 {
		t.Errorf("a long text became %d bytes that end with %q", len(s), s[len(s)-8:])
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	text, _ := os.ReadFile(path)
	if n := bytes.Count(text, []byte("\n")); n != 2 {
		t.Errorf("2 entries are %d lines", n)
	}
}

func TestReadIsBoundedAndNewestFirst(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{})
	wantActions(t, l, 10)
	record(t, l, "a", "b", "c")
	wantActions(t, l, 10, "c", "b", "a")
	wantActions(t, l, 2, "c", "b")
	wantActions(t, l, 0)
}

func TestAFileThatOthersMayReadIsClosedToThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path, Options{})
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode())
	}
}

// Wherever a crash cuts the last line, it is gone and the others are not, and the
// log goes on with a line of its own.
func TestATornLastLineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "whole"), Options{})
	record(t, l, "a", "b", "c")
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	second := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	tails := [][]byte{}
	for end := second; end < len(text); end++ {
		tails = append(tails, text[second:end])
	}
	tails = append(tails, make([]byte, 9000), []byte("\x00\x00\n\x00\n"), []byte("{}\n"), []byte("\n\n\n"), bytes.Repeat([]byte("x"), 200<<10))
	for i, tail := range tails {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, slices.Concat(text[:second], tail), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, path, Options{})
		wantActions(t, l, 10, "b", "a")
		record(t, l, "d")
		wantActions(t, l, 10, "d", "b", "a")
		l.Close()
		l = open(t, path, Options{})
		wantActions(t, l, 10, "d", "b", "a")
		if t.Failed() {
			t.Fatalf("the tail was %.80q", tail)
		}
	}
}

func TestNothingButATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"at":"2026-`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path, Options{})
	record(t, l, "a")
	wantActions(t, l, 10, "a")
}

func TestDamageInTheMiddleIsToldBesideTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path, Options{})
	record(t, l, "a")
	l.Close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("garbage\n" + `{"at":"2026-11-21T12:00:00Z","action":"b","new":{"key":1}}` + "\n")
	f.Close()
	l = open(t, path, Options{})
	entries, err := l.Read(10)
	if !errors.Is(err, ErrDamaged) || len(entries) != 2 || entries[0].Action != "b" {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestLargeFilesAreRotated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	line, err := encode(Entry{At: noon, Action: "000"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MaxSize: int64(2 * len(line)), Keep: 2}
	l := open(t, path, o)
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprintf("%03d", i))
	}
	record(t, l, names...)
	// Two a file, one in the current one, two full ones kept.
	wantActions(t, l, 100, "008", "007", "006", "005", "004")
	wantActions(t, l, 4, "008", "007", "006", "005")
	l.Close()
	l = open(t, path, o)
	record(t, l, "009", "010")
	wantActions(t, l, 100, "010", "009", "008", "007", "006")
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("%d files, want 3", len(entries))
	}
}

func TestWithoutKeepOnlyTheCurrentFileIsThere(t *testing.T) {
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "audit.log"), Options{MaxSize: 1, Keep: -1})
	record(t, l, "a", "b", "c")
	wantActions(t, l, 10, "c")
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files, want 1", len(entries))
	}
}

// Each state that a crash between two steps of a rotation leaves is read whole and
// rotated on from.
func TestInterruptedRotations(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string // by ending, actions of one letter
		want  string            // newest first
		after string            // the same when y and z were recorded
	}{
		{"oldest removed", map[string]string{"": "d", ".1": "c", ".2": "b"}, "dcb", "zydc"},
		{"first is moving", map[string]string{"": "d", ".2": "c", ".3": "b"}, "dcb", "zyd"},
		{"current has moved", map[string]string{".1": "d", ".2": "c", ".3": "b"}, "dcb", "zydc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			for end, names := range test.files {
				var text []byte
				for _, a := range strings.Split(names, "") {
					line, _ := encode(Entry{At: noon, Action: a})
					text = append(text, line...)
				}
				if err := os.WriteFile(path+end, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l := open(t, path, Options{MaxSize: 1, Keep: 3})
			if got := strings.Join(actions(t, l, 10), ""); got != test.want {
				t.Errorf("read %s, want %s", got, test.want)
			}
			record(t, l, "y", "z")
			if got := strings.Join(actions(t, l, 10), ""); got != test.after {
				t.Errorf("read %s after two more records, want %s", got, test.after)
			}
		})
	}
}

func TestARotationThatFailsLosesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := open(t, path, Options{MaxSize: 1, Keep: 2})
	record(t, l, "a")
	// A folder that is not empty cannot be removed to make room.
	if err := os.MkdirAll(path+".2/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(Entry{Action: "b"}); err == nil {
		t.Error("recorded without a rotation")
	}
	if err := os.RemoveAll(path + ".2"); err != nil {
		t.Fatal(err)
	}
	record(t, l, "c")
	wantActions(t, l, 10, "c", "a")
}

// Records that come while the disk is busy are written together.
func TestManyRecordsShareASync(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{})
	var syncs atomic.Int32
	began, goOn := make(chan struct{}), make(chan struct{})
	l.sync = func(f *os.File) error {
		if syncs.Add(1) == 1 {
			close(began)
			<-goOn
		}
		return f.Sync()
	}
	var wg sync.WaitGroup
	start := func(action string) {
		wg.Go(func() {
			if err := l.Record(Entry{Action: action}); err != nil {
				t.Error(err)
			}
		})
	}
	start("first")
	<-began
	const more = 50
	for range more {
		start("more")
	}
	for waiting := 0; waiting < more; runtime.Gosched() {
		l.mu.Lock()
		waiting = bytes.Count(l.next.lines, []byte("\n"))
		l.mu.Unlock()
	}
	close(goOn)
	wg.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d records took %d syncs, want 2", more+1, n)
	}
	if got := actions(t, l, 1000); len(got) != more+1 || got[more] != "first" {
		t.Errorf("%d entries", len(got))
	}
}

func TestRecordsAndReadsWhileFilesRotate(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{MaxSize: 400, Keep: 1000})
	var wg sync.WaitGroup
	const writers, each = 8, 30
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Record(Entry{Action: fmt.Sprintf("%d/%02d", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				actions(t, l, 20)
			}
		})
	}
	wg.Wait()
	got := actions(t, l, 10*writers*each)
	if len(got) != writers*each {
		t.Fatalf("%d entries, want %d", len(got), writers*each)
	}
	last := map[byte]string{}
	for _, a := range got {
		if next, ok := last[a[0]]; ok && a >= next {
			t.Fatalf("%s is newer than %s", next, a)
		}
		last[a[0]] = a
	}
}

// After a full disk the log goes on, and no half line is in it.
func TestAWriteThatFailsIsUndone(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{})
	record(t, l, "a")
	full := errors.New("no space left on device")
	l.write = func(f *os.File, p []byte) (int, error) {
		n, _ := f.Write(p[:len(p)/2])
		return n, full
	}
	if err := l.Record(Entry{Action: "b"}); !errors.Is(err, full) || errors.Is(err, ErrFailed) {
		t.Errorf("Record: %v", err)
	}
	l.write = (*os.File).Write
	record(t, l, "c")
	wantActions(t, l, 10, "c", "a")
}

func TestAFailedSyncIsForGood(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{})
	record(t, l, "a")
	l.sync = func(*os.File) error { return errors.New("input/output error") }
	if err := l.Record(Entry{Action: "b"}); !errors.Is(err, ErrFailed) {
		t.Errorf("Record: %v", err)
	}
	l.sync = (*os.File).Sync
	if err := l.Record(Entry{Action: "c"}); !errors.Is(err, ErrFailed) {
		t.Errorf("Record after a failed sync: %v", err)
	}
	wantActions(t, l, 10, "a") // what may not be on disk is not shown
}

func TestClosed(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"), Options{})
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if err := l.Record(Entry{Action: "a"}); !errors.Is(err, ErrClosed) {
		t.Errorf("Record: %v", err)
	}
	if _, err := l.Read(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", "audit.log"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open in a folder that is not there: %v", err)
	}
}

// Reading backwards gives the lines of reading forwards, whatever the size of a read.
func FuzzBackwards(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), 3)
	f.Add([]byte("\n"), 1)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		step = 1 + int(uint(step)%(1<<20))
		var got [][]byte
		b := backwards{r: bytes.NewReader(text), pos: int64(len(text)), step: step}
		end := int64(len(text))
		for {
			line, whole, start, err := b.next()
			if err != nil {
				break
			}
			if !bytes.Equal(text[start:start+int64(len(line))], line) {
				t.Fatalf("line %q is not at %d", line, start)
			}
			if whole {
				line = append(slices.Clone(line), '\n')
			}
			if start+int64(len(line)) != end {
				t.Fatalf("line %q ends at %d, want %d", line, start+int64(len(line)), end)
			}
			end = start
			got = append(got, slices.Clone(line))
		}
		slices.Reverse(got)
		if !bytes.Equal(bytes.Join(got, nil), text) || end != 0 {
			t.Fatalf("backwards %q, forwards %q", got, text)
		}
	})
}

// What is taken for an entry is written as a line that is the same entry.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"at":"2026-11-21T12:00:00Z","who":"ci","action":"app.deploy","subject":"a\nb","outcome":"ok"}`))
	f.Add([]byte(`{"at":"2026-11-21T12:00:00+01:00","who":"\ud800"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decode(line)
		if err != nil {
			return
		}
		again, err := encode(e)
		if odd := (*json.MarshalerError)(nil); errors.As(err, &odd) {
			return // a time that JSON has no form for
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(again, []byte("\n")); n != 1 || !bytes.HasSuffix(again, []byte("\n")) {
			t.Fatalf("%d line ends in %q", n, again)
		}
		e2, err := decode(again[:len(again)-1])
		if err != nil {
			t.Fatal(err)
		}
		twice, err := encode(e2)
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%s became %s, %v", again, twice, err)
		}
	})
}
