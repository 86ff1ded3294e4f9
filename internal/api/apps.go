package api

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
)

func (h *Handler) deploy(c *call) error {
	activate, err := c.flag("activate", true)
	if err != nil {
		return err
	}
	d := registry.Deployment{Activate: activate, By: c.who.Name}
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return &wrongType{c.r.Header.Get("Content-Type"), wire.TypeBundle}
	}
	var v registry.Version
	existed := false
	switch kind {
	case "application/json":
		var want wire.Digest
		if err := c.read(&want); err != nil {
			return err
		}
		found, ok := h.o.Server.Apps.Find(want.Digest)
		if !ok {
			return fmt.Errorf("content %q: %w", want.Digest, registry.ErrNotFound)
		}
		v, existed = found, true
		if activate {
			v, err = h.o.Server.Apps.Activate(c.r.Context(), v.App, v.ID)
		}
	case wire.TypeBundle, "application/x-gzip":
		v, existed, err = h.o.Server.Apps.Deploy(c.r.Context(), c.r.Body, d)
	case "multipart/form-data":
		v, existed, err = h.deployForm(c, d)
	default:
		return &wrongType{kind, wire.TypeBundle}
	}
	if err != nil {
		return err
	}
	c.subject = v.App + "/" + v.ID
	a, err := h.o.Server.Apps.App(v.App)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if existed {
		status = http.StatusOK
	}
	c.w.Header().Set("Location", "/v1/apps/"+v.App)
	return c.reply(status, wire.Deployed{Version: v, Existed: existed, Active: a.Active == v.ID})
}

// deployForm takes a bundle from the field "bundle" of a form.
func (h *Handler) deployForm(c *call, d registry.Deployment) (registry.Version, bool, error) {
	parts, err := c.r.MultipartReader()
	if err != nil {
		return registry.Version{}, false, bodyError(err)
	}
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return registry.Version{}, false, bad("send the bundle in the field bundle", "the form has no bundle")
		}
		if err != nil {
			return registry.Version{}, false, bodyError(err)
		}
		if p.FormName() == "bundle" {
			return h.o.Server.Apps.Deploy(c.r.Context(), p, d)
		}
	}
}

func (h *Handler) listApps(c *call) error { return page(c, h.o.Server.Apps.List()) }

func (h *Handler) getApp(c *call) error {
	a, err := h.o.Server.Apps.App(c.r.PathValue("app"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, a)
}

func (h *Handler) deleteApp(c *call) error {
	name := c.r.PathValue("app")
	if err := h.o.Server.Apps.Delete(c.r.Context(), name); err != nil {
		return err
	}
	h.o.Metrics.Forget(name)
	return h.o.Server.Secrets.DropApp(c.r.Context(), name)
}

func (h *Handler) listVersions(c *call) error {
	list, err := h.o.Server.Apps.Versions(c.r.PathValue("app"))
	if err != nil {
		return err
	}
	return page(c, list)
}

func (h *Handler) deleteVersion(c *call) error {
	return h.o.Server.Apps.DeleteVersion(c.r.Context(), c.r.PathValue("app"), c.r.PathValue("version"))
}

func (h *Handler) activate(c *call) error {
	var want wire.Activate
	if err := c.read(&want); err != nil {
		return err
	}
	if want.Version == "" {
		return bad("", "the body names no version")
	}
	v, err := h.o.Server.Apps.Activate(c.r.Context(), c.r.PathValue("app"), want.Version)
	if err != nil {
		return err
	}
	c.subject += "/" + v.ID
	return c.reply(http.StatusOK, v)
}

func (h *Handler) rollback(c *call) error {
	v, err := h.o.Server.Apps.Rollback(c.r.Context(), c.r.PathValue("app"))
	if err != nil {
		return err
	}
	c.subject += "/" + v.ID
	return c.reply(http.StatusOK, v)
}

func (h *Handler) listFunctions(c *call) error {
	a, _, err := h.o.Server.Apps.Get(c.r.PathValue("app"), "")
	if err != nil {
		return err
	}
	stats := h.o.Server.Gate.Stats()
	list := []wire.Function{}
	for _, name := range slices.Sorted(maps.Keys(a.Functions)) {
		f := a.Functions[name]
		item := wire.Function{Name: name, Memory: f.Memory, Timeout: f.Timeout.Seconds(), ContentType: node.ContentType(f), Ready: f.Instances.Ready, Max: f.Instances.Max}
		for _, ref := range f.Secrets {
			item.Secrets = append(item.Secrets, ref.Name)
		}
		for _, s := range stats.Functions {
			if s.App == a.Name && s.Function == name {
				item.Running, item.Waiting = s.Running, s.Waiting
			}
		}
		list = append(list, item)
	}
	return page(c, list)
}

func (h *Handler) listWorkflows(c *call) error {
	a, _, err := h.o.Server.Apps.Get(c.r.PathValue("app"), "")
	if err != nil {
		return err
	}
	list := []wire.Workflow{}
	for _, name := range slices.Sorted(maps.Keys(a.Workflows)) {
		item := wire.Workflow{Name: name, Steps: []string{}, Durability: app.DurabilityJournal}
		for _, s := range a.Workflows[name].Steps {
			item.Steps = append(item.Steps, s.Name)
		}
		if o := a.Outlines[name]; o != nil {
			item.Description, item.Input = o.Description, o.Input
			if o.Durability != "" {
				item.Durability = o.Durability
			}
		}
		for _, t := range a.Triggers {
			if t.Workflow == name {
				item.Triggers = append(item.Triggers, t.Name)
			}
		}
		list = append(list, item)
	}
	return page(c, list)
}
