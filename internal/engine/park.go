package engine

import "time"

// parkAfter is how long a run may have no call under way before it gives its
// domain up. Between two calls of a run that goes on there is less.
const parkAfter = 20 * time.Millisecond

// park has a run without a call under way give its domain up, with the hosts and
// the memory that it holds: runs may wait for days, for a timer, a signal, somebody
// to let them go on, or for the node to admit their next call, and there are more
// of them than hosts. What has been published is on disk by then, and the next call
// finds it again as it would after a restart.
//
// It is asked after every turn. The buffers of a run without a journal are nowhere
// else, so such a run keeps its domain once something was published.
func (r *run) park() {
	if r.parking || !r.parkable() {
		return
	}
	r.parking = true
	launched := r.launched
	r.e.o.World.After(parkAfter, func() {
		r.post(func() {
			r.parking = false
			if r.launched != launched || !r.parkable() {
				return // the turn's end asks once more
			}
			r.parking = true
			r.journal.durable(func() {
				r.parking = false
				if r.launched != launched || !r.parkable() {
					return
				}
				r.domain.Close() // what it may fail to remove goes with the node's scratch folder
				r.domain, r.restore = nil, true
			})
		})
	})
}

// parkable reports whether a run could do without its domain now.
func (r *run) parkable() bool {
	return r.domain != nil && r.inside == 0 && r.outcome == nil && !r.options.own && (r.durable || !r.published)
}
