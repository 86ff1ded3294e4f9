package replay

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/sandbox"
)

// Options are what a stage is made with.
type Options struct {
	Program   string   // the executable that serves as a crew
	Arguments []string // with which it does
	Workers   int      // processes that are there at first. Default 16.
	Attempts  int      // how often a run is made at most until one is not disturbed. Default 3.
	Log       *slog.Logger
}

// The weights of groups beside what else runs on the machine, by that of an ordinary
// process: all calls, and this process.
const (
	callsShare = 100
	nodeShare  = 100
)

// Stage is where runs are made. Close it.
type Stage struct {
	o       Options
	cores   int
	calls   *sandbox.Tree // groups of the workers; nil where there are none
	node    *sandbox.Tree // and of this process
	crews   []*crew.Crew
	workers []*worker
	made    int    // groups
	flat    string // the group of workers in runs without groups of their own

	mu      sync.Mutex // guards what follows, and crews, workers and made during a run
	free    []*worker
	grouped bool // workers are in their own groups
	tier    policy.Tier
}

// worker is a process with its group.
type worker struct {
	*crew.Worker
	group string        // "": none
	at    string        // the group that it is in
	task  *backend.Task // of this run's calls; nil: none yet
}

// renew gives the worker's task for one more call. It stays attached during a run, as to the process of a
// sandbox that stays.
func (w *worker) renew(o backend.TaskOptions) (_ *backend.Task, err error) {
	if w.task != nil {
		return w.task, w.task.Renew()
	}
	w.task, err = backend.Attach(o)
	return w.task, err
}

// detach ends that.
func (w *worker) detach() error {
	if w.task == nil {
		return nil
	}
	defer func() { w.task = nil }()
	return w.task.Close()
}

// NewStage makes a stage. Without cgroups, workers share the group that this process is in.
func NewStage(o Options) (*Stage, error) {
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Stage{o: o, cores: runtime.NumCPU()}
	if err := s.groups(); err != nil {
		o.Log.Warn("calls have no groups", "error", err)
	}
	if err := s.hire(o.Workers); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// groups makes the group of this process and that of the calls.
func (s *Stage) groups() (err error) {
	if s.calls, err = sandbox.NewTree("cpu", "calls"); err != nil {
		s.calls = nil
		return err
	}
	if s.flat, err = s.calls.Make("flat"); err != nil {
		return err
	}
	if s.node, err = sandbox.NewTree("cpu", "replay"); err != nil {
		s.node = nil
		return err
	}
	own, err := s.node.Make("node")
	if err != nil {
		return err
	}
	file, normal := weightFile(s.calls.Version())
	return errors.Join(
		s.calls.Write(s.calls.Dir()+"/"+file, strconv.Itoa(callsShare*normal)),
		s.node.Write(s.node.Dir()+"/"+file, strconv.Itoa(nodeShare*normal)),
		s.node.Write(own+"/"+file, strconv.Itoa(nodeShare*normal)),
		s.node.Write(own+"/cgroup.procs", strconv.Itoa(os.Getpid())),
	)
}

// weightFile is the control file of a group's weight, and that of one ordinary process.
func weightFile(version int) (name string, normal int) {
	if version == 1 {
		return "cpu.shares", 1024
	}
	return "cpu.weight", 100
}

// hire starts so many more workers. It is called with mu held, or before there is a run.
func (s *Stage) hire(n int) error {
	c, err := crew.Start(n, s.o.Program, s.o.Arguments...)
	if err != nil {
		return err
	}
	s.crews = append(s.crews, c)
	for _, w := range c.Workers {
		x := &worker{Worker: w}
		if s.calls != nil {
			s.made++
			dir, err := s.calls.Make(fmt.Sprint("call", s.made))
			if err != nil {
				return err
			}
			if err := s.calls.Write(dir+"/cgroup.procs", strconv.Itoa(w.PID)); err != nil {
				return err
			}
			x.group, x.at = dir, dir
		}
		s.workers = append(s.workers, x)
	}
	return nil
}

// ready makes at least n workers free, each as any process is, and in groups of a tier; or
// all in one group, where only classes and niceness count.
func (s *Stage) ready(n int, grouped bool, tier policy.Tier) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grouped, s.tier = grouped, tier
	if more := n - len(s.workers); more > 0 {
		if err := s.hire(more); err != nil {
			return err
		}
	}
	s.free = nil
	for _, w := range s.workers {
		if err := s.prepare(w); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a worker free and ordinary. It is called with mu held.
func (s *Stage) prepare(w *worker) error {
	s.free = append(s.free, w)
	if err := w.detach(); err != nil {
		return err
	}
	if err := unix.SchedSetAttr(w.PID, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("make worker %d ordinary: %w", w.PID, err)
	}
	if w.group == "" {
		return nil
	}
	dir := s.flat
	if s.grouped {
		dir = w.group
	}
	if w.at != dir {
		if err := s.calls.Write(dir+"/cgroup.procs", strconv.Itoa(w.PID)); err != nil {
			return err
		}
		w.at = dir
	}
	file, _ := weightFile(s.calls.Version())
	return s.calls.Write(w.group+"/"+file, strconv.Itoa(backend.Weight(s.calls.Version(), s.tier)))
}

// hiring is how many workers are started when there are too few during a run: the machine
// is so busy that calls end later than they were expected to.
const hiring = 16

// take takes a free worker, the one that was used last.
func (s *Stage) take() (*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		if err := s.hire(hiring); err != nil {
			return nil, err
		}
		for _, w := range s.workers[len(s.workers)-hiring:] {
			if err := s.prepare(w); err != nil {
				return nil, err
			}
		}
	}
	n := len(s.free)
	w := s.free[n-1]
	s.free = s.free[:n-1]
	return w, nil
}

// give gives it back.
func (s *Stage) give(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, w)
}

// Close ends the workers, puts this process back where it was and removes the groups.
func (s *Stage) Close() error {
	var errs []error
	for _, w := range s.workers {
		errs = append(errs, w.detach())
	}
	for _, c := range s.crews {
		errs = append(errs, c.Close())
	}
	s.crews = nil
	if s.node != nil {
		errs = append(errs, s.node.Write(s.node.Home()+"/cgroup.procs", strconv.Itoa(os.Getpid())), s.node.Close())
		s.node = nil
	}
	if s.calls != nil {
		errs = append(errs, s.calls.Close())
		s.calls = nil
	}
	return errors.Join(errs...)
}
