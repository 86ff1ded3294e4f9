package machine

import (
	"fmt"
	"slices"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// An object may have a version of its state (wire.VersionField), which code that knows of
// versions reads before anything else of the object. Code that does not is older than any
// migration: it never gets to see an object that has one. That costs something only in
// services of which an object has ever had a version.

var versionKey = wire.Key{Field: wire.VersionField}

// edition is a service in a version of its app.
type edition struct{ service, version string }

// versions is what is known of versions of the state.
type versions struct {
	kept  map[string]bool  // services that have objects with a version
	known map[edition]bool // whose code has asked for one
}

// knows reports whether the code of an execution asks for the version of the state, where
// that is of any use.
func (m *Machine) knows(c *call) bool {
	return !m.versions.kept[c.to.Service] || m.versions.known[edition{c.to.Service, c.r.Version}]
}

// guard keeps code that knows nothing of versions from an object that has one: such a
// request cannot go on.
func (m *Machine) guard(c *call, q wire.Asker, then func()) {
	writes := q.Head().Writes
	for _, w := range writes {
		if w.Key == versionKey && !m.versions.kept[c.to.Service] {
			m.versions.kept[c.to.Service] = true
			m.emit(Append{[]Op{{Key: record.Versioned(c.to.Service), Value: []byte{1}}}})
		}
	}
	uses := len(writes) > 0
	switch q := q.(type) {
	case *wire.Read:
		uses = true
		if slices.Contains(q.Keys, versionKey) {
			m.versions.known[edition{c.to.Service, c.r.Version}] = true
		}
	case *wire.Scan:
		uses = true
	}
	if !uses || m.knows(c) {
		then()
		return
	}
	name := c.state(versionKey)
	m.acquire(c.r, []want{c.want(name, lock.Shared)}, func() {
		m.fetch(c.r, []string{name}, func(values []wire.Value) {
			if values[0].Code == wire.Absent {
				then()
				return
			}
			m.unfit(c, fmt.Sprintf("the state has version %s, and the code of version %.12s of the app knows of none: it was written by a later one", values[0].Data, c.r.Version))
		})
	})
}

// unfit parks a request because the code of an execution does not fit the state.
func (m *Machine) unfit(c *call, why string) {
	if c.r.stored || len(c.r.stack) > 1 { // otherwise who sent it is told what it has called
		why = fmt.Sprintf("%v: %s", c.to, why)
	}
	m.park(c.r, why[:min(len(why), whyMax)])
}
