package api

import (
	"net/http"

	"github.com/weft-run/weft/internal/api/wire"
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
	if err := h.o.Server.CPU().Apply(change); err != nil {
		return err
	}
	st := h.o.Server.CPU().Status()
	c.subject = st.Settings.Policy
	return c.reply(http.StatusOK, wire.NewCPU(st))
}
