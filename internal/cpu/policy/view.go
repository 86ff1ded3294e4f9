package policy

import (
	"time"

	"github.com/weft-run/weft/internal/cpu/profile"
)

// View is what a strategy has done and does, for people.
type View struct {
	Policy    string        `json:"policy"`
	Calls     int           `json:"calls"`    // that have not ended
	Express   int           `json:"express"`  // of those, by where they are
	Normal    int           `json:"normal"`   //
	Batch     int           `json:"batch"`    //
	Waiting   int           `json:"waiting"`  // not begun, or stopped
	Sleeping  int           `json:"sleeping"` // and in any tier
	Arrivals  uint64        `json:"arrivals"` // all that ever came, and what was done with them
	Demotions uint64        `json:"demotions"`
	Stops     uint64        `json:"stops"`
	Boosts    uint64        `json:"boosts"`
	Met       uint64        `json:"deadlines_met"`
	Missed    uint64        `json:"deadlines_missed"`
	Queued    time.Duration `json:"queued_ns"` // mean time before the start, over all calls
	// Error is the mean of |predicted - actual| / actual CPU time over the last hundred
	// calls or so of functions that were known when they came.
	Error float64       `json:"prediction_error"`
	Table []ViewedClass `json:"table,omitempty"` // what alps has learned
	Slice time.Duration `json:"slice_ns,omitempty"`
}

// ViewedClass is what alps has learned of a function.
type ViewedClass struct {
	Function string        `json:"function"`
	Rank     int           `json:"rank"`
	Slice    time.Duration `json:"slice_ns"`
}

// desk keeps what all strategies keep of their calls.
type desk struct {
	options  Options
	out      []Command
	view     View
	queued   time.Duration // before the start, summed over calls that have started
	begun    uint64
	mistakes float64 // faded sum of prediction errors, and what it counts
	judged   float64
}

// newDesk makes a desk.
func newDesk(o Options) desk { return desk{options: o} }

// slip is what a desk keeps of a call.
type slip struct {
	call      Call
	arrived   time.Duration
	predicted time.Duration // 0 when the function was not known
	began     bool
	asleep    bool
	tier      Tier
}

// admit notes an arrival.
func (d *desk) admit(now time.Duration, c Call) slip {
	c.Threads = max(c.Threads, 1)
	d.view.Arrivals++
	s := slip{call: c, arrived: now}
	if p := d.options.Book.Get(c.Function); p.Known() {
		s.predicted = p.Mean()
	}
	return s
}

// do gives a command, and counts it.
func (d *desk) do(now time.Duration, s *slip, c Command) {
	c.Call = s.call.ID
	switch c.Op {
	case Start:
		s.began = true
		d.queued += now - s.arrived
		d.begun++
	case Demote:
		d.view.Demotions++
	case Stop:
		d.view.Stops++
		c.Tier = s.tier
	case Boost:
		d.view.Boosts++
	}
	s.tier = c.Tier
	d.out = append(d.out, c)
}

// end learns from a call that is over.
func (d *desk) end(now time.Duration, s *slip, e Ended) {
	if s.call.Deadline > 0 {
		if now <= s.call.Deadline {
			d.view.Met++
		} else {
			d.view.Missed++
		}
	}
	if e.Failed {
		return
	}
	if s.predicted > 0 {
		off := s.predicted - e.CPU
		d.mistakes = 0.99*d.mistakes + float64(max(off, -off))/float64(max(e.CPU, profile.Shortest))
		d.judged = 0.99*d.judged + 1
	}
	d.options.Book.Observe(s.call.Function, e.CPU)
}

// count adds one call to a view.
func (v *View) count(s *slip, waiting bool) {
	v.Calls++
	switch {
	case waiting:
		v.Waiting++
	case s.tier == Express:
		v.Express++
	case s.tier == Normal:
		v.Normal++
	default:
		v.Batch++
	}
	if s.asleep {
		v.Sleeping++
	}
}

// summary is the part of a view that does not depend on the strategy.
func (d *desk) summary(name string) View {
	v := d.view
	v.Policy = name
	if d.begun > 0 {
		v.Queued = d.queued / time.Duration(d.begun)
	}
	if d.judged > 0 {
		v.Error = d.mistakes / d.judged
	}
	return v
}
