package api

import (
	"io"
	"net/http"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
)

func (h *Handler) listSecrets(c *call) error {
	app := c.r.URL.Query().Get("app")
	apps := []string{app}
	if app == "" {
		apps = nil
		for _, a := range h.o.Server.Apps.List() {
			apps = append(apps, a.Name)
		}
	}
	list := []wire.Secret{}
	for _, name := range apps {
		infos, err := h.o.Server.Secrets.List(name)
		if err != nil {
			return err
		}
		for _, i := range infos {
			list = append(list, wire.Secret{App: name, Name: i.Name, Updated: i.Updated})
		}
	}
	return page(c, list)
}

func (h *Handler) setSecret(c *call) error {
	value, err := io.ReadAll(c.r.Body)
	if err != nil {
		return bodyError(err)
	}
	app := c.r.PathValue("app")
	if err := h.o.Server.Secrets.Set(c.r.Context(), app, c.r.PathValue("secret"), value); err != nil {
		return err
	}
	h.o.Server.Refresh(app)
	return nil
}

func (h *Handler) deleteSecret(c *call) error {
	app := c.r.PathValue("app")
	if err := h.o.Server.Secrets.Delete(c.r.Context(), app, c.r.PathValue("secret")); err != nil {
		return err
	}
	h.o.Server.Refresh(app)
	return nil
}

func (h *Handler) listTokens(c *call) error { return page(c, h.o.Tokens.List()) }

func (h *Handler) createToken(c *call) error {
	var want wire.NewToken
	if err := c.read(&want); err != nil {
		return err
	}
	var expires time.Duration
	if want.Expires != "" {
		var err error
		if expires, err = time.ParseDuration(want.Expires); err != nil || expires <= 0 {
			return bad("", "expires is %q; want a duration such as 720h", want.Expires)
		}
	}
	if want.Role == public {
		return bad("", "the token has no role; want read, invoke, deploy or admin")
	}
	t, text, err := h.o.Tokens.Create(c.r.Context(), want.Name, want.Role, expires)
	if err != nil {
		return err
	}
	c.subject = t.ID + " " + t.Name
	return c.reply(http.StatusCreated, wire.MadeToken{Token: t, Text: text})
}

func (h *Handler) revokeToken(c *call) error {
	return h.o.Tokens.Revoke(c.r.Context(), c.r.PathValue("token"))
}

// auditDefault is how many entries of the audit log are shown.
const auditDefault, auditMax = 50, 1000

func (h *Handler) audit(c *call) error {
	n, err := c.number("limit")
	if err != nil {
		return err
	}
	if n == 0 {
		n = auditDefault
	}
	list, err := h.o.Audit.Read(min(n, auditMax))
	if err != nil {
		return err
	}
	return page(c, list)
}

func (h *Handler) config(c *call) error {
	c.w.Header().Set("Content-Type", "application/yaml")
	_, err := c.w.Write(h.o.Config())
	return err
}

func (h *Handler) backup(c *call) error {
	c.w.Header().Set("Content-Type", "application/x-tar")
	c.w.Header().Set("Content-Disposition", `attachment; filename="weft-`+time.Now().UTC().Format("20060102-150405")+`.tar"`)
	return h.o.Server.Backup(c.r.Context(), c.w)
}
