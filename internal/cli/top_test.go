package cli

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/client"
)

// busy is the view of a server after so many looks.
func busy(looks, width int) *topView {
	v := &topView{width: width, height: 40, unicode: true, where: "unix:///run/weft.sock"}
	for i := range looks {
		v.add(stageStats(i))
	}
	return v
}

func TestTopView(t *testing.T) {
	v := busy(30, 80)
	lines := v.lines()
	text := strings.Join(lines, "\n")
	want := []string{
		"up 1h7m9s",
		"runs     12 active      34.0 started/s 1.00 failed/s  ███",
		"calls    3 running      2 waiting      440 ended/s    ▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇█████",
		"memory   ███████████░░░░░░░░░░░░░░░░░ 3.0 GiB of 8.0 GiB declared by calls",
		"hosts    3 busy         4 idle         2 ready        412 MiB",
		"starts   95 % warm      4 % clean      1 % cold",
		"store    310 appends/s",
		"server   38.0 MiB       3.00 % CPU     40 goroutines  31 files",
		"shop  charge    3        0        12.3 ms  ████████████████████",
		"shop  greet     0        2        –",
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the view has no %q:\n%s", w, text)
		}
	}
	for width := 20; width <= 120; width += 25 {
		for _, l := range busy(30, width).lines() {
			if n := utf8.RuneCountInString(l); n > width {
				t.Errorf("%d letters in %d columns: %q", n, width, l)
			}
		}
	}
	v.unicode = false
	for _, l := range v.lines() {
		if strings.ContainsFunc(l, func(r rune) bool { return r > 127 }) {
			t.Errorf("not ASCII: %q", l)
		}
	}
	v.fault = &client.NoServerError{Address: "unix:///s", Err: errors.New("gone")}
	if text := v.lines()[1]; text != "as it was; no server answers at unix:///s: gone" {
		t.Errorf("without its server the view says %q", text)
	}
	v.height = 5
	if n := strings.Count(v.frame(), "\r\n"); n != 4 {
		t.Errorf("%d lines on a screen of 5", n)
	}
}

func TestTopBeginsAnewWithItsServer(t *testing.T) {
	v := busy(10, 80)
	s := stageStats(0)
	s.Uptime = 1
	v.add(s)
	if len(v.seen) != 1 {
		t.Errorf("%d looks at a server that has just been started", len(v.seen))
	}
	v = busy(200, 80)
	if len(v.seen) != topHistory+1 {
		t.Errorf("%d looks are kept", len(v.seen))
	}
}

func TestSparkline(t *testing.T) {
	tests := []struct {
		values  []float64
		width   int
		unicode bool
		want    string
	}{
		{nil, 10, true, ""},
		{[]float64{0, 0}, 10, true, "▁▁"},
		{[]float64{0, 1, 2, 4, 8}, 10, true, "▁▂▃▅█"},
		{[]float64{9, 0, 4, 8}, 3, true, "▁▅█"},
		{[]float64{0, 4, 8}, 3, false, "_+#"},
		{[]float64{1}, 0, true, ""},
	}
	for _, tt := range tests {
		if got := sparkline(tt.values, tt.width, tt.unicode); got != tt.want {
			t.Errorf("sparkline(%v, %d, %t) = %q, want %q", tt.values, tt.width, tt.unicode, got, tt.want)
		}
	}
}

func TestClipLine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"abc", "abc"},
		{"abcdef", "abcd"},
		{"\x1b[31mab\x1b[0mcdef", "\x1b[31mab\x1b[0mcd"},
		{"ab\x1b[31mcdef\x1b[0m", "ab\x1b[31mcd\x1b[0m"},
		{"äöüßx", "äöüß"},
	} {
		if got := clipLine(tt.in, 4); got != tt.want {
			t.Errorf("clipLine(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSizesAndAges(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 128 << 20: "128 MiB", 1000 << 20: "1.0 GiB", 3 << 29: "1.5 GiB", 1 << 62: "4096 PiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "just now", 90 * time.Second: "90s ago", 5 * time.Minute: "5m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago"} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"":                     {},
		"2h":                   now.Add(-2 * time.Hour),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-01-31T10:00:00Z": time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseSince(s, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "-2h", "2026-13-01"} {
		if got, err := parseSince(s, now); err == nil {
			t.Errorf("parseSince(%q) = %v", s, got)
		}
	}
}
