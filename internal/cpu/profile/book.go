package profile

import (
	"container/list"
	"math"
	"time"
)

// DefaultFunctions is how many profiles a Book keeps unless told otherwise.
const DefaultFunctions = 10_000

// Book holds the profiles of functions by name; name and version of a function
// together are one name. When it is full, the function that was observed least
// recently makes room. It is not safe for concurrent use.
type Book struct {
	limit   int
	pages   map[string]*list.Element // of *page
	recent  *list.List               // the one observed last is in front
	general Profile                  // of all calls of all functions
}

// page is a function's profile.
type page struct {
	name     string
	profile  Profile
	mistakes float64 // faded sum of |mean before - CPU time| / CPU time, and what it counts
	judged   float64
}

// NewBook makes a book for at most functions profiles; 0 means DefaultFunctions.
func NewBook(functions int) *Book {
	if functions <= 0 {
		functions = DefaultFunctions
	}
	b := &Book{limit: functions, pages: map[string]*list.Element{}, recent: list.New()}
	b.general = prior()
	return b
}

// prior is what is assumed of calls before any was seen: from 1 ms to 1 s alike in
// the logarithm, with a tail, as functions are on the platforms whose traces are
// published. It counts as one call.
func prior() Profile {
	var p Profile
	for s := 0.001; s < 10; s *= 1.5 {
		p.add(s)
	}
	p.scale(1 / p.total())
	return p
}

// Observe adds a call of function that ended after cpu of processor time.
func (b *Book) Observe(function string, cpu time.Duration) {
	pg := b.page(function)
	if pg.profile.Known() {
		off := pg.profile.Mean() - cpu
		pg.mistakes = fading*pg.mistakes + float64(max(off, -off))/float64(max(cpu, Shortest))
		pg.judged = fading*pg.judged + 1
	}
	pg.profile.Observe(cpu)
	b.general.Observe(cpu)
}

// Error is by how much the calls of function differed from the mean of those before them,
// as a part of what they needed: the mean over the last fifty or so. It is 0 while the
// function is not known.
func (b *Book) Error(function string) float64 {
	e, ok := b.pages[function]
	if !ok || e.Value.(*page).judged == 0 {
		return 0
	}
	return e.Value.(*page).mistakes / e.Value.(*page).judged
}

// page is the page of function, made when there is none.
func (b *Book) page(function string) *page {
	if e, ok := b.pages[function]; ok {
		b.recent.MoveToFront(e)
		return e.Value.(*page)
	}
	if len(b.pages) >= b.limit {
		oldest := b.recent.Back()
		delete(b.pages, oldest.Value.(*page).name)
		b.recent.Remove(oldest)
	}
	pg := &page{name: function}
	b.pages[function] = b.recent.PushFront(pg)
	return pg
}

// Get is a copy of the profile of function as it was observed; the zero Profile when
// no call of it was.
func (b *Book) Get(function string) Profile {
	if e, ok := b.pages[function]; ok {
		return e.Value.(*page).profile
	}
	return Profile{}
}

// Put sets the profile of function, as it was read from a disk.
func (b *Book) Put(function string, p Profile) { b.page(function).profile = p }

// Drop forgets a function.
func (b *Book) Drop(function string) {
	if e, ok := b.pages[function]; ok {
		b.recent.Remove(e)
		delete(b.pages, function)
	}
}

// Len is the number of functions that are known.
func (b *Book) Len() int { return len(b.pages) }

// Functions visits the functions that are known, the one observed last first, until
// visit returns false. The profile is valid during the visit.
func (b *Book) Functions(visit func(function string, p *Profile) bool) {
	for e := b.recent.Front(); e != nil; e = e.Next() {
		if pg := e.Value.(*page); !visit(pg.name, &pg.profile) {
			return
		}
	}
}

// Estimate is what to go by for function now: its own profile, beside which what calls
// in general need counts as one call while it has none, as half a call after its first,
// a quarter after its second and so on. So an unknown function is taken to be like the
// others, and after three calls hardly so any more.
func (b *Book) Estimate(function string) Profile {
	var own *Profile
	if e, ok := b.pages[function]; ok {
		own = &e.Value.(*page).profile
		if own.calls >= Usable {
			return *own
		}
	} else {
		own = new(Profile)
	}
	return own.mixed(&b.general, math.Exp2(-float64(own.calls)))
}
