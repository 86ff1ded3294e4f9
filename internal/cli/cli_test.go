package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/sandbox/wire"
	"github.com/weft-run/weft/internal/telemetry"
)

// attached is a terminal that keeps what is written to its stderr.
func attached(st style) (*shell, *bytes.Buffer) {
	var b bytes.Buffer
	return &shell{terminal: &terminal{stderr: &b, errStyle: st, width: 40}}, &b
}

// screen plays the sequences that progress uses and returns the lines that stay, and the live one.
func screen(s string) (lines []string, live string) {
	for part := range strings.SplitAfterSeq(s, "\n") {
		if i := strings.LastIndex(part, "\r\x1b[K"); i >= 0 {
			part = part[i+len("\r\x1b[K"):]
		}
		if text, ok := strings.CutSuffix(part, "\n"); ok {
			lines = append(lines, text)
		} else {
			live = part
		}
	}
	return lines, live
}

func TestLiveLineIsErasedAndLinesStay(t *testing.T) {
	sh, out := attached(style{live: true})
	p := sh.newProgress(false)
	start := func(i int) {
		p.Observe(telemetry.Event{Kind: telemetry.EventStepStarted, Step: "map", Index: i, Attempt: 1})
	}
	start(0)
	start(1)
	p.mu.Lock()
	p.draw()
	drawn := out.String()
	p.mu.Unlock()
	if _, live := screen(drawn); !strings.HasPrefix(live, "0 done, 2 running, ") {
		t.Errorf("live line %q", live)
	}
	p.Observe(telemetry.Event{Kind: telemetry.EventLog, Step: "map", Index: 1, Text: "hello"})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepFinished, Step: "map", Index: 0})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepRetried, Step: "map", Index: 1, Attempt: 1, Text: "exit status 1"})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepFailed, Step: "map", Index: 1, Attempt: 2, Text: "exit status 2\n  at main"})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepFailed, Step: "map", Index: telemetry.NoIndex, Text: "exit status 2"})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepStarted, Step: "map", Index: 2, Attempt: 1})
	p.Observe(telemetry.Event{Kind: telemetry.EventStepStopped, Step: "map", Index: 2, Attempt: 1, Text: "stopped"})
	p.Close()
	lines, live := screen(out.String())
	if live != "" {
		t.Errorf("the live line %q stays", live)
	}
	if want := []string{"map[1] | hello", "map[1] failed, attempt 1, and is tried again: exit status 1", "map[1] failed, attempt 2: exit status 2"}; !equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if p.done != 1 || p.bad != 1 || len(p.running) != 0 {
		t.Errorf("%d done, %d failed, %d running", p.done, p.bad, len(p.running))
	}
}

func TestLiveLineFitsTheTerminal(t *testing.T) {
	sh, out := attached(style{live: true})
	p := sh.newProgress(false)
	p.Observe(telemetry.Event{Kind: telemetry.EventBuildStarted, Function: strings.Repeat("long", 30)})
	p.mu.Lock()
	p.draw()
	_, live := screen(out.String())
	p.mu.Unlock()
	p.Close()
	if n := len([]rune(live)); n == 0 || n >= sh.width {
		t.Errorf("%d letters on a terminal of %d columns: %q", n, sh.width, live)
	}
}

func TestRedrawsAreThrottled(t *testing.T) {
	sh, out := attached(style{live: true})
	p := sh.newProgress(false)
	begin := time.Now()
	for range 10_000 {
		p.Observe(telemetry.Event{Kind: telemetry.EventStepStarted, Step: "s", Index: telemetry.NoIndex})
		p.Observe(telemetry.Event{Kind: telemetry.EventStepFinished, Step: "s", Index: telemetry.NoIndex})
	}
	p.Close()
	allowed := 2*int(time.Since(begin)/liveEvery) + 3
	if n := strings.Count(out.String(), "\r"); n > allowed {
		t.Errorf("%d redraws in %s", n, time.Since(begin))
	}
}

// equal compares two lists of lines.
func equal(a, b []string) bool {
	return strings.Join(a, "\n") == strings.Join(b, "\n")
}

func TestTable(t *testing.T) {
	tests := []struct {
		name  string
		width int
		style style
		want  string
	}{
		{"plain", 80, style{}, "NAME        STATE  USE\nuser names  ok     keeps functions apart from each other\nx           no\n"},
		{"narrow", 45, style{}, "NAME        STATE  USE\nuser names  ok     keeps functions apart from\n                   each other\nx           no\n"},
		{"colour", 80, style{color: true}, "\x1b[2mNAME\x1b[0m        \x1b[2mSTATE\x1b[0m  \x1b[2mUSE\x1b[0m\nuser names  \x1b[32mok\x1b[0m     keeps functions apart from each other\nx           no\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab := table{heading: []string{"name", "state", "use"}}
			tab.rows = append(tab.rows, []cell{{text: "user names"}, {"ok", green}, {text: "keeps functions apart from each other"}})
			tab.add("x", "no", "")
			var out bytes.Buffer
			if err := tab.write(&out, tt.style, tt.width); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", &out, tt.want)
			}
		})
	}
}

func TestColoursDependOnTheEnvironment(t *testing.T) {
	for _, env := range []map[string]string{{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}} {
		term := newTerminal(nil, &bytes.Buffer{}, os.Stderr, func(k string) string { return env[k] })
		if term.outStyle.color || term.outStyle.live {
			t.Errorf("environment %v: a buffer is no terminal", env)
		}
		if len(env) > 0 && term.errStyle.color {
			t.Errorf("environment %v: colours in spite of it", env)
		}
	}
	for value, want := range map[string]bool{"en_US.UTF-8": true, "C.utf8": true, "C": false, "": false} {
		if got := newTerminal(nil, &bytes.Buffer{}, &bytes.Buffer{}, func(string) string { return value }).unicode; got != want {
			t.Errorf("locale %q: unicode %t, want %t", value, got, want)
		}
	}
}

func TestEngineVersionIsThatOfTheLibrary(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`bytecodealliance/wasmtime-go/v\d+ v(\S+)`).FindSubmatch(mod)
	if m == nil || "wasmtime "+string(m[1]) != wire.Engine {
		t.Errorf("go.mod has wasmtime-go %q, weft version says %s", m, wire.Engine)
	}
}

func TestAppName(t *testing.T) {
	for dir, want := range map[string]string{"/x/My App": "my-app", "/x/___": "app", "/x/" + strings.Repeat("a", 80): strings.Repeat("a", 63), "/": "app"} {
		if got := appName(dir); got != want {
			t.Errorf("appName(%q) = %q, want %q", dir, got, want)
		}
	}
}

func TestFormatValue(t *testing.T) {
	tests := []struct{ src, want string }{
		{`1`, "1\n"},
		{`{"b":[1,2],"a":"x:y,\"z\" <>"}`, `{"a": "x:y,\"z\" <>", "b": [1, 2]}` + "\n"},
		{`{"top":[{"word":"if","count":123456},{"word":"err","count":9}],"n":2}`,
			"{\n  \"n\": 2,\n  \"top\": [\n    {\"count\": 123456, \"word\": \"if\"},\n    {\"count\": 9, \"word\": \"err\"}\n  ]\n}\n"},
		{`[]`, "[]\n"},
	}
	for _, tt := range tests {
		var v any
		if err := json.Unmarshal([]byte(tt.src), &v); err != nil {
			t.Fatal(err)
		}
		got, err := formatValue(v, 40)
		if err != nil || string(got) != tt.want {
			t.Errorf("formatValue(%s) = %v\n%s\nwant\n%s", tt.src, err, got, tt.want)
		}
		var back any
		if err := json.Unmarshal(got, &back); err != nil {
			t.Errorf("formatValue(%s) is no JSON: %v", tt.src, err)
		}
	}
}
