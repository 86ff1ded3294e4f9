package lock

// Clone copies a table together with its owners, whose order is kept.
func (t *Table) Clone(owners []*Owner) (*Table, []*Owner) {
	next := NewTable()
	keys := map[*key]*key{}
	for name, k := range t.keys {
		keys[k] = &key{name: name}
		next.keys[name] = keys[k]
	}
	copies := map[*Owner]*Owner{}
	list := make([]*Owner, len(owners))
	for i, o := range owners {
		c := NewOwner(o.age)
		for k, m := range o.held {
			c.held[keys[k]] = m
		}
		c.waits = keys[o.waits]
		copies[o], list[i] = c, c
	}
	for k, c := range keys {
		for _, h := range k.holders {
			c.holders = append(c.holders, copies[h])
		}
		for _, w := range k.queue {
			c.queue = append(c.queue, waiter{copies[w.owner], w.mode})
		}
	}
	return next, list
}
