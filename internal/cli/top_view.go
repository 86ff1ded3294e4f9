package cli

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/telemetry"
)

// topHistory is how many looks at a server are kept for the curves.
const topHistory = 60

// topView is what weft top shows.
type topView struct {
	style         style
	unicode       bool
	width, height int // of the screen; height 0: as many lines as it takes
	where         string
	seen          []wire.Stats // the latest last
	fault         error        // why the latest look has failed
}

// add takes another look at the server. Its counters begin again when it does.
func (v *topView) add(s wire.Stats) {
	if n := len(v.seen); n > 0 && s.Uptime < v.seen[n-1].Uptime {
		v.seen = nil
	}
	v.seen = append(v.seen, s)
	if len(v.seen) > topHistory+1 {
		v.seen = v.seen[1:]
	}
}

// rates are how much a counter grew a second, from look to look. After one look it is what it grew on average since the
// server was started.
func (v *topView) rates(counter func(wire.Stats) float64) []float64 {
	var rates []float64
	if len(v.seen) == 1 && v.seen[0].Uptime > 0 {
		return []float64{counter(v.seen[0]) / v.seen[0].Uptime}
	}
	for i := 1; i < len(v.seen); i++ {
		took := v.seen[i].At.Sub(v.seen[i-1].At).Seconds()
		if took <= 0 {
			took = 1
		}
		rates = append(rates, max(counter(v.seen[i])-counter(v.seen[i-1]), 0)/took)
	}
	return rates
}

// rate is the latest of the rates, averaged over a few looks so that it can be read.
func (v *topView) rate(counter func(wire.Stats) float64) string {
	r := v.rates(counter)
	if len(r) == 0 {
		return "–"
	}
	r = r[max(len(r)-3, 0):]
	sum := 0.0
	for _, x := range r {
		sum += x
	}
	return number(sum / float64(len(r)))
}

// number writes a number with three digits: "0", "0.25", "34.2", "1200".
func number(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// frame is the screen, with the sequences that draw it over the one before.
func (v *topView) frame() string { return frame(v.lines(), v.height) }

// frame is a screen with lines, with the sequences that draw it over the one before.
func frame(lines []string, height int) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// lines are what is shown, each as wide as the screen at most.
func (v *topView) lines() []string {
	s := v.seen[len(v.seen)-1]
	up := seconds(s.Uptime).Round(time.Second).String()
	head := "weft top  " + v.where + "  up " + up
	at := s.At.Local().Format(time.TimeOnly)
	lines := []string{v.style.paint(bold, head) + strings.Repeat(" ", max(v.width-utf8.RuneCountInString(head)-len(at), 2)) + v.style.paint(dim, at)}
	if v.fault != nil {
		lines = append(lines, v.style.paint(red, "as it was; "+v.fault.Error()))
	} else {
		lines = append(lines, "")
	}
	lines = append(lines, v.facts(s)...)
	if len(s.Functions) > 0 {
		lines = append(lines, "")
		lines = append(lines, v.functions(s)...)
	}
	for i, l := range lines {
		lines[i] = clipLine(v.ascii(l), v.width)
	}
	return lines
}

// ascii spells what only Unicode has in letters of ASCII, where that is all that can be shown.
func (v *topView) ascii(s string) string {
	if v.unicode {
		return s
	}
	return strings.NewReplacer("–", "-", "µ", "u", "█", "#", "░", ".").Replace(s)
}

// facts are the lines above the functions: a name, figures in columns, and a curve or bar.
func (v *topView) facts(s wire.Stats) []string {
	started := func(s wire.Stats) float64 { return float64(s.Runs.Started) }
	failed := func(s wire.Stats) float64 { return float64(s.Runs.Failed) }
	ended := func(s wire.Stats) float64 { return float64(s.Calls.Ended) }
	appends := func(s wire.Stats) float64 { return float64(s.Store.Appends) }
	flushes := func(s wire.Stats) float64 { return float64(s.Store.Flushes) }
	written := func(s wire.Stats) float64 { return float64(s.Store.Bytes) }
	cpu := func(s wire.Stats) float64 { return s.Process.CPU * 100 }
	const column = 15
	line := func(name, curve string, figures ...string) string {
		var b strings.Builder
		b.WriteString(v.style.paint(cyan, fmt.Sprintf("%-8s", name)))
		for _, f := range figures {
			b.WriteString(" " + f + strings.Repeat(" ", max(column-1-utf8.RuneCountInString(f), 0)))
		}
		if curve != "" {
			b.WriteString(" " + v.style.paint(green, curve))
		}
		return strings.TrimRight(b.String(), " ")
	}
	curve := func(counter func(wire.Stats) float64) string {
		if len(v.seen) == 1 {
			return ""
		}
		return sparkline(v.rates(counter), v.width-8-3*column-2, v.unicode)
	}
	memory := size(s.Calls.Memory) + " declared by calls"
	if s.Calls.MemoryLimit > 0 {
		memory = bar(float64(s.Calls.Memory)/float64(s.Calls.MemoryLimit), 2*column-2) + " " + size(s.Calls.Memory) + " of " + size(s.Calls.MemoryLimit) + " declared by calls"
	}
	flush := "–"
	if s.Store.Flushes > 0 {
		flush = telemetry.FormatDuration(seconds(s.Store.FlushTime / float64(s.Store.Flushes)))
	}
	starts := float64(s.Sandboxes.Warm + s.Sandboxes.Clean + s.Sandboxes.Cold)
	share := func(n uint64) string {
		if starts == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f %%", float64(n)/starts*100)
	}
	return []string{
		line("runs", curve(started), fmt.Sprintf("%d active", s.Runs.Active), v.rate(started)+" started/s", v.rate(failed)+" failed/s"),
		line("", "", fmt.Sprintf("%d started", s.Runs.Started), fmt.Sprintf("%d succeeded", s.Runs.Succeeded), fmt.Sprintf("%d failed", s.Runs.Failed), fmt.Sprintf("%d cancelled", s.Runs.Cancelled)),
		line("calls", curve(ended), fmt.Sprintf("%d running", s.Calls.Running), fmt.Sprintf("%d waiting", s.Calls.Waiting), v.rate(ended)+" ended/s"),
		line("memory", "", memory),
		line("hosts", "", fmt.Sprintf("%d busy", s.Sandboxes.Busy), fmt.Sprintf("%d idle", s.Sandboxes.Idle), fmt.Sprintf("%d ready", s.Sandboxes.Ready), size(s.Sandboxes.Memory)),
		line("starts", "", share(s.Sandboxes.Warm)+" warm", share(s.Sandboxes.Clean)+" clean", share(s.Sandboxes.Cold)+" cold"),
		line("store", "", v.rate(appends)+" appends/s", v.rate(flushes)+" flushes/s", flush+" each", v.perSecond(written)),
		line("server", "", size(s.Process.Memory), v.rate(cpu)+" % CPU", fmt.Sprintf("%d goroutines", s.Process.Goroutines), fmt.Sprintf("%d files", s.Process.Descriptors)),
	}
}

// perSecond is the rate of a counter of bytes.
func (v *topView) perSecond(counter func(wire.Stats) float64) string {
	r := v.rates(counter)
	if len(r) == 0 {
		return "–"
	}
	return size(int64(r[len(r)-1])) + "/s"
}

// functions is a table of those that have something to do.
func (v *topView) functions(s wire.Stats) []string {
	most := 1
	for _, f := range s.Functions {
		most = max(most, f.Running)
	}
	t := table{heading: []string{"app", "function", "running", "waiting", "takes", ""}}
	for _, f := range s.Functions {
		waiting := cell{text: fmt.Sprint(f.Waiting)}
		if f.Waiting > 0 {
			waiting.ink = yellow
		}
		takes := "–"
		if f.Service > 0 {
			takes = telemetry.FormatDuration(seconds(f.Service))
		}
		filled := strings.TrimRight(bar(float64(f.Running)/float64(most), 20), "░")
		t.rows = append(t.rows, []cell{{text: f.App}, {text: f.Function}, {text: fmt.Sprint(f.Running)}, waiting, {text: takes}, {filled, green}})
	}
	var b bytes.Buffer
	if err := t.write(&b, v.style, math.MaxInt32); err != nil {
		return []string{err.Error()}
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// bar is so many letters, filled as far as share says.
func bar(share float64, width int) string {
	filled := int(math.Round(min(max(share, 0), 1) * float64(width)))
	if share > 0 && filled == 0 {
		filled = 1
	}
	return strings.Repeat("█", filled) + strings.Repeat("░", width-filled)
}

// sparkline draws the latest values, one a letter, the greatest as high as a letter is.
func sparkline(values []float64, width int, unicode bool) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if !unicode {
		levels = []rune("_.-=+*#")
	}
	if width < 1 || len(values) == 0 {
		return ""
	}
	values = values[max(len(values)-width, 0):]
	most := 0.0
	for _, x := range values {
		most = max(most, x)
	}
	var b strings.Builder
	for _, x := range values {
		level := 0
		if most > 0 && x > 0 {
			level = min(1+int(x/most*float64(len(levels)-1)), len(levels)-1)
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}

// clipLine cuts a line at a width that its colours do not count for.
func clipLine(s string, width int) string {
	var b strings.Builder
	n, colour := 0, false
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], "\x1b[") {
			end := strings.IndexByte(s[i:], 'm')
			if end < 0 {
				break
			}
			code := s[i : i+end+1]
			colour = code != "\x1b[0m"
			b.WriteString(code)
			i += end + 1
			continue
		}
		if n == width {
			if colour {
				b.WriteString("\x1b[0m")
			}
			break
		}
		_, l := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+l])
		n, i = n+1, i+l
	}
	return b.String()
}
