package machine

// Time that methods take is bounded: that of an execution from its beginning, or from when its
// request last waited, with what it calls. Who waits for a lock is not to blame, and who
// calls a method that may take longer has the time of that one.

// watch begins the time of a request's executions anew.
func (m *Machine) watch(r *request) {
	for i, c := range r.stack {
		c.since = m.now
		m.supervise(c, i)
	}
}

// due is when the time of an execution is over, as things are.
func due(c *call) (at int64) {
	above := false
	for _, c2 := range c.r.stack {
		if above = above || c2 == c; above {
			at = max(at, after(c2.since, c2.limit))
		}
	}
	return at
}

// supervise has an execution looked at when its time is over. One that was called is guarded by
// who has called it, unless that one has more time.
func (m *Machine) supervise(c *call, place int) {
	if c.guarded == c.r.turn || place > 0 && due(c) >= due(c.r.stack[0]) {
		return
	}
	c.guarded = c.r.turn
	m.patrol(c)
}

// patrol kills the instance of what runs when the time of an execution is over.
func (m *Machine) patrol(c *call) {
	r := c.r
	m.at(due(c), r, func() {
		switch {
		case m.calls[c.id] != c || r.state != Running:
		case len(r.wants) > 0 || r.loading != 0:
			c.since = m.now
			m.patrol(c)
		case due(c) > m.now:
			m.patrol(c)
		default:
			c.guarded = 0
			m.emit(Kill{r.stack[len(r.stack)-1].id})
		}
	})
}
