package node

import (
	"maps"
	"slices"
	"sync"

	"github.com/weft-run/weft/internal/sandbox/process"
)

// families finds out what functions in Python of an app have in common, while
// each is built: those with the same layer are a family, and what at least two of
// them import is imported once for all, see process.Function.Common.
type families struct {
	pending sync.WaitGroup // of the functions that may still join

	mu      sync.Mutex
	members map[string]int            // by layer; guarded by mu
	imports map[string]map[string]int // by layer, by module: how many import it; guarded by mu
}

// seat is the place of one function. It is left in any case, and before others
// are waited for.
type seat struct {
	of   *families
	once sync.Once
}

// seats makes a place for each of n functions. There are no others: who meets waits
// for all.
func (f *families) seats(n int) []*seat {
	f.pending.Add(n)
	all := make([]*seat, n)
	for i := range all {
		all[i] = &seat{of: f}
	}
	return all
}

func (s *seat) leave() { s.once.Do(s.of.pending.Done) }

// meet tells the others what a function imports, waits until all have, and makes
// p a member of its family if there is one.
func (s *seat) meet(p *process.Function, layer, app string, imports []string) {
	f := s.of
	f.mu.Lock()
	if f.members == nil {
		f.members, f.imports = map[string]int{}, map[string]map[string]int{}
	}
	f.members[layer]++
	if f.imports[layer] == nil {
		f.imports[layer] = map[string]int{}
	}
	for _, name := range imports {
		f.imports[layer][name]++
	}
	f.mu.Unlock()
	s.leave()
	f.pending.Wait()
	if f.members[layer] < 2 {
		return
	}
	p.Family = app
	for _, name := range slices.Sorted(maps.Keys(f.imports[layer])) {
		if f.imports[layer][name] > 1 {
			p.Common = append(p.Common, name)
		}
	}
}
