package api

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/machine"
)

// notThere is the error of a request that is not there.
func notThere(id string) error {
	return fmt.Errorf("request %q is not there, or has ended; weft requests list names those that are: %w", id, engine.ErrNotFound)
}

// view is a request that has not ended.
func (h *Handler) view(id string) (machine.View, error) {
	r, ok := h.o.Server.Services.Request(id)
	if !ok {
		return r, cmp.Or(h.o.Server.Services.Err(), notThere(id))
	}
	return r, nil
}

func (h *Handler) getRequest(c *call) error {
	r, err := h.view(c.r.PathValue("request"))
	if err != nil {
		return err
	}
	st, err := h.o.Server.Services.Story(r.ID)
	if err != nil && !errors.Is(err, service.ErrGone) { // nothing of it is stored yet
		return err
	}
	story := journal.Tell(st.Entries)
	out := wire.Story{Request: viewOf(r, h.held()), Journal: []wire.Question{}}
	paths := slices.SortedFunc(maps.Keys(story.Paths), byNumbers)
	for _, path := range paths {
		for _, e := range story.Paths[path] {
			q := wire.Question{Path: path, Number: e.Seq, Asked: e.What, Answer: "waits", Text: e.Answer.Value.Text}
			switch {
			case e.Seq == 0:
				q.Asked, q.Answer = "begin", "ok"
			case e.Answered:
				q.Answer = e.Answer.Value.Code.String()
			}
			q.Start = path == "" && slices.Contains(story.Starts, e.Seq)
			out.Journal = append(out.Journal, q)
		}
	}
	return c.reply(http.StatusOK, out)
}

// byNumbers orders paths of questions.
func byNumbers(a, b string) int {
	numbers := func(path string) (list []int) {
		for part := range strings.SplitSeq(path, ".") {
			n, _ := strconv.Atoi(part) // "" is 0
			list = append(list, n)
		}
		return list
	}
	return slices.Compare(numbers(a), numbers(b))
}

func (h *Handler) restartRequest(c *call) error {
	var want wire.Restart
	if err := c.read(&want); err != nil {
		return err
	}
	r, err := h.view(c.r.PathValue("request"))
	if err != nil {
		return err
	}
	version := ""
	if want.Version != "" {
		name := want.Version
		if name == "active" {
			name = ""
		}
		_, v, err := h.o.Server.Apps.Get(target(r.Call.To).App, name)
		if err != nil {
			return err
		}
		version = v.ID
	}
	at, err := h.o.Server.Services.Restart(c.r.Context(), r.ID, want.From, version)
	if err != nil {
		return steered(r.ID, err)
	}
	return c.reply(http.StatusOK, wire.Restarted{From: at})
}

func (h *Handler) replay(c *call) error {
	q := c.r.URL.Query()
	done, err := h.o.Server.Replay(c.r.Context(), c.r.PathValue("app"), q.Get("version"), q.Get("request"))
	if errors.Is(err, service.ErrGone) {
		return fmt.Errorf("request %q of app %s has no journal: it is not there, has ended, or has not waited yet: %w", q.Get("request"), c.r.PathValue("app"), engine.ErrNotFound)
	}
	if err != nil {
		return err
	}
	list := []wire.Replay{}
	for _, r := range done {
		out := wire.Replay{Request: r.Request.ID, Target: target(r.Request.Call.To), Version: r.Request.Version, State: r.Request.State.String(), Same: r.Same(), Questions: r.Questions, Failure: r.Failure}
		if d := r.Divergence; d != nil {
			out.Divergence = &wire.Divergence{Method: target(d.Method), Question: d.Seq, Was: d.Was, Now: d.Now, Detail: d.Detail}
		}
		list = append(list, out)
	}
	return page(c, list)
}
