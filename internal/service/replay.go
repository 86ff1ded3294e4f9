package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// ErrGone says that a request is not there, or has ended.
var ErrGone = errors.New("it is not there, or has ended")

// Story is a request that has not ended, as the store has it.
type Story struct {
	Request  record.Request
	Entries  []journal.Entry // in the order in which they were written; a later one replaces an earlier one
	Promises map[string]wire.Value
}

// Story reads a request. One whose first segment has not ended is not in the store: ErrGone.
func (s *Services) Story(id string) (Story, error) {
	view := s.o.Store.Snapshot()
	defer view.Close()
	item, err := view.Get([]byte(record.Open(id)))
	if errors.Is(err, store.ErrNotFound) {
		return Story{}, fmt.Errorf("request %s: %w", id, ErrGone)
	}
	if err != nil {
		return Story{}, err
	}
	var st Story
	if st.Request, err = record.DecodeRequest(id, item.Value); err != nil {
		return Story{}, err
	}
	var broken error
	if st.Entries, broken, err = entries(view, st.Request); err == nil && broken == nil {
		st.Promises, broken, err = promises(view, id)
	}
	return st, errors.Join(broken, err)
}

// Replayed is what has become of a journal in other code.
type Replayed struct {
	Questions  int                 // that were asked and compared
	Divergence *journal.Divergence // nil: the code has asked the same
	Failure    string              // what else has gone wrong; "": nothing
}

// Same reports whether the request could go on with that code.
func (r Replayed) Same() bool { return r.Divergence == nil && r.Failure == "" }

// Replay runs a request's method with the code of a version of its app, which answers as its
// journal has it, until that ends, and compares what the code asks. Nothing comes of it: no state
// is read or written, no side effect done, nothing called. limit bounds the time that
// the code may take between two answers.
func (s *Services) Replay(ctx context.Context, version string, st Story, limit time.Duration) Replayed {
	p := &player{s: s, version: version, limit: limit, request: st.Request, logs: map[string]*played{}}
	for path, entries := range journal.Tell(st.Entries).Paths {
		p.logs[path] = &played{start: entries[0].Start, entries: entries[1:]}
	}
	err := p.run(ctx, "", st.Request.Call)
	r := Replayed{Questions: p.questions}
	if !errors.As(err, &r.Divergence) && err != nil {
		r.Failure = err.Error()
	}
	return r
}

// player replays a request.
type player struct {
	s         *Services
	version   string
	limit     time.Duration
	request   record.Request
	logs      map[string]*played // by path
	calls     uint64
	questions int
}

// played is the journal of an execution.
type played struct {
	start   wire.Start
	entries []journal.Entry // of question i+1
	asked   []wire.Asker    // likewise, in the replay
}

// run executes a method until the journal ends: nil, a *journal.Divergence, or what
// has gone wrong.
func (p *player) run(ctx context.Context, path string, what record.Call) error {
	log := p.logs[path]
	if log == nil {
		return nil // it had not begun
	}
	i, err := p.s.listen(kind{what.To.Service, p.version})
	if err != nil {
		return err
	}
	defer i.close()
	p.calls++
	start := log.start
	start.Call, start.Request, start.Attempt, start.To, start.Args = p.calls, p.request.ID, 1, what.To, what.Args
	if err := i.real.Send(wire.Encode(nil, localize(&start))); err != nil {
		return err
	}
	for {
		var q wire.Asker
		select {
		case m := <-i.said:
			asks, ok := m.(wire.Asker)
			if !ok || asks.Head().Call != start.Call || asks.Head().Seq != uint64(len(log.asked))+1 {
				continue
			}
			q = asks
		case err := <-i.gone:
			return err
		case <-time.After(p.limit):
			return fmt.Errorf("%v: no question within %v", what.To, p.limit)
		case <-ctx.Done():
			return ctx.Err()
		}
		if end, ok := q.(*wire.Return); ok && (end.Value.Code == wire.Panicked || end.Value.Code == wire.Refused) {
			return fmt.Errorf("%v: %v: %s", what.To, end.Value.Code, end.Value.Text)
		}
		if len(log.asked) == len(log.entries) {
			return nil // what it would do next
		}
		was := log.entries[len(log.asked)]
		log.asked = append(log.asked, q)
		p.questions++
		if d := journal.Compare(what.To, was, q); d != nil {
			return d
		}
		if !was.Answered {
			return p.below(ctx, path, log, q)
		}
		if wire.Silent(q) {
			continue
		}
		a := was.Answer
		a.Call, a.Seq = start.Call, was.Seq
		if err := i.real.Send(wire.Encode(nil, &a)); err != nil {
			return err
		}
	}
}

// listener is an instance that serves nobody else, and what it says.
type listener struct {
	real Instance
	said chan wire.Message
	gone chan error // why it is dead, or has to be
	quit chan struct{}
}

// listen starts an instance for a replay.
func (s *Services) listen(k kind) (*listener, error) {
	l := &listener{said: make(chan wire.Message), gone: make(chan error, 1), quit: make(chan struct{})}
	tell := func(err error) {
		select {
		case l.gone <- err:
		default:
		}
	}
	var err error
	l.real, err = s.o.Instances.Start(k.service, k.version, func(frame []byte) {
		m, err := wire.Decode(frame)
		if err != nil {
			tell(err)
			return
		}
		k.globalize(m)
		select {
		case l.said <- m:
		case <-l.quit:
		}
	}, func(err error) { tell(errors.Join(errors.New("the instance has ended"), err)) })
	if err != nil {
		close(l.quit)
		return nil, fmt.Errorf("start an instance of %s: %w", k.service, err)
	}
	return l, nil
}

func (l *listener) close() {
	close(l.quit) // what it says is waited for
	l.real.Close()
}

// below goes on with what a question without an answer has called; one that waits for
// something else is where the journal ends.
func (p *player) below(ctx context.Context, path string, log *played, q wire.Asker) error {
	seq := q.Head().Seq
	if wait, ok := q.(*wire.Await); ok {
		if len(wait.Handles) != 1 || wait.Handles[0] == 0 || wait.Handles[0] > uint64(len(log.asked)) {
			return nil
		}
		seq = wait.Handles[0]
		q = log.asked[seq-1]
	}
	if call, ok := q.(*wire.Invoke); ok {
		return p.run(ctx, journal.Below(path, seq), record.Call{To: call.To, Args: call.Args})
	}
	return nil
}
