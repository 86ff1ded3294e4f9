package machine

import (
	"fmt"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// What a request that waits or is parked without an instance has in memory is little: its record, and what it
// waits for. Its journal and the results of what it has begun are in the store, and are read when it
// goes on. Those of one that is in memory only stay there.

// resultsMax bounds the results that a request has in memory, in bytes; more are in the
// store only.
const resultsMax = 64 << 10

// shelve forgets what the store has of a request that nothing runs of.
func (m *Machine) shelve(r *request) {
	if r.volatile {
		return
	}
	r.logs, r.shelved = nil, r.Chunks > 0
	for id := range r.results {
		r.elsewhere(id)
	}
}

// elsewhere notes that the result of a child is in the store.
func (r *request) elsewhere(id string) {
	if v, known := r.results[id]; known {
		r.held -= len(v.Data) + len(v.Text)
		delete(r.results, id)
	}
	if r.away == nil {
		r.away = map[string]bool{}
	}
	r.away[id] = true
}

// learn notes the result of a child.
func (r *request) learn(id string, v wire.Value) {
	if r.results == nil {
		r.results = map[string]wire.Value{}
	}
	delete(r.away, id)
	r.held += len(v.Data) + len(v.Text)
	r.results[id] = v
}

// told notes the result of a child that has just ended, and was stored.
func (m *Machine) told(parent *request, id string, v wire.Value) {
	size := len(v.Data) + len(v.Text)
	if !parent.volatile && (parent.shelved || parent.held+size > resultsMax) {
		parent.elsewhere(id)
		return
	}
	parent.learn(id, v)
}

// recall reads the journal of a request that goes on.
func (m *Machine) recall(r *request, then func()) {
	if !r.shelved {
		then()
		return
	}
	keys := make([]string, r.Chunks)
	for i := range keys {
		keys[i] = record.Chunk(r.ID, uint64(i))
	}
	m.load(r, Load{Keys: keys}, func(values []wire.Value) {
		var entries []journal.Entry
		size := 0
		for i, v := range values {
			list, err := journal.Decode(v.Data)
			if err != nil {
				m.park(r, fmt.Sprintf("part %d of its journal cannot be read: %v", i, err))
				return
			}
			size += len(v.Data)
			entries = append(entries, list...)
		}
		r.logs, r.journal, r.shelved = logsOf(entries), size, false
		then()
	})
}
