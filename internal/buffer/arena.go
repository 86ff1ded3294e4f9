package buffer

// ArenaOptions bound what an Arena keeps.
type ArenaOptions struct {
	Resident int64          // bytes kept, those being zeroed included; default 512 MiB
	Return   func(*Segment) // gets what is not kept, without a reference; default: closes it
}

// Arena keeps the segments of one host resident and gives them out again: the host's.
type Arena struct{}

// NewArena starts an arena.
func NewArena(o ArenaOptions) *Arena { return &Arena{} }

// Get returns a zero segment of n bytes or slightly more, with one reference, or nil when none is at hand.
func (a *Arena) Get(n int64) *Segment { return nil }

// Put takes a segment whose last reference went (it fits OnRelease).
func (a *Arena) Put(s *Segment) {}

// Resident is how many bytes the arena keeps, those being zeroed included.
func (a *Arena) Resident() int64 { return 0 }

// Close gives everything back and waits for the arena's goroutine.
func (a *Arena) Close() error { return nil }
