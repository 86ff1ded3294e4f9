package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
)

// Status is what a scheduler does, and what it has learned.
type Status struct {
	Settings Settings
	Backend  string // in force; "": none
	Notes    []string
	Traits   backend.Traits
	View     policy.View
	Stats    backend.Stats
	Calls    []backend.Current
	Profiles []Learned // the one that was called last first
	Apps     []App     // by name
	// Fairness is Jain's index of the apps' Speed: 1 when all are served alike, 1/n when one
	// of n is served alone (R. Jain, D. Chiu, W. Hawe, 1984).
	Fairness float64
}

// Learned is what is known of a function.
type Learned struct {
	Function       string // see Name
	Calls          uint64
	Mean, P50, P95 time.Duration // of CPU time
	Rank           time.Duration // of a call that begins: the least goes first
	Error          float64       // see profile.Book.Error
	Known          bool          // it is gone by; until then calls in general are
}

// App is what the calls of an app have had.
type App struct {
	Name  string
	Calls uint64        // that have ended and not failed
	CPU   time.Duration // of them
	Speed float64       // CPU time by the time from arrival to end, over the last calls
}

// share is what an app has had.
type share struct {
	calls     uint64
	cpu       time.Duration
	used, all float64 // faded sums, in seconds
}

// shareFading is what a call counts when the next one of its app has ended.
const shareFading = 0.99

// appsMax bounds the apps that are counted. Further ones are not.
const appsMax = 10_000

// count notes what a call has had.
func (s *Scheduler) count(app string, cpu, turnaround time.Duration) {
	s.counting.Lock()
	defer s.counting.Unlock()
	a := s.apps[app]
	if a == nil {
		if len(s.apps) >= appsMax {
			return
		}
		a = &share{}
		s.apps[app] = a
	}
	a.calls++
	a.cpu += cpu
	a.used = shareFading*a.used + cpu.Seconds()
	a.all = shareFading*a.all + turnaround.Seconds()
}

// Status shows what the scheduler does.
func (s *Scheduler) Status() Status {
	var out Status
	if s == nil {
		out.Settings = Settings{Policy: policy.None, Backend: backend.NameNone}
		out.Fairness = 1
		return out
	}
	out.Settings = s.Settings()
	s.changing.Lock()
	out.Notes = slices.Clone(s.notes)
	s.changing.Unlock()
	if d := s.driver.Load(); d != nil {
		st := d.Status()
		out.Backend, out.Traits, out.View, out.Stats, out.Calls = st.Backend, st.Traits, st.Policy, st.Stats, d.Current()
	}
	s.withBook(func(b *profile.Book) {
		b.Functions(func(name string, p *profile.Profile) bool {
			out.Profiles = append(out.Profiles, Learned{Function: name, Calls: p.Calls(), Mean: p.Mean(), P50: p.Quantile(0.5), P95: p.Quantile(0.95),
				Rank: p.Rank(0), Error: b.Error(name), Known: p.Known()})
			return len(out.Profiles) < profilesMax
		})
	})
	s.counting.Lock()
	for _, name := range slices.Sorted(maps.Keys(s.apps)) {
		a := s.apps[name]
		out.Apps = append(out.Apps, App{Name: name, Calls: a.calls, CPU: a.cpu, Speed: a.used / max(a.all, 1e-9)})
	}
	s.counting.Unlock()
	out.Fairness = jain(out.Apps)
	return out
}

// profilesMax is how many profiles are shown.
const profilesMax = 200

// jain is Jain's index of the speeds of apps.
func jain(apps []App) float64 {
	var sum, squares float64
	for _, a := range apps {
		sum += a.Speed
		squares += a.Speed * a.Speed
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(apps)) * squares)
}
