package machine

import (
	"strings"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// segment is what a request has done since it last waited, and nobody has seen.
type segment struct {
	writes []write
	latest map[string]int // index in writes, plus 1
	known  map[string]wire.Value
	sends  []record.Request
	undo   []record.Call
	size   int // bytes of writes
	cached int // bytes of known
}

// write is one version of a key's value.
type write struct {
	key      string
	value    []byte
	deleted  bool
	previous int // version of the same key, as in latest
}

// mark is a moment of a segment, to go back to.
type mark struct{ writes, sends, undo int }

func (s *segment) mark() mark { return mark{len(s.writes), len(s.sends), len(s.undo)} }

func (s *segment) put(key string, w wire.Write) {
	if s.latest == nil {
		s.latest = map[string]int{}
	}
	s.writes = append(s.writes, write{key, w.Value, w.Deleted, s.latest[key]})
	s.latest[key] = len(s.writes)
	s.size += len(key) + len(w.Value)
}

// rollback forgets what was written and sent after a mark.
func (s *segment) rollback(to mark) {
	for i := len(s.writes) - 1; i >= to.writes; i-- {
		w := s.writes[i]
		if w.previous == 0 {
			delete(s.latest, w.key)
		} else {
			s.latest[w.key] = w.previous
		}
		s.size -= len(w.key) + len(w.value)
	}
	s.writes = s.writes[:to.writes]
	s.sends = s.sends[:to.sends]
	s.undo = s.undo[:to.undo]
}

// get returns what a key's value is for the request itself.
func (s *segment) get(key string) (v wire.Value, known bool) {
	if i := s.latest[key]; i > 0 {
		if w := s.writes[i-1]; !w.deleted {
			return wire.Value{Data: w.value}, true
		}
		return wire.Value{Code: wire.Absent}, true
	}
	v, known = s.known[key]
	return v, known
}

// knownMax bounds the values that a segment remembers that were read, in bytes. Others are read again:
// they are locked.
const knownMax = 1 << 20

func (s *segment) learn(key string, v wire.Value) {
	if s.cached+len(v.Data) > knownMax {
		return
	}
	s.cached += len(v.Data)
	if s.known == nil {
		s.known = map[string]wire.Value{}
	}
	s.known[key] = v
}

// touched reports whether a key with a prefix was written after a mark.
func (s *segment) touched(since mark, prefix string) bool {
	for _, w := range s.writes[min(since.writes, len(s.writes)):] {
		if strings.HasPrefix(w.key, prefix) {
			return true
		}
	}
	return false
}

// ops lists the latest version of each key.
func (s *segment) ops() []Op {
	var ops []Op
	for i, w := range s.writes {
		if s.latest[w.key] == i+1 {
			ops = append(ops, Op{Key: w.key, Value: w.value, Delete: w.deleted})
		}
	}
	return ops
}

// want is a lock that a request needs.
type want struct {
	key  string
	mode lock.Mode
}

// acquire gets locks, one after the other, and goes on with then. A request that
// may not wait for one gives up all it has and begins the segment anew, with
// that one.
func (m *Machine) acquire(r *request, wants []want, then func()) {
	if r.lockless() {
		wants = nil
	}
	for i, w := range wants {
		outcome := m.locks.Acquire(r.owner, w.key, w.mode)
		if outcome == lock.Granted && m.o.Conflict() {
			outcome = lock.Dies
		}
		switch outcome {
		case lock.Waiting:
			m.stats.LockWaits++
			r.wants, r.then = wants[i:], then
			m.apart(r, r.owner.Locks() == 0 && !r.begun())
			return
		case lock.Dies:
			m.stats.Deaths++
			m.unwind(r)
			r.first = []want{w}
			m.start(r)
			return
		}
	}
	then()
}

// granted goes on with a request that has got the lock that it waited for.
func (m *Machine) granted(r *request) {
	if _, waiting := r.owner.Waits(); waiting || len(r.wants) == 0 {
		return // it was given up meanwhile
	}
	wants, then := r.wants[1:], r.then
	r.wants, r.then = nil, nil
	m.apart(r, false)
	m.acquire(r, wants, then)
}

// release gives up the locks of a request. Those that get them go on when this event
// is done with.
func (m *Machine) release(r *request) {
	if r.viewed {
		r.viewed = false
		m.emit(Close{r.ID})
	}
	for _, o := range m.locks.Release(r.owner) {
		m.ready = append(m.ready, m.owners[o])
	}
}

// fetch gives the values of keys that are locked. Those that are too large together are Pending;
// the first one never is.
func (m *Machine) fetch(r *request, keys []string, then func([]wire.Value)) {
	var missing []string
	for _, k := range keys {
		if _, known := r.seg.get(k); !known {
			missing = append(missing, k)
		}
	}
	all := func(read map[string]wire.Value) {
		values := make([]wire.Value, len(keys))
		for i, k := range keys {
			known := false
			if values[i], known = r.seg.get(k); !known {
				values[i] = read[k]
			}
		}
		then(values)
	}
	if len(missing) == 0 {
		all(nil)
		return
	}
	m.load(r, Load{Keys: missing, Bytes: answerMax}, func(values []wire.Value) {
		read := make(map[string]wire.Value, len(missing))
		for i, k := range missing {
			if read[k] = values[i]; values[i].Code != wire.Pending {
				r.seg.learn(k, values[i])
			}
		}
		all(read)
	})
}

// load asks the store; a request asks one thing at a time.
func (m *Machine) load(r *request, e Effect, then func([]wire.Value)) {
	m.loads++
	view := ""
	if r.lockless() {
		view, r.viewed = r.ID, true
	}
	switch q := e.(type) {
	case Load:
		q.Load, q.View = m.loads, view
		e = q
	case Scan:
		q.Load, q.View = m.loads, view
		e = q
	}
	r.loading, r.loaded = m.loads, then
	m.loading[m.loads] = r
	m.emit(e)
}

// arrived takes the answer in.
func (m *Machine) arrived(ev Loaded) {
	r := m.loading[ev.Load]
	delete(m.loading, ev.Load)
	if r == nil || r.loading != ev.Load {
		return
	}
	then := r.loaded
	r.loading, r.loaded = 0, nil
	then(ev.Values)
}
