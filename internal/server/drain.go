package server

import (
	"context"
	"errors"
	"time"
)

// drain ends in an orderly way: nothing new begins, requests are answered, calls
// that are under way end, as far as the time of the configuration lets them.
// Runs that only wait, for a timer or a signal, go on after the next start.
func (s *server) drain() error {
	notify("STOPPING=1")
	s.log.Info("shutting down", "within", s.cfg.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Drain)
	defer cancel()
	s.api.Drain()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		s.settle(ctx)
	}()
	err := s.http.Shutdown(ctx)
	<-quiet
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were cut off", "after", s.cfg.Drain)
		err = s.http.Close()
	}
	return err
}

// settleEvery is how often it is looked whether calls are under way.
const settleEvery = 20 * time.Millisecond

// settle refuses new runs, and waits until none is at work.
func (s *server) settle(ctx context.Context) {
	ended := make(chan error, 1)
	go func() { ended <- s.node.Drain(ctx) }()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for still := 0; still < 3; {
		select {
		case err := <-ended:
			if err != nil {
				s.log.Info("runs go on after the next start", "runs", s.node.Runs.Active())
			}
			return
		case <-tick.C:
			still++
			if g := s.node.Gate.Stats(); g.Running+g.Waiting > 0 {
				still = 0
			}
		}
	}
}

// closeTimeout bounds what traces may take on their way out, and how long is
// waited for the handlers of requests that were cut off.
const closeTimeout = 5 * time.Second

// abandon cuts off the requests that are being answered, and waits until nothing
// of them uses the node.
func (s *server) abandon() error {
	err := s.http.Close()
	for waited := time.Duration(0); s.answers.Load() > 0; waited += settleEvery {
		if waited > closeTimeout {
			s.log.Warn("requests do not end", "requests", s.answers.Load())
			break
		}
		time.Sleep(settleEvery)
	}
	return err
}

// close ends what open has made.
func (s *server) close() error {
	var errs []error
	if s.http != nil {
		errs = append(errs, s.abandon())
	}
	if s.tokens != nil && s.node != nil {
		if err := s.tokens.Flush(context.Background()); err != nil {
			s.log.Warn("it is not noted when tokens were used", "error", err)
		}
	}
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.Close())
	}
	if s.traces != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.traces.Close(ctx); err != nil {
			s.log.Warn("traces are lost", "error", err)
		}
	}
	return errors.Join(errs...)
}
