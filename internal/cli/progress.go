package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/telemetry"
)

const (
	liveEvery  = 100 * time.Millisecond // between redraws of the live line
	plainEvery = 5 * time.Second        // between lines where there is no live line
)

// progress tells a person how a build or run is getting on: one live line on a terminal, a plain line now and then
// elsewhere, and in both cases builds, failures, retries and what functions write to stderr. It implements the node's
// Observer and may be used from several goroutines. Close it before printing anything else.
type progress struct {
	style style
	quiet bool // only what functions write to stderr
	logs  bool // show what functions write to stderr

	mu       sync.Mutex // guards all below
	w        io.Writer
	width    int
	start    time.Time
	building map[string]bool
	running  map[string]bool
	done     int
	bad      int
	shown    bool // the live line is on the screen
	last     time.Time

	stop   chan struct{}
	ticker sync.WaitGroup
}

// newProgress starts telling on stderr.
func (sh *shell) newProgress(quiet bool) *progress {
	p := &progress{style: sh.errStyle, quiet: quiet, logs: true, w: sh.stderr, width: sh.width, start: time.Now(), last: time.Now(),
		building: map[string]bool{}, running: map[string]bool{}, stop: make(chan struct{})}
	if quiet {
		return p
	}
	p.ticker.Go(func() {
		every := plainEvery
		if p.style.live {
			every = liveEvery
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			}
		}
	})
	return p
}

// Close erases the live line and stops.
func (p *progress) Close() {
	close(p.stop)
	p.ticker.Wait()
	p.mu.Lock()
	p.erase()
	p.mu.Unlock()
}

// Observe takes one piece of news.
func (p *progress) Observe(e telemetry.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := e.Path()
	switch e.Kind {
	case telemetry.EventBuildStarted:
		p.building[e.Function] = true
	case telemetry.EventBuildFinished:
		delete(p.building, e.Function)
		if e.Text != "cached" {
			p.say(dim, "built %s in %s", e.Function, telemetry.FormatDuration(e.Took))
		}
	case telemetry.EventBuildFailed:
		delete(p.building, e.Function)
		p.say(red, "building %s failed", e.Function)
	case telemetry.EventStepStarted:
		p.running[path] = true
	case telemetry.EventStepFinished:
		delete(p.running, path)
		p.done++
	case telemetry.EventStepRetried:
		delete(p.running, path)
		p.say(yellow, "%s failed, attempt %d, and is tried again: %s", path, e.Attempt, firstLine(e.Text))
	case telemetry.EventStepStopped:
		delete(p.running, path)
	case telemetry.EventStepFailed:
		delete(p.running, path)
		if e.Attempt == 0 {
			p.bad++
		} else {
			p.say(yellow, "%s failed, attempt %d: %s", path, e.Attempt, firstLine(e.Text))
		}
	case telemetry.EventLog:
		p.log(path, e.Text)
	}
	if p.style.live && !p.quiet && time.Since(p.last) >= liveEvery {
		p.draw()
	}
}

// firstLine leaves out where a failure happened, which the run's own message has.
func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// say prints a line that stays. The caller holds mu.
func (p *progress) say(i ink, format string, args ...any) {
	if p.quiet {
		return
	}
	p.erase()
	fmt.Fprintln(p.w, p.style.paint(i, fmt.Sprintf(format, args...)))
}

// log prints a line of a function's stderr, behind the path of its step. Control characters are shown, not obeyed.
// The caller holds mu.
func (p *progress) log(path, line string) {
	if !p.logs {
		return
	}
	p.erase()
	line = visible(line)
	if path == "" {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprintf(p.w, "%s %s\n", p.style.paint(cyan, path+" |"), line)
}

// visible is a line of a function's with control characters shown, not obeyed.
func visible(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '�'
		}
		return r
	}, line)
}

// draw writes the live line anew, or a plain one. The caller holds mu.
func (p *progress) draw() {
	p.last = time.Now()
	if len(p.building)+len(p.running)+p.done+p.bad == 0 {
		return
	}
	var parts []string
	for name := range p.building {
		if len(p.building) == 1 {
			parts = append(parts, "building "+name)
		}
	}
	if n := len(p.building); n > 1 {
		parts = append(parts, fmt.Sprintf("building %d functions", n))
	}
	if len(p.running)+p.done+p.bad > 0 {
		parts = append(parts, fmt.Sprintf("%d done", p.done), fmt.Sprintf("%d running", len(p.running)))
	}
	if p.bad > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", p.bad))
	}
	parts = append(parts, fmt.Sprintf("%.1f s", time.Since(p.start).Seconds()))
	line := strings.Join(parts, ", ")
	if !p.style.live {
		fmt.Fprintln(p.w, line)
		return
	}
	if r := []rune(line); len(r) >= p.width {
		line = string(r[:max(p.width-1, 0)])
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.style.paint(dim, line))
	p.shown = true
}

// erase takes the live line off the screen. The caller holds mu.
func (p *progress) erase() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
