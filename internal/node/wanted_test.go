package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/app"
)

func TestWhoWantsMostDecides(t *testing.T) {
	const standard = 5 * time.Minute
	says := func(ready int, idle time.Duration) *app.Function {
		return &app.Function{Instances: app.Instances{Ready: ready, Idle: idle}}
	}
	for name, test := range map[string]struct {
		functions []*app.Function
		ready     int
		idle      time.Duration
	}{
		"no functions":                {nil, 0, 0},
		"one that says nothing":       {[]*app.Function{says(0, 0)}, 0, standard},
		"one that wants less":         {[]*app.Function{says(1, time.Second)}, 1, time.Second},
		"one less, one nothing":       {[]*app.Function{says(0, time.Second), says(2, 0)}, 2, standard},
		"one more, one nothing":       {[]*app.Function{says(0, time.Hour), says(0, 0)}, 0, time.Hour},
		"two that want less, ready 3": {[]*app.Function{says(3, time.Second), says(1, time.Minute)}, 3, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			a := &app.App{Functions: map[string]*app.Function{}}
			for i, f := range test.functions {
				a.Functions[string(rune('a'+i))] = f
			}
			if ready, idle := wanted(a, standard); ready != test.ready || idle != test.idle {
				t.Errorf("%d ready, for %v; want %d, for %v", ready, idle, test.ready, test.idle)
			}
		})
	}
}

func TestALockThatIsHeld(t *testing.T) {
	dir := t.TempDir()
	other, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.WriteString("4711\n"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // nobody waits for the patience to end
		_, err := lockFolder(context.Background(), dir)
		if err == nil || !strings.Contains(err.Error(), "another weft server uses it, process 4711") {
			t.Errorf("%v", err)
		}
		time.AfterFunc(lockPatience/2, func() { syscall.Flock(int(other.Fd()), syscall.LOCK_UN) }) // it is dead at last
		f, err := lockFolder(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	})
}

// What is cut off does not leave half of a secret.
func TestLastWords(t *testing.T) {
	hide := func(text []byte) []byte { return []byte(strings.ReplaceAll(string(text), "secret", "***")) }
	for name, test := range map[string]struct{ text, want string }{
		"nothing":           {"", ""},
		"a line":            {"a\nb\n", ": b"},
		"a secret":          {"the secret\n", ": the ***"},
		"a long line":       {"secret" + strings.Repeat("x", lastWordsMax-3), ""},
		"a long line first": {"secret" + strings.Repeat("x", lastWordsMax-10) + "\nend\n", ": end"},
		"no text":           {"\xff\n", ": \uFFFD"},
		"a panic":           {"a\npanic: beyond help\n\ngoroutine 1 [running]:\nmain.main()\n\t/main.go:5 +0x1\n", ": panic: beyond help"},
		"a fatal error":     {"fatal error: out of memory\n" + strings.Repeat("\t/main.go:5\n", 1000), ": fatal error: out of memory"},
		"a panic at last":   {"panic: secret", ": panic: ***"},
		"a long panic":      {"panic: " + strings.Repeat("x", 2*lastWordsMax), ""},
	} {
		w := &lastWords{}
		for i := 0; i < len(test.text); i += 7 {
			w.add([]byte(test.text[i:min(len(test.text), i+7)]))
		}
		if got := w.said(hide); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestSpoken(t *testing.T) {
	hide := func(text []byte) []byte { return []byte(strings.ReplaceAll(string(text), "secret", "***")) }
	long := strings.Repeat("x", spokenMax+1)
	for name, test := range map[string]struct{ text, want string }{
		"nothing":            {"", ""},
		"lines":              {"a\n\n  b \nc", "a|  b|c"},
		"a secret":           {"the secret\nsecret", "the ***|***"},
		"a long line":        {"a\nsecret" + long + "\nb", "a|(a line of more than 32 KiB)|b"},
		"a long line at end": {long, "(a line of more than 32 KiB)"},
		"no text":            {"\xff\n", "\uFFFD"},
	} {
		var got []string
		s := &spoken{redact: hide, line: func(text string) { got = append(got, text) }}
		for i := 0; i < len(test.text); i += 7 {
			s.add([]byte(test.text[i:min(len(test.text), i+7)]))
		}
		s.end()
		if strings.Join(got, "|") != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
