package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
)

func (h *Handler) cpu(c *call) error {
	return c.reply(http.StatusOK, wire.NewCPU(h.o.Server.CPU().Status()))
}

func (h *Handler) setCPU(c *call) error { return h.changeCPU(c, true) }

func (h *Handler) patchCPU(c *call) error { return h.changeCPU(c, false) }

// changeCPU changes the settings of the scheduler while calls run.
func (h *Handler) changeCPU(c *call, anew bool) error {
	var want wire.CPUChange
	if err := c.read(&want); err != nil {
		return err
	}
	change, err := want.Change(anew)
	if err != nil {
		return bad("", "%v", err)
	}
	if err := h.checkCPU(change); err != nil {
		return err
	}
	if err := h.o.Server.CPU().Apply(change); err != nil {
		return err
	}
	st := h.o.Server.CPU().Status()
	c.subject = st.Settings.Policy
	return c.reply(http.StatusOK, wire.NewCPU(st))
}

// checkCPU refuses names that are not there, with a proposal. A weight can be taken from an
// app that is there no more.
func (h *Handler) checkCPU(c scheduler.Change) error {
	for _, word := range []struct {
		what, given string
		known       []string
	}{{"policy", c.Policy, policy.Names}, {"backend", c.Backend, backend.Names}} {
		if word.given != "" && !slices.Contains(word.known, word.given) {
			return bad(flow.Nearest(word.given, slices.Clone(word.known)), "%s %.60q: there are %s", word.what, word.given, strings.Join(word.known, ", "))
		}
	}
	weighed := h.o.Server.CPU().Settings().Options.Weft.Weights
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		app, weight := strings.CutPrefix(name, policy.WeightPrefix)
		if _, has := weighed[app]; weight && has && c.Parameters[name] == "" {
			continue
		}
		if weight {
			if _, err := h.o.Server.Apps.App(app); err == nil {
				continue
			}
			var apps []string
			for _, a := range h.o.Server.Apps.List() {
				apps = append(apps, a.Name)
			}
			return bad(flow.Nearest(app, apps), "%.80s: there is no app %.60q", name, app)
		}
		if known := policy.ParameterNames(); !slices.Contains(known, name) {
			return bad(flow.Nearest(name, known), "%.60q: %v", name, policy.ErrParameter)
		}
	}
	return nil
}
