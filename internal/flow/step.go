package flow

import "fmt"

// step is the state of one step in one frame. It goes from waiting for its
// needs to open (its items begin, as many at a time as may) to done.
type step struct {
	frame  *frame
	id     int  // in the workflow's Steps
	needs  int  // how many are not done
	live   bool // some need was not skipped
	queued bool // in Machine.ready
	opened bool // all needs are done
	output any

	each    bool // there is a foreach
	source  items
	items   []*item // those that were begun and are not done, by index
	next    int     // the first that was not begun
	running int
	left    int      // items that are not done
	caught  *Failure // the last failure that the catch replaced

	status  Status   // once it is done
	failure *Failure // of a failed step
	width   int      // how many items it has had
}

func (s *step) def() *Step   { return &s.frame.graph.flow.Steps[s.id] }
func (s *step) path() string { return s.frame.prefix + s.def().Name }

// open decides what there is to do in a step whose needs are done.
func (m *Machine) open(s *step) {
	s.opened = true
	if len(s.frame.graph.needs[s.id]) > 0 && !s.live {
		m.finishStep(s, Skipped, nil)
		return
	}
	if m.retried {
		if _, ok := m.finished[(&item{step: s, index: -1}).id()]; ok {
			m.again(s.whole()) // as a whole: its expressions are not asked again
			return
		}
	}
	def := s.def()
	here := scope{frame: s.frame, step: s.id}
	m.evaluate(here, []Template{def.When}, func(values []any, failure *Failure) {
		wanted := true
		if failure == nil && !def.When.IsZero() {
			wanted, failure = check(condition, values[0])
		}
		switch {
		case failure != nil:
			m.failStep(s, failure)
		case !wanted:
			m.finishStep(s, Skipped, nil)
		case def.Foreach.IsZero():
			m.openItems(s, items{width: 1})
		default:
			m.evaluate(here, []Template{def.Foreach}, func(values []any, failure *Failure) {
				var source items
				if failure == nil {
					source, failure = check(makeItems, values[0])
				}
				if failure != nil {
					m.failStep(s, failure)
					return
				}
				s.each = true
				m.openItems(s, source)
			})
		}
	})
}

// check applies a function that judges the value of an expression.
func check[T any](judge func(any) (T, error), v any) (T, *Failure) {
	result, err := judge(v)
	if err != nil {
		return result, &Failure{Kind: KindExpression, Message: err.Error()}
	}
	return result, nil
}

func (m *Machine) openItems(s *step, source items) {
	s.source, s.left, s.width = source, source.width, source.width
	if s.each {
		s.output = make([]any, source.width)
	}
	if source.width == 0 {
		m.finishStep(s, Succeeded, s.output)
		return
	}
	s.items = make([]*item, source.width)
	m.pump(s)
}

// pump begins as many items as may run at a time.
func (m *Machine) pump(s *step) {
	limit := s.def().Concurrency
	if limit == 0 {
		limit = s.source.width
	}
	for s.next < s.source.width && s.running < limit && !s.frame.over {
		m.beginItem(s)
	}
}

// failStep fails a step as a whole, before it has items. Its catch gives the
// output of the whole step then.
func (m *Machine) failStep(s *step, failure *Failure) {
	m.giveUp(s.whole(), *failure)
}

// whole makes the one item of a step that goes over nothing, or fails before it
// has items.
func (s *step) whole() *item {
	it := &item{step: s, index: -1}
	s.source, s.items, s.next, s.running, s.left, s.width = items{width: 1}, []*item{it}, 1, 1, 1, 1
	return it
}

// finishItem takes the output of an item.
func (m *Machine) finishItem(it *item, output any) {
	s := it.step
	if it.catching != nil {
		s.caught = it.catching
	}
	m.finished[it.id()] = finished{output, it.catching}
	s.items[max(it.index, 0)] = nil
	s.running--
	s.left--
	if s.each {
		s.output.([]any)[it.index] = output
	} else {
		s.output = output
	}
	switch {
	case s.left > 0:
		m.enqueue(s)
	case s.caught != nil:
		m.finishStep(s, Caught, s.output)
	default:
		m.finishStep(s, Succeeded, s.output)
	}
}

// finishStep records the end of a step and makes ready what waited for it.
func (m *Machine) finishStep(s *step, status Status, output any) {
	s.output, s.items, s.source, s.status = output, nil, items{}, status
	m.emit(StepDone{s.path(), status, output, s.caught})
	f := s.frame
	for _, i := range f.graph.next[s.id] {
		follower := &f.steps[i]
		follower.needs--
		follower.live = follower.live || status != Skipped
		if follower.needs == 0 {
			m.enqueue(follower)
		}
	}
	if f.left--; f.left == 0 {
		m.finishFrame(f)
	}
}

// items is what a foreach goes over: a list, several lists in step, or the
// numbers from 0. Exactly one of list and lists is set, or none.
type items struct {
	width int
	list  []any
	lists map[string]any // of []any
}

// makeItems judges the value of a foreach.
func makeItems(v any) (items, error) {
	source := items{}
	switch v := v.(type) {
	case []any:
		source = items{width: len(v), list: v}
	case int:
		source.width = v
	case float64:
		if source.width = int(v); float64(source.width) != v {
			return items{}, fmt.Errorf("foreach: %v is not a whole number", v)
		}
	case map[string]any:
		width, first := -1, ""
		for _, key := range sortedKeys(v) {
			l, ok := v[key].([]any)
			if !ok {
				return items{}, fmt.Errorf("foreach: %s is %s, not a list", key, typeOf(v[key]))
			}
			if width >= 0 && len(l) != width {
				return items{}, fmt.Errorf("foreach: %s has %d items, but %s has %d", first, width, key, len(l))
			}
			if width < 0 {
				width, first = len(l), key
			}
		}
		if width < 0 {
			return items{}, fmt.Errorf("foreach: the object of lists is empty")
		}
		source = items{width: width, lists: v}
	default:
		return items{}, fmt.Errorf("foreach goes over a list, an object of lists or a number, not %s", typeOf(v))
	}
	if source.width < 0 {
		return items{}, fmt.Errorf("foreach: %d is negative", source.width)
	}
	if source.width > MaxWidth {
		return items{}, fmt.Errorf("foreach: %d items, the limit is %d", source.width, MaxWidth)
	}
	return source, nil
}

// at returns .item.
func (s items) at(i int) any {
	switch {
	case s.list != nil:
		return s.list[i]
	case s.lists != nil:
		item := make(map[string]any, len(s.lists))
		for key, l := range s.lists {
			item[key] = l.([]any)[i]
		}
		return item
	}
	return i
}
