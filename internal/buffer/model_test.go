package buffer

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the naive counterpart of Table: a list of everything that happened and is still of consequence, from
// which each answer is worked out anew.
type model struct {
	quota   int64
	slots   []*modelSlot
	holds   []modelHold
	private map[Attempt]int64
	waits   map[Attempt]string
}

type modelSlot struct {
	name      string // full
	scope     string
	leaf      string
	value     Value
	by        Attempt
	committed bool
	taker     Attempt
	gone      bool
}

type modelHold struct {
	by Attempt
	h  Holder
}

// live lists every holder that something holds.
func (m *model) live() map[Holder]bool {
	live := map[Holder]bool{}
	for _, s := range m.slots {
		if !s.gone && s.value.Holder != nil {
			live[s.value.Holder] = true
		}
	}
	for _, h := range m.holds {
		live[h.h] = true
	}
	return live
}

func (m *model) charged() int64 {
	var n int64
	for h := range m.live() {
		n += h.Size()
	}
	for _, p := range m.private {
		n += p
	}
	return n
}

func (m *model) room(h Holder) error {
	if !m.live()[h] && m.charged()+h.Size() > m.quota {
		return ErrQuota
	}
	return nil
}

// find gives the slot that a name means, or the kind of error. Names are plain, "/x" or "scope/x".
func (m *model) find(a Attempt, name string) (*modelSlot, error) {
	sees := func(s *modelSlot) bool { return s.committed || s.by == a }
	var found *modelSlot
	exact := func(full string) {
		for _, s := range m.slots {
			if s.name == full && s.by == a && !s.committed {
				found = s
				return
			}
		}
		for _, s := range m.slots {
			if s.name == full && sees(s) {
				found = s
				return
			}
		}
	}
	n, err := ParseName(name)
	if err != nil {
		return nil, ErrName
	}
	if n.Scope != "" || n.Wide {
		exact(name)
	} else if exact(a.Path + "/" + name); found == nil {
		for _, s := range m.slots {
			if s.leaf != name || s.gone || !sees(s) {
				continue
			}
			if found != nil {
				return nil, ErrAmbiguous
			}
			found = s
		}
	}
	switch {
	case found == nil || found.gone:
		return found, ErrNotFound
	case found.taker != Attempt{}:
		return found, ErrTaken
	}
	return found, nil
}

func (m *model) read(a Attempt, name string, typ uint64) (*modelSlot, error) {
	s, err := m.find(a, name)
	if err == nil && typ != 0 && s.value.Type != 0 && s.value.Type != typ {
		return nil, ErrType
	}
	return s, err
}

func (m *model) put(a Attempt, name string, v Value) error {
	s := &modelSlot{value: v, by: a, leaf: name}
	if name[0] == '/' {
		s.name, s.leaf = name, name[1:]
	} else {
		s.scope, s.name = a.Path, a.Path+"/"+name
	}
	for _, o := range m.slots {
		if o.name == s.name && (o.committed || o.by == a) {
			return ErrExists
		}
	}
	if err := m.room(v.Holder); err != nil {
		return err
	}
	m.slots = append(m.slots, s)
	return nil
}

func (m *model) commit(a Attempt) error {
	for _, s := range m.slots {
		for _, o := range m.slots {
			if s.by == a && !s.committed && o != s && o.committed && o.name == s.name {
				return ErrExists
			}
		}
	}
	for _, s := range m.slots {
		if s.by == a {
			s.committed = true
		}
		if s.taker == a {
			s.gone = true
		}
	}
	m.end(a)
	return nil
}

func (m *model) withdraw(a Attempt) {
	for _, s := range m.slots {
		if s.taker == a && !s.gone {
			s.taker = Attempt{}
		}
	}
	m.slots = slices.DeleteFunc(m.slots, func(s *modelSlot) bool { return s.by == a && !s.committed })
	m.end(a)
}

func (m *model) end(a Attempt) {
	m.holds = slices.DeleteFunc(m.holds, func(h modelHold) bool { return h.by == a })
	delete(m.private, a)
	delete(m.waits, a)
}

// waitOver says what Wait must: there, never, or not yet.
func (m *model) waitOver(a Attempt, name string) (over, never bool) {
	s, err := m.find(a, name)
	switch {
	case err == nil:
		return true, false
	case errors.Is(err, ErrAmbiguous), s != nil && s.scope != a.Path && isPart(name):
		for _, s := range m.slots {
			if s.leaf == name && !s.gone && s.taker == (Attempt{}) && (s.committed || s.by == a) {
				return true, false
			}
		}
		return false, false
	case s != nil && (s.gone || s.taker == a):
		return false, true
	}
	return false, false
}

func (m *model) woken() []Attempt {
	var ready []Attempt
	for a, name := range m.waits {
		if over, never := m.waitOver(a, name); over || never {
			ready = append(ready, a)
		}
	}
	for _, a := range ready {
		delete(m.waits, a)
	}
	slices.SortFunc(ready, compareAttempts)
	return ready
}

func TestTableAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const quota = 60
		table := NewTable(quota)
		m := &model{quota: quota, private: map[Attempt]int64{}, waits: map[Attempt]string{}}
		var known []Holder        // holders that may be put again, in order
		made := map[Holder]bool{} // every holder that the table was given and has not released
		numbers := map[string]int{"map[0]": 1, "map[1]": 1, "red": 1}

		paths := rapid.SampledFrom([]string{"map[0]", "map[1]", "red"})
		attempt := func() Attempt { p := paths.Draw(t, "path"); return Attempt{p, numbers[p]} }
		// One that waits is blocked: before it can do something else its wait must have timed out.
		awake := func() Attempt {
			a := attempt()
			delete(m.waits, a)
			table.Unwait(a)
			return a
		}
		putName := rapid.SampledFrom([]string{"x", "y", "/x", "/z"})
		readName := rapid.SampledFrom([]string{"x", "y", "z", "/x", "/z", "map[0]/x", "map[0]/y", "map[1]/x", "red/x", "red/y", "a b"})
		types := rapid.SampledFrom([]uint64{0, 0, 1, 2})
		agree := func(what string, got, want error) {
			if (got == nil) != (want == nil) || want != nil && !errors.Is(got, want) {
				t.Fatalf("%s: %v, the model says %v", what, got, want)
			}
		}
		holder := func() Holder {
			live := m.live()
			known = slices.DeleteFunc(known, func(h Holder) bool { return !live[h] })
			if len(known) > 0 && rapid.Bool().Draw(t, "forward") {
				return rapid.SampledFrom(known).Draw(t, "holder")
			}
			h := &Inline{Bytes: make([]byte, rapid.IntRange(0, 25).Draw(t, "size"))}
			known = append(known, h)
			return h
		}
		ready := func(got []Attempt) {
			if want := m.woken(); !slices.Equal(got, want) {
				t.Fatalf("ready %v, the model says %v", got, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(*rapid.T) {
				a, name, v := awake(), putName.Draw(t, "name"), Value{Holder: holder(), Type: types.Draw(t, "type")}
				want := m.put(a, name, v)
				agree("put", table.Put(a, name, v), want)
				if want == nil {
					made[v.Holder] = true
				}
			},
			"alloc": func(*rapid.T) {
				a, h := awake(), holder()
				want := m.room(h)
				agree("alloc", table.Alloc(a, h), want)
				if want == nil {
					made[h] = true
					m.holds = append(m.holds, modelHold{a, h})
				}
			},
			"import": func(*rapid.T) {
				v := Value{Holder: holder()}
				want := m.put(Attempt{"map[0]", -1}, "y", v)
				if want == nil {
					m.slots[len(m.slots)-1].committed = true
					m.slots[len(m.slots)-1].by = Attempt{}
					made[v.Holder] = true
				}
				got, err := table.Import("map[0]/y", v)
				agree("import", err, want)
				if err == nil {
					ready(got)
				}
			},
			"borrow or take": func(*rapid.T) {
				a, name, typ := awake(), readName.Draw(t, "name"), types.Draw(t, "type")
				s, want := m.read(a, name, typ)
				take := rapid.Bool().Draw(t, "take")
				read := table.Borrow
				if take {
					read = table.Take
				}
				v, err := read(a, name, typ)
				agree("read "+name, err, want)
				if err != nil {
					return
				}
				if v != s.value {
					t.Fatalf("%s is %v, the model says %v", name, v, s.value)
				}
				m.holds = append(m.holds, modelHold{a, v.Holder})
				if take {
					s.taker = a
				}
			},
			"release": func(*rapid.T) {
				a := attempt()
				i := slices.IndexFunc(m.holds, func(h modelHold) bool { return h.by == a })
				if i < 0 {
					if table.Release(a, &Inline{}) {
						t.Fatal("released what it never held")
					}
					return
				}
				h := m.holds[i].h
				m.holds = slices.Delete(m.holds, i, i+1)
				if !table.Release(a, h) {
					t.Fatal("does not know that it holds it")
				}
			},
			"charge": func(*rapid.T) {
				a, n := awake(), int64(rapid.IntRange(-10, 20).Draw(t, "bytes"))
				var want error
				if n > 0 && m.charged()+n > quota {
					want = ErrQuota
				}
				agree("charge", table.Charge(a, n), want)
				if want == nil {
					m.private[a] = max(0, m.private[a]+n)
				}
			},
			"wait": func(*rapid.T) {
				a, name := attempt(), readName.Draw(t, "name")
				got, err := table.Wait(a, name)
				if errors.Is(err, ErrName) {
					return
				}
				delete(m.waits, a)
				over, never := m.waitOver(a, name)
				if got != over || (err != nil) != never {
					t.Fatalf("%v waits for %s: %v, %v; the model says %v, never %v", a, name, got, err, over, never)
				}
				if !over && !never {
					m.waits[a] = name
				}
			},
			"commit": func(*rapid.T) {
				a := attempt()
				want := m.commit(a)
				got, err := table.Commit(a)
				agree("commit", err, want)
				if want != nil {
					return
				}
				numbers[a.Path]++
				ready(got)
			},
			"withdraw": func(*rapid.T) {
				a := attempt()
				m.withdraw(a)
				got := table.Withdraw(a)
				numbers[a.Path]++
				ready(got)
			},
			"": func(*rapid.T) {
				for _, h := range table.Released() {
					if !made[h] {
						t.Fatal("released twice, or never held")
					}
					delete(made, h)
				}
				live := m.live()
				for h := range live {
					if !made[h] {
						t.Fatal("released while it is held")
					}
				}
				if len(made) != len(live) {
					t.Fatalf("%d holders leak", len(made)-len(live))
				}
				if got, want := table.Charged(), m.charged(); got != want || got < 0 || got > quota {
					t.Fatalf("%d bytes charged, %d are held", got, want)
				}
				if got := table.Waiting(); len(got) != len(m.waits) {
					t.Fatalf("waiting %v, the model says %v", got, m.waits)
				}
			},
		})
		table.Drop()
		for _, h := range table.Released() {
			delete(made, h)
		}
		if len(made) != 0 || table.Charged() != 0 {
			t.Fatalf("%d holders and %d bytes are left after Drop", len(made), table.Charged())
		}
	})
}
