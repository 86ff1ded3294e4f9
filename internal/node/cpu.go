package node

import (
	"context"
	"errors"
	"time"

	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/store"
)

// profilesEvery is how often what was learned of functions is written to the store.
const profilesEvery = 30 * time.Second

// CPU is the scheduler of calls; nil when the kernel alone schedules.
func (s *Server) CPU() *scheduler.Scheduler { return s.cfg.CPU }

// keepProfiles writes profiles now and then, off the way of calls.
func (s *Server) keepProfiles() {
	if s.cfg.CPU == nil {
		return
	}
	tick := time.NewTicker(profilesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		if err := s.saveProfiles(); err != nil {
			s.cfg.Logger.Warn("CPU profiles are not kept", "error", err)
		}
	}
}

// saveProfiles writes what has changed. A store that has failed has said so.
func (s *Server) saveProfiles() error {
	err := s.cfg.CPU.Save(context.Background(), s.Store)
	if errors.Is(err, store.ErrFailed) {
		return nil
	}
	return err
}

// forgetProfiles drops those of versions of an app that are there no more.
func (s *Server) forgetProfiles(app string) {
	if s.cfg.CPU == nil || s.Apps == nil {
		return
	}
	list, err := s.Apps.Versions(app)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return
	}
	has := map[string]bool{}
	for _, v := range list {
		has[v.ID] = true
	}
	if err := s.cfg.CPU.Forget(s.ctx, s.Store, app, func(version string) bool { return has[version] }); err != nil && s.ctx.Err() == nil {
		s.cfg.Logger.Warn("CPU profiles of deleted versions stay", "app", app, "error", err)
	}
}
