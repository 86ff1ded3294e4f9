package wire

import (
	"fmt"
	"strings"

	"github.com/weft-run/weft/internal/codec"
)

func (k Key) String() string {
	if k.Item {
		return k.Field + "[" + k.Entry + "]"
	}
	return k.Field
}

// Describe implements Asker.
func (m *Read) Describe() (string, func(*codec.Coder)) {
	names := make([]string, len(m.Keys))
	for i, k := range m.Keys {
		names[i] = k.String()
	}
	return "read " + strings.Join(names, ", "), m.body
}

// Describe implements Asker.
func (m *Scan) Describe() (string, func(*codec.Coder)) { return "scan " + m.Field, m.body }

// Describe implements Asker.
func (m *Invoke) Describe() (string, func(*codec.Coder)) {
	return [...]string{"call ", "start ", "send "}[m.Mode] + m.To.String(), m.body
}

// Describe implements Asker.
func (m *Transaction) Describe() (string, func(*codec.Coder)) {
	return [...]string{"begin", "commit", "abort"}[m.Edge], m.body
}

// Describe implements Asker.
func (m *Run) Describe() (string, func(*codec.Coder)) { return "run " + m.Name, m.body }

// Describe implements Asker.
func (m *Timer) Describe() (string, func(*codec.Coder)) { return fmt.Sprint("timer ", m.Delay), m.body }

// Describe implements Asker.
func (m *Promise) Describe() (string, func(*codec.Coder)) { return "promise " + m.Name, m.body }

// Describe implements Asker.
func (m *Await) Describe() (string, func(*codec.Coder)) {
	return fmt.Sprint("wait for ", m.Handles), m.body
}

// Describe implements Asker.
func (m *Compensate) Describe() (string, func(*codec.Coder)) {
	return "compensate " + m.To.String(), m.body
}

// Describe implements Asker.
func (m *Continue) Describe() (string, func(*codec.Coder)) { return "continue", m.body }

// Describe implements Asker. A method that returns has asked all that it will: its
// result need not be the same.
func (m *Return) Describe() (string, func(*codec.Coder)) { return "return", func(*codec.Coder) {} }

// Silent reports whether a message has no answer.
func Silent(m Message) bool {
	switch m := m.(type) {
	case *Invoke:
		return m.Mode != Wait
	case *Transaction:
		return m.Edge != Commit
	case *Timer, *Promise, *Compensate, *Return, *Continue:
		return true
	}
	return false
}
