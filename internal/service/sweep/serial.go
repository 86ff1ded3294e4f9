package sweep

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/service"
)

// history is what clients have seen, and the state at the end.
type history struct {
	script  *Script
	ops     []op
	state   []string
	outcome []string // of the answers and the state
	after   [][]int  // the requests that had been answered before a request was sent
	budget  int
}

// orders bounds the beginnings of orders that are tried.
const orders = 200_000

func newHistory(s *Script, ops []op, state []string) *history {
	h := &history{script: s, ops: ops, state: state, after: make([][]int, len(ops)), budget: orders}
	answers := make([]string, len(ops))
	for i, o := range ops {
		answers[i] = o.answer
		for j, p := range ops {
			if p.answered > 0 && p.answered < o.asked {
				h.after[i] = append(h.after[i], j)
			}
		}
	}
	h.outcome = s.outcome(answers, state)
	return h
}

// serial looks for an order of segments in which memory does what a history shows.
func (h *history) serial() error {
	if h.search(nil) {
		return nil
	}
	var b strings.Builder
	if h.budget <= 0 {
		fmt.Fprintf(&b, "%d orders were tried, and there are more", orders)
	}
	for i, o := range h.ops {
		fmt.Fprintf(&b, "\nop%d %v, sent at %d, answered at %d: %s", i, o.call, o.asked, o.answered, o.answer)
	}
	return fmt.Errorf("no order of segments gives this: %s\n%s", b.String(), strings.Join(h.state, "\n"))
}

// search tries the orders that begin in a way.
func (h *history) search(path []int) bool {
	if h.budget--; h.budget < 0 {
		return false
	}
	choices, over, ok := h.replay(path)
	if !ok {
		return false
	}
	if over {
		return true
	}
	for _, c := range choices {
		if h.search(append(slices.Clone(path), c)) {
			return true
		}
	}
	return false
}

// replay runs memory in an order. It returns which choices there are next, the
// likely ones first, whether this was all, and whether it is as in the history so far.
func (h *history) replay(path []int) (choices []int, over, ok bool) {
	m := service.NewMemory(h.script.Services...)
	defer m.Close()
	var ready []string
	next := -1
	m.Order(func(list []string) int {
		i := next
		if next = -1; i < 0 {
			ready = slices.Clone(list)
		}
		return i
	})
	ids := map[string]int{}
	begun, ended := make([]bool, len(h.ops)), make([]bool, len(h.ops))
	known := func(text string) string { // by its ID in the history
		for id, i := range ids {
			text = strings.ReplaceAll(text, quoted(id), quoted(fmt.Sprint("op", i)))
			text = strings.ReplaceAll(text, "["+id+"]", fmt.Sprint("[op", i, "]"))
		}
		return text
	}
	answers := make([]string, len(h.ops))
	look := func() bool {
		for id, i := range ids {
			if ended[i] {
				continue
			}
			r, done, err := service.Result[json.RawMessage](m, id)
			if !done {
				continue
			}
			ended[i] = true
			text := string(r)
			if err != nil {
				text = "error: " + err.Error()
			}
			answers[i] = known(text)
			if h.script.mask(answers[i]) != h.script.mask(h.ops[i].answer) {
				return false
			}
		}
		for i, o := range h.ops {
			if begun[i] || slices.ContainsFunc(h.after[i], func(j int) bool { return !ended[j] }) {
				continue
			}
			begun[i] = true
			args := make([]any, len(o.call.Args))
			for n, a := range o.call.Args {
				args[n] = a
			}
			id, err := service.Accept(m, service.NewRequest[json.RawMessage](o.call.To.Service, o.call.To.Object, o.call.To.Method, args...))
			if err != nil {
				panic(err)
			}
			ids[id] = i
		}
		return true
	}
	for n := 0; ; n++ {
		if !look() {
			return nil, false, false
		}
		ready, next = nil, -1
		if n < len(path) {
			next = path[n]
		}
		m.Advance(time.Duration(0))
		if n >= len(path) {
			break
		}
	}
	if len(ready) == 0 {
		if slices.Contains(ended, false) {
			return nil, false, false
		}
		lines := m.State()
		for i := range lines {
			lines[i] = known(lines[i])
		}
		return nil, true, slices.Equal(h.script.outcome(answers, lines), h.outcome)
	}
	for i := range ready {
		choices = append(choices, i)
	}
	likely := func(i int) int {
		if n, ours := ids[ready[i]]; ours {
			return h.ops[n].answered
		}
		if ready[i] == "" {
			return len(h.ops) * 1000
		}
		return 0
	}
	slices.SortStableFunc(choices, func(a, b int) int { return likely(a) - likely(b) })
	return choices, false, true
}

func quoted(s string) string { return `"` + s + `"` }
