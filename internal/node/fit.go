package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/service"
)

// fitTime is how long the code of a service may take to say of an object whether it fits its state.
const fitTime = 10 * time.Second

// fits refuses a version that is ready, and not deployed yet, if the code of its services does not fit what they have stored, and
// does not say how that is migrated. Where it cannot be told, what does not fit is refused when it is read.
func (s *Server) fits(ctx context.Context, of edition) error {
	s.serving.Lock()
	d := s.ready[of]
	s.serving.Unlock()
	if d == nil || s.Services == nil {
		return nil
	}
	var all []error
	for _, name := range slices.Sorted(maps.Keys(d.program.App.Services)) {
		start := func(receive func([]byte), gone func(error)) (service.Instance, error) {
			s.serving.Lock()
			d.users++
			s.serving.Unlock()
			return instances{s}.start(d, name, receive, gone)
		}
		err := s.Services.Fits(ctx, of.app+"."+name, start, fitTime)
		var misfit *service.Misfit
		switch {
		case errors.As(err, &misfit):
			all = append(all, fmt.Errorf("service %s does not fit what is stored, and has no migration for it:\n%w", name, err))
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.cfg.Logger.Warn("whether a service fits what it has stored cannot be told", "app", of.app, "service", name, "error", err)
		}
	}
	return errors.Join(all...)
}
