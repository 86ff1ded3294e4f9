package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/workload"
)

// patron is a client that wants one run, and does not give up.
type patron struct {
	life     *life
	c        *client.Client
	rng      *rand.Rand
	key      string
	workflow string
	input    map[string]any
	uploads  map[string][]byte

	follows, pauses, cancels, resurrects bool // what it is going to do

	run        engine.Run // as it was last told
	mayCancel  bool       // it has asked for that
	mustCancel bool       // it was told so
	opened     bool       // its gate

	mu     sync.Mutex     // guards the rest
	told   map[string]int // executions of a call when its step was told to have finished
	id     string         // of the run
	status engine.Status  // of the run
	over   bool           // nothing will happen to the run any more
}

// patron makes the i-th client of the life.
func (l *life) patron(i int, rng *rand.Rand) *patron {
	p := l.newPatron(i, rng)
	l.mu.Lock()
	l.patrons = append(l.patrons, p)
	l.mu.Unlock()
	return p
}

// newPatron makes a client whose name is a number.
func (l *life) newPatron(i int, rng *rand.Rand) *patron {
	p := &patron{
		life: l, rng: rand.New(rand.NewPCG(l.o.Seed, patronPart+uint64(i))), key: fmt.Sprintf("key-%d", i), told: map[string]int{},
		workflow: fmt.Sprintf("w%d", rng.IntN(workload.Workflows)), input: map[string]any{"flag": rng.IntN(2) == 0, "n": float64(rng.IntN(100_000))},
		follows: rng.IntN(4) == 0, pauses: rng.IntN(8) == 0, cancels: rng.IntN(10) == 0, resurrects: rng.IntN(2) == 0,
	}
	switch rng.IntN(12) {
	case 0:
		p.workflow, p.input["gate"] = again, "gate-"+p.key
	case 1:
		p.workflow = upload
	}
	return p
}

// live gets the run and stays with it until it has ended.
func (p *patron) live(ctx context.Context) {
	var err error
	if p.c, err = p.life.node.Client(1); err != nil {
		p.fault("%v", err)
		return
	}
	defer p.c.CloseIdle()
	var following sync.WaitGroup
	defer following.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for p.ask(ctx) {
		if p.follows {
			p.follows = false
			id := p.run.ID
			following.Go(func() { p.follow(ctx, id) })
		}
		var err error
		switch p.run.Status {
		case engine.Succeeded:
			p.remember()
			p.verify(ctx)
			p.rest()
			following.Wait()
			return
		case engine.Failed:
			if p.workflow != again || p.opened {
				p.fault("failed: %v", p.run.Failure)
				return
			}
			if err = os.WriteFile(p.life.gateFile(p.input["gate"].(string)), nil, 0o644); err == nil {
				err = p.retry(ctx)
			}
			p.opened = true
		case engine.Cancelled:
			if !p.mayCancel {
				p.fault("was cancelled by nobody: %v", p.run.Failure)
				return
			}
			if !p.resurrects {
				p.rest()
				return
			}
			err = p.retry(ctx)
			p.mayCancel, p.mustCancel = false, false
		default:
			err = p.meddle(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.fault("%v", err)
			return
		}
	}
}

func (p *patron) fault(format string, args ...any) {
	id, status, _ := p.where()
	p.life.fault("%s, run %s, %s: "+format, append([]any{p.key, id, status}, args...)...)
}

// note keeps what the patron was told.
func (p *patron) note(run engine.Run) {
	p.run = run
	p.mu.Lock()
	p.id, p.status = run.ID, run.Status
	p.mu.Unlock()
}

// rest says that nothing will happen to the run any more.
func (p *patron) rest() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
}

// where is the run, for others than the patron.
func (p *patron) where() (id string, status engine.Status, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id, p.status, p.over
}

// ask asks for the run, again and again under the same key, and reports whether
// it was told where that is.
func (p *patron) ask(ctx context.Context) bool {
	var run engine.Run
	asked := 0
	err := insist(ctx, func() (err error) {
		if p.workflow == upload && p.uploads == nil {
			if err := p.upload(ctx); err != nil {
				return err
			}
		}
		if asked++; asked > 1 {
			p.life.count.repeated.Add(1)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		wait := time.Duration(50+p.rng.IntN(400)) * time.Millisecond
		if p.run.ID == "" && (p.pauses || p.cancels || p.rng.IntN(2) == 0) {
			wait = 0
		}
		run, err = p.c.Start(ctx, client.StartRequest{App: chaosApp, Workflow: p.workflow, Input: p.input, Key: p.key, Wait: wait})
		switch {
		case p.run.ID != "" || !gone(err):
		case p.workflow == upload:
			// Whoever claimed the buffer died before the run was accepted.
			p.uploads = nil
			return errAgain
		case strings.Contains(err.Error(), "has no workflow"):
			p.workflow = "w0" // which every version has
			return errAgain
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		p.fault("start: %v", err)
		return false
	case run.Key != p.key || run.Workflow != p.workflow || run.App != chaosApp || !same(run.Input, p.input):
		p.fault("the answer is run %+v", run)
		return false
	case p.run.ID != "" && (run.ID != p.run.ID || run.Version != p.run.Version):
		p.fault("the key gives run %s of version %s as well", run.ID, run.Version)
		return false
	case p.mustCancel && run.Status != engine.Cancelled:
		p.fault("is %s, and was cancelled", run.Status)
		return false
	}
	p.note(run)
	return true
}

// errAgain has a request repeated.
var errAgain = errors.New("once more")

// upload stores what the run is to read.
func (p *patron) upload(ctx context.Context) error {
	text := []byte(strings.Repeat(strconv.Itoa(p.rng.IntN(1_000_000)), 1+p.rng.IntN(20_000)))
	b, err := p.c.Upload(ctx, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if b.Size != int64(len(text)) {
		p.fault("%d bytes were uploaded, the server has %d", len(text), b.Size)
	}
	p.uploads = map[string][]byte{b.Name: text}
	p.input["file"] = map[string]any{"$buffer": b.Name, "size": float64(b.Size)}
	return nil
}

// retry lets the run go on.
func (p *patron) retry(ctx context.Context) error {
	p.life.count.retried.Add(1)
	err := insist(ctx, func() error { return p.c.Retry(ctx, p.run.ID) })
	if problem(err) == "urn:weft:not-ended" { // an earlier request was carried out
		return nil
	}
	return hadEnded("retry", err) // the same, and the run has succeeded since
}

// meddle does to the run what the patron has in mind, and sends the signals that
// it waits for.
func (p *patron) meddle(ctx context.Context) error {
	id := p.run.ID
	if p.pauses {
		p.pauses = false
		if err := p.standStill(ctx); err != nil {
			return err
		}
	}
	if p.cancels {
		p.cancels, p.mayCancel = false, true
		err := insist(ctx, func() error { return p.c.Cancel(ctx, id, "enough") })
		if err == nil {
			p.mustCancel = true
			return nil
		}
		return hadEnded("cancel", err)
	}
	var d engine.Detail
	if err := insist(ctx, func() (err error) { d, err = p.c.Run(ctx, id); return err }); err != nil {
		return wrap("get", err)
	}
	if p.run.Status == engine.Paused {
		return hadEnded("resume", insist(ctx, func() error { return p.c.Resume(ctx, id) }))
	}
	for _, s := range d.Signals {
		path := s.Path
		if p.rng.IntN(3) == 0 {
			path = ""
		}
		p.life.count.signals.Add(1)
		if err := hadEnded("signal", insist(ctx, func() error { return p.c.Signal(ctx, id, s.Name, path, workload.SignalValue) })); err != nil {
			return err
		}
	}
	return nil
}

// standStill pauses the run for a while.
func (p *patron) standStill(ctx context.Context) error {
	id := p.run.ID
	err := insist(ctx, func() error { return p.c.Pause(ctx, id) })
	if err == nil {
		p.life.count.pauses.Add(1)
		var d engine.Detail
		if err := insist(ctx, func() (err error) { d, err = p.c.Run(ctx, id); return err }); err != nil {
			return wrap("get", err)
		}
		if d.Status != engine.Paused && !d.Status.Ended() {
			return fmt.Errorf("is %s, and was paused", d.Status)
		}
		p.life.pause(ctx, time.Duration(p.rng.IntN(500))*time.Millisecond)
		err = insist(ctx, func() error { return p.c.Resume(ctx, id) })
	}
	return hadEnded("pause", err)
}

// hadEnded is err, unless that says that the run had ended.
func hadEnded(what string, err error) error {
	if problem(err) == "urn:weft:ended" {
		return nil
	}
	return wrap(what, err)
}

func wrap(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// follow watches what happens in the run, and notes how often a function was
// executed when its step was told to have finished.
func (p *patron) follow(ctx context.Context, id string) {
	var after uint64
	for ctx.Err() == nil {
		var last error
		for e, err := range p.c.Events(ctx, id, after) {
			if err != nil {
				last = err
				break
			}
			if e.Seq <= after {
				p.fault("event %d comes after event %d", e.Seq, after)
			}
			after = e.Seq
			if e.Kind != string(telemetry.EventStepFinished) {
				continue
			}
			call := id + "/" + e.Step
			if e.Index != nil {
				call += fmt.Sprintf("[%d]", *e.Index)
			}
			if n := p.executed(id)[call]; n > 0 {
				p.life.count.told.Add(1)
				p.mu.Lock()
				if p.told[call] == 0 {
					p.told[call] = n
				}
				p.mu.Unlock()
			}
		}
		if last == nil {
			return
		}
		if !away(last) && ctx.Err() == nil {
			p.fault("events: %v", last)
			return
		}
		p.life.pause(ctx, 50*time.Millisecond)
	}
}

// remember notes how often functions were executed when the run was told to have
// succeeded.
func (p *patron) remember() {
	n := p.executed(p.run.ID)
	p.recount(n)
	p.mu.Lock()
	maps.Copy(p.told, n)
	p.mu.Unlock()
}

// recount holds executions against those that there were when somebody was told.
func (p *patron) recount(now map[string]int) {
	p.mu.Lock()
	told := maps.Clone(p.told)
	p.mu.Unlock()
	for call, before := range told {
		if now[call] != before {
			p.fault("%s was executed %d times when it was told to have finished, and %d times later", call, before, now[call])
		}
	}
}

// executed counts the executions of calls, by key, that functions have noted.
func (p *patron) executed(id string) map[string]int {
	n := map[string]int{}
	text, err := os.ReadFile(p.life.gateFile(id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.fault("%v", err)
	}
	for line := range strings.Lines(string(text)) {
		call, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		n[call]++
	}
	return n
}

// want is what the run gives.
func (p *patron) want() (workload.Result, error) {
	v := p.life.apps.get(chaosApp, p.run.Version)
	if v == nil {
		return workload.Result{}, errors.New("nobody has deployed that version")
	}
	return v.result(p.workflow, p.run.ID, p.input, p.uploads)
}

// verify compares the output, and the buffers that it names, with what they have
// to be.
func (p *patron) verify(ctx context.Context) {
	want, err := p.want()
	if err != nil {
		p.fault("%v", err)
		return
	}
	if !same(p.run.Output, want.Output) {
		p.fault("input %v gave %.300v, want %.300v", p.input, p.run.Output, want.Output)
	}
	for _, name := range buffers(want.Output) {
		if err := p.read(ctx, name, want.Slots[name]); err != nil && ctx.Err() == nil {
			p.fault("buffer %s: %v", name, err)
		}
	}
}

// read compares a buffer of the run with what it has to be.
func (p *patron) read(ctx context.Context, name string, want []byte) error {
	p.life.count.buffers.Add(1)
	return insist(ctx, func() error {
		r, size, err := p.c.Buffer(ctx, p.run.ID, name)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) || size >= 0 && size != int64(len(want)) {
			p.fault("buffer %s has %d bytes (it says %d), want %d: %.40q, want %.40q", name, len(got), size, len(want), got, want)
		}
		return nil
	})
}

// buffers lists the buffers that an output names.
func buffers(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["$buffer"].(string); ok {
			return []string{name}
		}
		var all []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, buffers(v[key])...)
		}
		return all
	case []any:
		var all []string
		for _, elem := range v {
			all = append(all, buffers(elem)...)
		}
		return all
	}
	return nil
}
