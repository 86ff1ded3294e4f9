package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	frames "github.com/weft-run/weft/internal/service/wire"
)

// callService calls a method: the body is a list of its arguments, its result the answer.
func (h *Handler) callService(c *call) error {
	req, err := h.serviceCall(c)
	if err != nil {
		return err
	}
	send, err := c.flag("send", false)
	if err != nil {
		return err
	}
	if req.Delay, err = c.span("delay", 1<<62); err != nil {
		return err
	}
	if send || req.Delay > 0 {
		id, err := h.o.Server.SendService(c.r.Context(), req)
		if err != nil {
			return err
		}
		return c.reply(http.StatusAccepted, wire.Sent{Request: id})
	}
	wait, err := c.span("timeout", h.o.Wait)
	if err != nil {
		return err
	}
	if wait == 0 {
		wait = h.o.Wait
	}
	ctx, cancel := h.waiting(c, wait)
	defer cancel()
	result, err := h.o.Server.CallService(ctx, req)
	if err != nil {
		return waited(req, wait, err)
	}
	return c.sendResult(result)
}

// waited says of a call whose result has not come in time that it goes on.
func waited(req node.ServiceCall, wait time.Duration, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("call %s.%s: no result within %v; it may happen yet: %w", req.Service, req.Method, wait, err)
	}
	return err
}

// sendResult answers with the result of a method: JSON, as the SDKs make it, or whatever bytes
// the code has returned.
func (c *call) sendResult(result []byte) error {
	kind := "application/json"
	if len(result) == 0 {
		result = []byte("null")
	} else if !json.Valid(result) {
		kind = "application/octet-stream"
	}
	return c.send(kind, int64(len(result)), bytes.NewReader(result))
}

// serviceCall is the call that a request asks for.
func (h *Handler) serviceCall(c *call) (node.ServiceCall, error) {
	req := node.ServiceCall{
		App: c.r.PathValue("app"), Service: c.r.PathValue("service"), Object: c.r.PathValue("object"), Method: c.r.PathValue("method"),
		Key: c.r.Header.Get(wire.HeaderIdempotencyKey), By: c.who.Name,
	}
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return req, bodyError(err)
	}
	if req.Timeout, err = c.deadline(); err != nil {
		return req, err
	}
	if req.Args, err = arguments(body); err != nil {
		return req, err
	}
	if a, _, err := h.o.Server.Apps.Get(req.App, ""); err == nil && a.Services[req.Service] != nil {
		promise(c, a.Services[req.Service], req.Key)
	}
	return req, nil
}

// deadline is the time that a request says that its call has; 0: it says nothing.
func (c *call) deadline() (time.Duration, error) {
	limit := c.r.Header.Get(wire.HeaderTimeout)
	if limit == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(limit)
	if err != nil || d <= 0 {
		return 0, bad("", "header %s is %.50q; want a duration such as 5s", wire.HeaderTimeout, limit)
	}
	return min(d, timeoutMax), nil
}

// timeoutMax bounds the time that a call may be given.
const timeoutMax = 10 * 365 * 24 * time.Hour

// promise says in the answer how long its key is recognised, and whether it survives the
// node.
func promise(c *call, s *app.Service, key string) {
	if key != "" {
		c.w.Header().Set(wire.HeaderRetention, node.Retention(s).String())
	}
	durability := wire.DurabilityFlushed
	if s.Volatile {
		durability = wire.DurabilityNone
	}
	c.w.Header().Set(wire.HeaderDurability, durability)
}

// switches lists what a service has otherwise than by default.
func switches(s *app.Service) (list []string) {
	for _, w := range []struct {
		on   bool
		name string
	}{{s.Volatile, "durability: none"}, {s.ObjectLocks, "locking: object"}, {s.NoTransactions, "transactions: off"}} {
		if w.on {
			list = append(list, w.name)
		}
	}
	return list
}

// arguments reads a body: a list is the arguments, anything else the only one, and nothing
// none.
func arguments(body []byte) ([][]byte, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, body); err != nil {
		return nil, bad("send a list of the arguments as JSON", "the body is not JSON: %v", err)
	}
	if body[0] != '[' {
		return [][]byte{tight.Bytes()}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(tight.Bytes(), &list); err != nil {
		return nil, bad("send a list of the arguments as JSON", "the body is not JSON: %v", err)
	}
	args := make([][]byte, len(list))
	for i, a := range list {
		args[i] = a
	}
	return args, nil
}

func (h *Handler) listServices(c *call) error {
	only := c.r.PathValue("app")
	if only == "" {
		only = c.r.URL.Query().Get("app")
	}
	var apps []*app.App
	for _, known := range h.o.Server.Apps.List() {
		if only != "" && known.Name != only {
			continue
		}
		if a, _, err := h.o.Server.Apps.Get(known.Name, ""); err == nil {
			apps = append(apps, a)
		}
	}
	if only != "" && len(apps) == 0 {
		_, _, err := h.o.Server.Apps.Get(only, "")
		return err
	}
	requests := h.o.Server.Services.Requests()
	if err := h.o.Server.Services.Err(); err != nil {
		return err
	}
	var list []wire.Service
	for _, a := range apps {
		for _, name := range slices.Sorted(maps.Keys(a.Services)) {
			s := a.Services[name]
			out := wire.Service{App: a.Name, Service: name, Runtime: s.Code.Runtime, Keyed: s.Keyed, Methods: s.Methods, Modes: s.Modes, Switches: switches(s)}
			for _, r := range requests {
				if r.Call.To.Service == a.Name+"."+name {
					out.Open++
					if r.State == machine.Parked {
						out.Parked++
					}
				}
			}
			list = append(list, out)
		}
	}
	return page(c, list)
}

// target is a target as clients know it.
func target(t frames.Target) wire.Target {
	a, name, _ := strings.Cut(t.Service, ".")
	return wire.Target{App: a, Service: name, Object: t.Object, Method: t.Method}
}

// place is the key of a lock, for people.
func place(key string) string {
	full, object, k, err := record.Place(key)
	if err != nil {
		return fmt.Sprintf("%q", key)
	}
	s := strings.Replace(full, ".", "/", 1)
	if object != "" {
		s += "/" + object
	}
	if k.Field == "" && k.Entry != "" { // all of the object
		return s
	}
	s += ": " + k.Field
	switch {
	case k.Item:
		s += "[" + k.Entry + "]"
	case k.Entry != "": // its shape
		s += "[*]"
	}
	return s
}

// held counts the locks that requests have.
func (h *Handler) held() map[string]int {
	held := map[string]int{}
	for _, l := range h.o.Server.Services.Locks() {
		if !l.Waiting {
			held[l.Request]++
		}
	}
	return held
}

// viewOf is a request, for clients.
func viewOf(r machine.View, held map[string]int) wire.Request {
	out := wire.Request{
		ID: r.ID, Target: target(r.Call.To), Version: r.Version, State: r.State.String(), Parked: r.Request.Parked, Parent: r.Parent, Root: r.Root, Began: time.Unix(0, r.Time).UTC(),
		Attempt: r.Attempt, Failures: r.Failures, Failure: r.Failure, Transaction: r.Transaction, Writes: r.Writes, Held: held[r.ID],
	}
	if r.Due > 0 {
		due := time.Unix(0, r.Due).UTC()
		out.Due = &due
	}
	if r.Deadline > 0 {
		deadline := time.Unix(0, r.Deadline).UTC()
		out.Deadline = &deadline
	}
	for _, a := range r.Awaits {
		w := wire.Await{Promise: a.Promise, Request: a.Request}
		if a.Until > 0 {
			until := time.Unix(0, a.Until).UTC()
			w.Until = &until
		}
		out.Awaits = append(out.Awaits, w)
	}
	for _, t := range r.Calls {
		out.Calls = append(out.Calls, target(t))
	}
	if r.Waits != "" {
		out.Waits = place(r.Waits)
	}
	return out
}

func (h *Handler) listRequests(c *call) error {
	q := c.r.URL.Query()
	limit, err := c.pageLimit()
	if err != nil {
		return err
	}
	after := int64(0)
	if s := q.Get("after"); s != "" {
		if after, err = strconv.ParseInt(s, 10, 64); err != nil {
			return bad("", "parameter after is %.50q; want next of the page before", s)
		}
	}
	held := h.held()
	out := wire.Page[wire.Request]{Items: []wire.Request{}}
	last := int64(0)
	for _, r := range h.o.Server.Services.Requests() { // ages are no other's, and grow
		if r.Time <= after {
			continue
		}
		to := target(r.Call.To)
		if a := q.Get("app"); a != "" && a != to.App {
			continue
		}
		if name := q.Get("service"); name != "" && name != to.Service {
			continue
		}
		if state := q.Get("state"); state != "" && state != r.State.String() {
			continue
		}
		if len(out.Items) == limit {
			out.Next = strconv.FormatInt(last, 10)
			break
		}
		last = r.Time
		out.Items = append(out.Items, viewOf(r, held))
	}
	if err := h.o.Server.Services.Err(); err != nil {
		return err
	}
	return c.reply(http.StatusOK, out)
}

func (h *Handler) listLocks(c *call) error {
	limit, err := c.pageLimit()
	if err != nil {
		return err
	}
	from, given := "", 0 // the place that the page before has ended in, and what of it was on that
	if s := c.r.URL.Query().Get("after"); s != "" {
		if _, err := fmt.Sscanf(s, "%x.%d", &from, &given); err != nil {
			return bad("", "parameter after is %.50q; want next of the page before", s)
		}
	}
	out := wire.Page[wire.Lock]{Items: []wire.Lock{}}
	last, n := "", 0
	for _, l := range h.o.Server.Services.Locks() { // in the order of their places
		full, _, _, _ := record.Place(l.Key)
		if a := c.r.URL.Query().Get("app"); a != "" && !strings.HasPrefix(full, a+".") {
			continue
		}
		if len(out.Items) == limit {
			out.Next = fmt.Sprintf("%x.%d", last, n)
			break
		}
		if l.Key != last {
			last, n = l.Key, 0
		}
		if n++; l.Key < from || l.Key == from && n <= given {
			continue
		}
		out.Items = append(out.Items, wire.Lock{Place: place(l.Key), Request: l.Request, Target: target(l.Target), Mode: l.Mode.String(), Waiting: l.Waiting, For: l.For})
	}
	if err := h.o.Server.Services.Err(); err != nil {
		return err
	}
	return c.reply(http.StatusOK, out)
}

func (h *Handler) cancelRequest(c *call) error {
	var why wire.CancelRequest
	if err := c.read(&why); err != nil {
		return err
	}
	if why.Family {
		id := c.r.PathValue("request")
		return steered(id, h.o.Server.Services.CancelFamily(c.r.Context(), id, why.Reason))
	}
	return h.open(c, func(id string) error { return h.o.Server.Services.Cancel(c.r.Context(), id, why.Reason) })
}

func (h *Handler) retryRequest(c *call) error {
	return h.open(c, func(id string) error { return h.o.Server.Services.Retry(c.r.Context(), id) })
}

func (h *Handler) resolvePromise(c *call) error {
	v, err := c.jsonOrNothing()
	if err != nil {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return h.open(c, func(id string) error {
		return h.o.Server.Services.Resolve(c.r.Context(), id, c.r.PathValue("promise"), frames.Value{Data: data})
	})
}

// open does something with a request that has not ended.
func (h *Handler) open(c *call, do func(id string) error) error {
	id := c.r.PathValue("request")
	if _, err := h.view(id); err != nil {
		return err
	}
	return steered(id, do(id))
}

// steered is the error of something that is not done with a request.
func steered(id string, err error) error {
	var refusal *service.Refusal
	if errors.As(err, &refusal) {
		return bad("weft requests show "+id+" tells its state", "%v", err)
	}
	return err
}

func (h *Handler) readState(c *call) error {
	appName, name := c.r.PathValue("app"), c.r.PathValue("service")
	a, _, err := h.o.Server.Apps.Get(appName, "")
	if err != nil {
		return err
	}
	if a.Services[name] == nil {
		hint := flow.Nearest(name, slices.Sorted(maps.Keys(a.Services)))
		if hint != "" {
			hint = " (" + hint + ")"
		}
		return fmt.Errorf("app %s has no service %q%s: %w", appName, name, hint, node.ErrNoMethod)
	}
	q := c.r.URL.Query()
	full := appName + "." + name
	if q.Has("field") {
		k := frames.Key{Field: q.Get("field"), Item: q.Has("entry"), Entry: q.Get("entry")}
		value, found, err := h.o.Server.Services.Get(c.r.Context(), full, q.Get("object"), k)
		if err != nil {
			return err
		}
		list := []wire.Place{}
		if found {
			list = append(list, placeOf(q.Get("object"), k, value))
		}
		return page(c, list)
	}
	limit, err := c.pageLimit()
	if err != nil {
		return err
	}
	found, next, err := h.o.Server.Services.Scan(c.r.Context(), full, q.Get("object"), a.Services[name].Keyed && !q.Has("object"), fromHex(q.Get("after")), limit)
	if err != nil {
		return err
	}
	out := wire.Page[wire.Place]{Items: []wire.Place{}, Next: fmt.Sprintf("%x", next)}
	for _, p := range found {
		out.Items = append(out.Items, placeOf(p.Object, p.Key, p.Value))
	}
	return c.reply(http.StatusOK, out)
}

// fromHex reads a page's next; what is none begins anew.
func fromHex(s string) string {
	var b []byte
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		return ""
	}
	return string(b)
}

// placeOf is a place in the state, for clients.
func placeOf(object string, k frames.Key, value []byte) wire.Place {
	p := wire.Place{Object: object, Field: k.Field}
	if k.Item {
		p.Entry = &k.Entry
	}
	if json.Valid(value) {
		p.Value = value
	} else {
		p.Bytes = value
	}
	return p
}
