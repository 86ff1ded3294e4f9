package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
)

// beat is how often a stream on which nothing happens shows that it is alive.
const beat = 15 * time.Second

// eventStream writes server-sent events. Its methods may be called by several
// goroutines.
type eventStream struct {
	mu    sync.Mutex
	w     *bufio.Writer
	flush func() error
}

// events begins a stream of events.
func (c *call) events() (s *eventStream, end func()) {
	c.w.Header().Set("Content-Type", wire.TypeEvents)
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	s = &eventStream{w: bufio.NewWriter(c.w), flush: c.w.flush}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if s.raw(": alive\n\n") != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	return s, func() {
		close(stop)
		<-stopped
	}
}

func (s *eventStream) raw(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.WriteString(text); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	return s.flush()
}

// send writes an event; id "" is none.
func (s *eventStream) send(id, event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return s.raw(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, event, text))
}

// watchRun tells what happens in a run, and at last how it has ended.
func (h *Handler) watchRun(c *call) error {
	id := c.r.PathValue("run")
	var after uint64
	if last := c.r.Header.Get("Last-Event-ID"); last != "" {
		var err error
		if after, err = strconv.ParseUint(last, 10, 64); err != nil {
			return bad("", "Last-Event-ID is %q; want the id of an event", last)
		}
	}
	ctx, cancel := h.until(c)
	defer cancel()
	if _, err := h.o.Server.Runs.Get(c.r.Context(), id); err != nil {
		return err
	}
	s, end := c.events()
	defer end()
	for n, err := range h.o.Server.Runs.Watch(ctx, id, after) {
		if ctx.Err() != nil {
			return nil // the client comes back, here or after the restart
		}
		if err != nil {
			return s.send("", "error", h.problem(c, err))
		}
		e := wire.NewEvent(n)
		if err := s.send(strconv.FormatUint(e.Seq, 10), e.Kind, e); err != nil {
			return nil // the client has gone
		}
	}
	run, err := h.o.Server.Runs.Wait(ctx, id)
	if err != nil {
		return nil // it is asked for again
	}
	return s.send("", "end", run)
}

// logs gives the lines of a run's log.
func (h *Handler) logs(c *call) error {
	follow, err := c.flag("follow", false)
	if err != nil {
		return err
	}
	id := c.r.PathValue("run")
	ctx, cancel := h.until(c)
	defer cancel()
	if _, err := h.o.Server.Runs.Get(c.r.Context(), id); err != nil {
		return err
	}
	var over chan struct{}
	if follow {
		over = make(chan struct{})
		go func() {
			if _, err := h.o.Server.Runs.Wait(ctx, id); err == nil {
				close(over)
			}
		}()
	}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.WriteHeader(http.StatusOK)
	if follow {
		if err := c.w.flush(); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(c.w)
	enc.SetEscapeHTML(false)
	for line, err := range h.o.Server.Logs.Read(ctx, id, over) {
		if ctx.Err() != nil || errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
		if follow {
			if err := c.w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
