package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// steps are the calls of services by steps of workflows.
type steps struct{ *Server }

var _ engine.Services = steps{}

// The kinds of failures of such calls.
const (
	kindMethod  = "method"  // the method has returned an error, which stands
	kindService = "service" // it came to nothing
)

// Call implements engine.Services. The step's key is that of the request: however often the
// step is attempted, before and after a crash, the call has its effect once.
func (s steps) Call(ctx context.Context, c engine.ServiceCall, done func(output any, failure *flow.Failure)) {
	s.calling.Go(func() {
		output, err := s.call(ctx, c)
		if err == nil {
			done(output, nil)
			return
		}
		f := &flow.Failure{Kind: kindService, Message: fmt.Sprintf("call %s: %v", c.Method, err)}
		var failed *MethodError
		switch {
		case errors.As(err, &failed):
			f.Kind, f.Permanent = kindMethod, true
		case errors.Is(err, engine.ErrNotFound), errors.Is(err, ErrArguments), errors.Is(err, ErrOtherCall), errors.Is(err, ErrCaller), errors.Is(err, errWith):
			f.Kind, f.Permanent = domain.KindRefused, true
		case errors.Is(err, ErrLate):
			f.Kind = flow.KindTimeout
		case errors.Is(err, errResult):
			f.Kind, f.Permanent = domain.KindOutput, true
		}
		done(nil, f)
	})
}

var (
	errWith   = errors.New("the step's input is not what a call takes")
	errResult = errors.New("the result is not JSON")
)

func (s steps) call(ctx context.Context, c engine.ServiceCall) (output any, err error) {
	name, method, _ := strings.Cut(c.Method, ".")
	found, err := s.service(c.App+"."+name, c.Version)
	if err != nil {
		return nil, err
	}
	object, args, err := engine.ServiceArguments(found.Keyed, c.Input)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWith, err)
	}
	result, err := s.CallService(ctx, ServiceCall{App: c.App, Version: c.Version, Service: name, Object: object, Method: method, Args: args, Key: c.Key, Timeout: c.Timeout, Step: true})
	if err != nil || len(result) == 0 {
		return nil, err
	}
	if err := json.Unmarshal(result, &output); err != nil {
		return nil, fmt.Errorf("%w: %w", errResult, err)
	}
	return output, nil
}
