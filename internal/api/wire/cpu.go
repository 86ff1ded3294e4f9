package wire

import (
	"fmt"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/cpu/scheduler"
)

// CPU is the state of the scheduler of calls. Times are in seconds.
type CPU struct {
	Policy     string         `json:"policy"`          // none, alps, sfs or weft
	Wanted     string         `json:"backend_wanted"`  // auto, cgroup, sched, fifo or none
	Backend    string         `json:"backend"`         // that is in force; empty with the policy none
	Notes      []string       `json:"notes,omitempty"` // what that does without, and why
	Tiers      int            `json:"tiers"`           // that the backend tells apart
	Undo       bool           `json:"undo"`            // what was demoted can be raised again
	Stops      bool           `json:"stops"`           // calls can be stopped
	Parameters map[string]any `json:"parameters"`      // by name: numbers, true or false, durations such as "5ms"

	Counts   CPUCounts    `json:"counts"`
	Calls    []CPUCall    `json:"calls"`    // that have not ended, as they came; at most 200
	Profiles []CPUProfile `json:"profiles"` // of functions, the one called last first; at most 200
	Apps     []CPUApp     `json:"apps"`
	Learned  []CPUQuantum `json:"learned,omitempty"` // what alps has made of the profiles
	Slice    float64      `json:"slice,omitempty"`   // of sfs

	Error    float64 `json:"prediction_error"` // mean of |predicted - actual| / actual CPU time
	Fairness float64 `json:"fairness"`         // Jain's index of the apps' speeds
	Used     float64 `json:"scheduler_cpu"`    // CPU time of the scheduler itself
}

// CPUCounts counts calls: where they are now, and what was done since the policy was
// chosen.
type CPUCounts struct {
	Express   int     `json:"express"`
	Normal    int     `json:"normal"`
	Batch     int     `json:"batch"`
	Waiting   int     `json:"waiting"`  // not begun, or stopped
	Sleeping  int     `json:"sleeping"` // in any tier
	Arrivals  uint64  `json:"arrivals"`
	Demotions uint64  `json:"demotions"`
	Boosts    uint64  `json:"boosts"`
	Stops     uint64  `json:"stops"`
	Met       uint64  `json:"deadlines_met"`
	Missed    uint64  `json:"deadlines_missed"`
	Queued    float64 `json:"queued"`  // mean time before the start
	Refused   uint64  `json:"refused"` // raises that the kernel did not allow
	Failed    uint64  `json:"failed"`  // commands that failed otherwise
}

// CPUCall is a call that has not ended.
type CPUCall struct {
	ID       uint64  `json:"id"`
	Function string  `json:"function"` // app@version/function
	App      string  `json:"app"`
	Tier     string  `json:"tier"`
	State    string  `json:"state"` // queued, running, asleep or stopped
	Age      float64 `json:"age"`
	Used     float64 `json:"cpu"`                // as last seen; calls that have just begun are not looked at
	Deadline bool    `json:"deadline,omitempty"` // it has one
	OnPath   bool    `json:"critical,omitempty"` // it is on the critical path of its run
}

// CPUProfile is what is known of a function.
type CPUProfile struct {
	Function string  `json:"function"`
	Calls    uint64  `json:"calls"`
	Mean     float64 `json:"mean"`
	P50      float64 `json:"p50"`
	P95      float64 `json:"p95"`
	Rank     float64 `json:"rank"`  // of a call that begins: the least goes first
	Error    float64 `json:"error"` // mean of |predicted - actual| / actual CPU time
	Known    bool    `json:"known"` // it is gone by
}

// CPUApp is what the calls of an app have had.
type CPUApp struct {
	App   string  `json:"app"`
	Calls uint64  `json:"calls"`
	CPU   float64 `json:"cpu"`
	Speed float64 `json:"speed"` // CPU time by the time from arrival to end
}

// CPUQuantum is what alps has learned of a function.
type CPUQuantum struct {
	Function string  `json:"function"`
	Rank     int     `json:"rank"`
	Slice    float64 `json:"slice"`
}

// CPUChange asks for other settings. With PATCH what is left out stays, with PUT it gets
// its default.
type CPUChange struct {
	Policy     string         `json:"policy,omitempty"`
	Backend    string         `json:"backend,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"` // by name, as in CPU, or by what is behind the dot
}

// Change is what is asked for, in words.
func (c CPUChange) Change(anew bool) (scheduler.Change, error) {
	out := scheduler.Change{Policy: c.Policy, Backend: c.Backend, Parameters: map[string]string{}, Anew: anew}
	for name, value := range c.Parameters {
		switch v := value.(type) {
		case string:
			out.Parameters[name] = v
		case bool:
			out.Parameters[name] = strconv.FormatBool(v)
		case float64:
			out.Parameters[name] = strconv.FormatFloat(v, 'g', -1, 64)
		default:
			return out, fmt.Errorf("parameter %.100q is neither a number, a text, nor true or false", name)
		}
	}
	return out, nil
}

// cpuCallsMax bounds the calls that are shown.
const cpuCallsMax = 200

// NewCPU writes a status as a CPU.
func NewCPU(s scheduler.Status) CPU {
	v := s.View
	c := CPU{
		Policy: s.Settings.Policy, Wanted: s.Settings.Backend, Backend: s.Backend, Notes: s.Notes, Tiers: s.Traits.Tiers, Undo: s.Traits.Undo, Stops: s.Traits.Stops,
		Parameters: s.Settings.Options.Get(),
		Counts: CPUCounts{Express: v.Express, Normal: v.Normal, Batch: v.Batch, Waiting: v.Waiting, Sleeping: v.Sleeping, Arrivals: v.Arrivals,
			Demotions: v.Demotions, Boosts: v.Boosts, Stops: v.Stops, Met: v.Met, Missed: v.Missed, Queued: v.Queued.Seconds(), Refused: s.Stats.OneWay, Failed: s.Stats.Failed},
		Calls: []CPUCall{}, Profiles: []CPUProfile{}, Apps: []CPUApp{}, Slice: v.Slice.Seconds(), Error: v.Error, Fairness: s.Fairness, Used: s.Stats.CPU.Seconds(),
	}
	for _, k := range s.Calls[:min(len(s.Calls), cpuCallsMax)] {
		state := "running"
		switch {
		case !k.Begun:
			state = "queued"
		case k.Stopped:
			state = "stopped"
		case k.Asleep:
			state = "asleep"
		}
		c.Calls = append(c.Calls, CPUCall{ID: uint64(k.Call.ID), Function: k.Call.Function, App: k.Call.App, Tier: k.Tier.String(), State: state,
			Age: k.Age.Seconds(), Used: k.Used.Seconds(), Deadline: k.Call.Deadline > 0, OnPath: k.Call.OnPath && k.Call.RunWork > 0})
	}
	seconds := time.Duration.Seconds
	for _, p := range s.Profiles {
		c.Profiles = append(c.Profiles, CPUProfile{Function: p.Function, Calls: p.Calls, Mean: seconds(p.Mean), P50: seconds(p.P50), P95: seconds(p.P95),
			Rank: seconds(p.Rank), Error: p.Error, Known: p.Known})
	}
	for _, a := range s.Apps {
		c.Apps = append(c.Apps, CPUApp{App: a.Name, Calls: a.Calls, CPU: a.CPU.Seconds(), Speed: a.Speed})
	}
	for _, q := range v.Table {
		c.Learned = append(c.Learned, CPUQuantum{Function: q.Function, Rank: q.Rank, Slice: q.Slice.Seconds()})
	}
	return c
}
