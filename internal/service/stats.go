package service

import (
	"time"

	"github.com/weft-run/weft/internal/service/machine"
)

// Meter is told of requests that have ended. It must not wait.
type Meter interface {
	// ServiceRequest counts one: outcome is ok, failed, cancelled, or refused; took is since it came.
	ServiceRequest(app, service, method, outcome string, took time.Duration)
}

// Stats count what services have done since they were opened, and what they have.
type Stats struct {
	machine.Stats
	Appends uint64 // to the store; requests share them
	Flushes uint64 // that something has waited for; requests share them too
	Held    uint64 // replies and side effects that have waited for a flush: by the number of requests, what each one has waited for
	Busy    int    // instances that execute a method
	Idle    int    // instances that do not
}

// Stats are the figures of now.
func (s *Services) Stats() Stats {
	return look(s, func() Stats {
		st := s.stats
		st.Stats = s.machine.Stats()
		st.Busy = len(s.running)
		for _, list := range s.free {
			st.Idle += len(list)
		}
		return st
	})
}
