package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A parent is a fork server of fork servers: a warden like that of a function,
// whose tree has the layers and nothing of a function, and whose Python has
// imported what several functions of the family import. The warden of a member is
// started in the parent's pid namespace, and its user namespace is a child of the
// parent's: so the parent may put what it forks into the member's namespaces, and
// no member can do anything to the parent or to another member. What fails on
// the way is made good by the member's warden, which executes Python itself.
type parent struct {
	*server
	user, pids *os.File // namespaces; set before ready is closed, and open while there are members
	modules    []string // that are there after the imports; set before ready is closed
	members    int      // guarded by pool.mu
	over       bool     // nothing of it is left; guarded by pool.mu

	resize func(bytes int64) // of Options.Keep
}

// Bounds of what a parent may have, its warden included, in bytes: while it imports, and
// where there is less room; and more than what it has then, for what the kernel needs to
// fork servers.
const (
	parentMost  = 512 << 20
	parentLeast = 128 << 20
	parentMore  = 32 << 20
)

// family tells apart what can have a parent in common: nothing is imported in it
// that not every member has in its layers.
func (f *Function) family() string {
	return fmt.Sprintf("%q %q %q %q", f.Family, f.Root, f.Layers, f.Common)
}

// findParent finds the parent of a function, or starts it, and makes s a member;
// nil: the function's server is on its own, for which it leaves half of the time
// that an import may take.
func (s *server) findParent() *parent {
	f, pool := s.f, s.pool
	if _, root := pool.spawner.Isolated(); !root || f.Runtime != Python || f.Family == "" || s.isParent() || len(f.Dial) > 0 { // whose walls, which its forks keep, have no doors
		return nil
	}
	pool.mu.Lock()
	if pool.closed {
		pool.mu.Unlock()
		return nil
	}
	a := pool.parents[f.family()]
	if a == nil {
		if a = pool.newParent(f); a == nil {
			pool.mu.Unlock()
			return nil
		}
		pool.parents[f.family()] = a
		pool.work.Go(a.live)
	}
	a.members++
	pool.mu.Unlock()
	late := time.NewTimer(s.limit.Import / 2)
	defer late.Stop()
	select {
	case <-a.ready:
	case <-late.C:
		a.leave()
		return nil
	}
	if a.lost() || !suits(f, a.modules) {
		a.leave()
		return nil
	}
	return a
}

// newParent makes the parent of a function's family; nil: there is no memory for it.
// The caller holds mu.
func (p *Pool) newParent(f *Function) *parent {
	for bytes := int64(parentMost); bytes >= parentLeast; bytes /= 2 {
		if resize, ok := p.o.Keep(f.Family, bytes); ok {
			of := &Function{Name: f.Family, Runtime: Python, Module: "weft_parent", Root: f.Root, Layers: f.Layers, Family: f.Family, Common: f.Common}
			of.Limits.Memory = bytes - wardenMemory
			a := &parent{server: newServer(p, of), resize: resize}
			a.server.parent, a.used = a, time.Now()
			return a
		}
	}
	return nil
}

// isParent reports whether it is the server of a parent.
func (s *server) isParent() bool { return s.parent != nil }

// lost reports whether the parent's Python could not be had, has ended, or is
// about to.
func (p *parent) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed != nil || p.broken != "" || p.ending
}

// giveUp ends the Python of a parent (nil: none) that does not answer. Its members stay, in the
// namespaces of its warden.
func (p *parent) giveUp() {
	if p == nil {
		return
	}
	p.mu.Lock()
	first := p.broken == "" && !p.ending
	if first {
		p.broken = "it does not answer"
	}
	p.mu.Unlock()
	if first {
		p.report("does not answer")
		p.conn.send((&message{kind: msgSignal, a: uint32(unix.SIGKILL)}).append) // else its warden is gone, and it too
	}
}

// report says what members do from now on, and why.
func (p *parent) report(what string) {
	p.pool.o.Log(p.f.Name, "weft: the process that has imported what functions have in common "+what+": what starts now imports everything itself")
}

// leave says that a member has ended. A parent that is lost is not tried again
// until Options.Idle after it was last of use.
func (p *parent) leave() {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	p.members--
	if !p.lost() {
		p.used = time.Now()
	}
	p.release()
}

// finished says that the parent has ended.
func (p *parent) finished() {
	p.pool.mu.Lock()
	p.over = true
	p.release()
	p.pool.mu.Unlock()
	p.resize(0)
}

// release closes what a parent holds, once nobody may be using it. The caller
// holds mu of the pool.
func (p *parent) release() {
	if !p.over || p.members > 0 {
		return
	}
	for _, f := range []*os.File{p.user, p.pids} {
		if f != nil {
			f.Close()
		}
	}
}

// suits reports whether a function finds in a parent what it would have imported
// itself: no module of its own has the name of one that is there, and no variable
// says something to a library that has read its variables already.
func suits(f *Function, modules []string) bool {
	entries, err := os.ReadDir(f.Dir)
	if f.Dir != "" && err != nil {
		return false
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if slices.Contains(modules, name) {
			return false
		}
	}
	for _, v := range f.Env {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PYTHON") || strings.HasPrefix(name, "LD_") || strings.HasSuffix(name, "_NUM_THREADS") {
			return false
		}
		for _, module := range f.Common {
			if strings.HasPrefix(name, strings.ToUpper(module)) {
				return false
			}
		}
	}
	return true
}

// settle notes what a parent that is ready has sent: its namespaces, and the
// names of the modules. From then on it may have little more memory than it has.
func (p *parent) settle(m message, fds []int) error {
	if len(fds) != 2 {
		closeFDs(fds)
		return errors.New("a parent without its namespaces")
	}
	p.user, p.pids = os.NewFile(uintptr(fds[0]), "user namespace"), os.NewFile(uintptr(fds[1]), "pid namespace")
	p.modules = strings.Fields(string(m.text))
	l := p.limits()
	if held := p.process.Held(); held > 0 && held+parentMore < l.Memory {
		l.Memory = held + parentMore
		if p.process.SetLimits(l) == nil { // else it has what it had
			p.resize(l.Memory)
		}
	}
	return nil
}

// adopt passes the namespaces of a member's warden to the parent. Where that
// fails the descriptors are closed, at which the warden starts its server itself.
func (s *server) adopt(m message, fds []int) {
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "for a parent")
	}
	if s.above != nil {
		s.above.conn.send((&message{kind: msgAdopt, a: m.a}).append, files...) // else as described
	}
	for _, f := range files {
		f.Close()
	}
}

// oldParents takes those parents out of the books that have had no member for
// Options.Idle. The caller holds mu.
func (p *Pool) oldParents(now time.Time) (old []*parent) {
	for k, a := range p.parents {
		if a.members == 0 && now.Sub(a.used) > p.o.Idle {
			delete(p.parents, k)
			old = append(old, a)
		}
	}
	return old
}
