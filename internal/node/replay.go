package node

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
)

// Replayed is what the journal of a request has come to with the code of a version.
type Replayed struct {
	Request machine.View
	service.Replayed
}

// replayLimit is what code may take between two answers in a replay, where the app file
// does not say.
const replayLimit = 10 * time.Second

// Replay runs the journals of the requests of an app that have waited and not ended with the
// code of a version of it, "" for the active one, without any effect: of all, or of one. One that has
// not waited has no journal: service.ErrGone.
func (s *Server) Replay(ctx context.Context, appName, version, request string) ([]Replayed, error) {
	_, v, err := s.Apps.Get(appName, version)
	if err != nil {
		return nil, err
	}
	list := []Replayed{}
	for _, r := range s.Services.Requests() {
		if !strings.HasPrefix(r.Call.To.Service, appName+".") || request != "" && r.ID != request || r.Chunks == 0 {
			continue
		}
		st, err := s.Services.Story(r.ID)
		if errors.Is(err, service.ErrGone) { // it has ended meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		limit := s.bounds(r.Call.To.Service, v.ID).Limit
		if limit == 0 {
			limit = replayLimit
		}
		done := Replayed{Request: r}
		if err := s.method(v.ID, r.Call.To); err != nil {
			done.Failure = err.Error()
		} else {
			done.Replayed = s.Services.Replay(ctx, v.ID, st, limit)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, done)
	}
	if request != "" && len(list) == 0 {
		return nil, service.ErrGone
	}
	return list, nil
}
