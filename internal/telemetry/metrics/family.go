package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Bounds of the values that labels have.
const (
	// NamesMax is how many pairs of app and function, or of app and workflow, a
	// family of metrics tells apart.
	NamesMax = 1000
	// RoutesMax is how many routes of the API are told apart.
	RoutesMax = 200
	// WordsMax is how many statuses, outcomes, codes or reasons are told apart for
	// each of them.
	WordsMax = 40
	// Other is the value of labels of what is beyond a bound. No app has this name.
	Other = "_other"
)

// name is what most metrics are about: a function or a workflow of an app.
type name struct{ app, of string }

var otherName = name{Other, Other}

// family finds what is counted under a key. Reading takes no lock: the map is
// replaced when a key is new, which happens as often as there are keys.
type family[K comparable, C any] struct {
	limit int       // keys, other apart
	other K         // stands for the keys beyond the limit
	make  func(K) C // what a new key has

	known atomic.Pointer[map[K]C] // never written to
	mu    sync.Mutex              // held by who replaces known
}

func newFamily[K comparable, C any](limit int, other K, make func(K) C) *family[K, C] {
	f := &family[K, C]{limit: limit, other: other, make: make}
	f.known.Store(&map[K]C{})
	return f
}

// get returns what k has, or what the keys beyond the limit have together.
func (f *family[K, C]) get(k K) C {
	if c, ok := (*f.known.Load())[k]; ok {
		return c
	}
	return f.add(k)
}

func (f *family[K, C]) add(k K) C {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := *f.known.Load()
	if c, ok := known[k]; ok {
		return c
	}
	named := len(known)
	if _, ok := known[f.other]; ok {
		named--
	}
	if named >= f.limit {
		k = f.other
		if c, ok := known[k]; ok {
			return c
		}
	}
	more := maps.Clone(known)
	c := f.make(k)
	more[k] = c
	f.known.Store(&more)
	return c
}

// drop forgets keys and then calls also, before anybody can make them anew.
func (f *family[K, C]) drop(which func(K) bool, also func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := maps.Clone(*f.known.Load())
	maps.DeleteFunc(left, func(k K, _ C) bool { return which(k) })
	f.known.Store(&left)
	also()
}
