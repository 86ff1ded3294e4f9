package buffer

// File names a file that another host of the run has put into the same
// directory, as the node tells it.
func (f *Folder) File(name string, size int64) *File {
	return &File{folder: f, key: name, name: name, size: size}
}

// Hold holds for the attempt what it got from elsewhere: a segment that the
// node's table decided about. It is not charged, the other table does that.
func (t *Table) Hold(a Attempt, h Holder) {
	if t.closed || h == nil {
		return
	}
	if !t.retain(h) {
		t.holders[h] = held{refs: 1}
	}
	t.open(a).hold(h)
}

// Close ends a segment on this side, for owners that OnRelease handed it to.
// Its pages live as long as another process holds or maps it.
func (s *Segment) Close() { s.close() }
