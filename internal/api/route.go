package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/telemetry"
)

// public is the role of requests that anybody may send.
const public auth.Role = 0

// route is one kind of request.
type route struct {
	method, path string
	name         string    // in the OpenAPI document, logs and the audit log
	summary      string    // one sentence
	role         auth.Role // that is needed
	query        []param
	headers      []param
	in           any                 // what the body holds: a value of its type, or a media; nil: nothing
	also         any                 // what else it may hold; nil: nothing
	out          any                 // the same of the answer
	status       int                 // of success; 0: 200, or 204 without an answer
	others       []int               // further statuses that are no problems
	audit        bool                // goes to the audit log
	zip          bool                // its answers are worth compressing
	endless      bool                // its answer may go on for long, so HEAD is not possible
	hidden       bool                // not an operation of its own in the document
	limit        func(Options) int64 // bytes of the body; nil: Options.Body
	handle       func(*call) error
}

// media is a body that is not JSON.
type media string

// anyJSON is a body that is any JSON value.
type anyJSON struct{}

// param is a parameter of the query.
type param struct{ name, text string }

// pattern is what http.ServeMux matches.
func (r *route) pattern() string {
	switch {
	case r.path == "":
		return "/"
	case r.method == "":
		return r.path
	}
	return r.method + " " + r.path
}

// subject names what a request is about: the names in its path.
func (r *route) subject(req *http.Request) string {
	var names []string
	for _, name := range r.names() {
		names = append(names, req.PathValue(name))
	}
	return strings.Join(names, "/")
}

// names lists the parameters of the path.
func (r *route) names() []string {
	var names []string
	for s := range strings.SplitSeq(r.path, "/") {
		if s, ok := strings.CutPrefix(s, "{"); ok {
			names = append(names, strings.TrimSuffix(strings.TrimSuffix(s, "}"), "..."))
		}
	}
	return names
}

// understands refuses parameters that the route does not have: a misspelt wait
// would otherwise be one that is left out. What triggers take is up to their apps, and
// health and metrics are asked for by machines with ideas of their own.
func (r *route) understands(query url.Values) error {
	if !strings.HasPrefix(r.path, "/v1/") {
		return nil
	}
	var names []string
	for _, p := range r.query {
		names = append(names, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if slices.Contains(names, name) {
			continue
		}
		if len(names) == 0 {
			return bad("", "parameter %.100q is not known; there are none here", name)
		}
		return bad(flow.Nearest(name, slices.Clone(names)), "parameter %.100q is not known; there is %s", name, strings.Join(names, ", "))
	}
	return nil
}

// Parameters of queries that several routes take.
var (
	versionParam = param{"version", "version of the app; default: the active one"}
	waitParam    = param{"wait", "how long to wait for the run's end, such as 30s; default: not at all"}
	afterParam   = param{"after", "next of the page before"}
	limitParam   = param{"limit", "items of a page; default 50, at most 1000"}

	keyParam  = param{wire.HeaderIdempotencyKey, "names the request: repeated with the same key it is carried out once; at most 256 bytes"}
	lastParam = param{"Last-Event-ID", "id of the event after which to go on"}
)

// callParams are those of calls of services.
var callParams = []param{
	{"send", "true: the answer is 202 as soon as it is certain that the call happens"},
	{"delay", "it happens that much later, such as 24h; the answer is 202"},
	{"timeout", "how long to wait for the result, such as 30s; default: 1 hour"},
}

// callHeaders are those of calls of services.
var callHeaders = []param{
	{wire.HeaderIdempotencyKey, "names the call: repeated with the same key it is carried out once; escaped as in a path and with APP.SERVICE: in front at most 200 bytes"},
	{wire.HeaderTimeout, "the time, such as 5s, after which the call is ended if it has not ended by itself: what has not begun does not happen, what has is undone by its compensations; from the end of the delay on"},
}

// argumentsLimit is the limit of bodies that hold arguments: what they may have together,
// with room for how they may be written.
func argumentsLimit(o Options) int64 { return 2*o.Value + 64<<10 }

// inputLimit is the limit of bodies that runs keep.
func inputLimit(o Options) int64 { return o.Input }

// routes is the table.
func (h *Handler) routes() []*route {
	return []*route{
		{method: "GET", path: "/healthz", name: "health", summary: "Tells whether the process is alive.", role: public, out: wire.Health{}, handle: h.health},
		{method: "GET", path: "/readyz", name: "ready", summary: "Tells whether requests are taken; 503 otherwise.", role: public, out: wire.Health{}, handle: h.readiness},
		{method: "GET", path: "/metrics", name: "metrics", summary: "Gives the figures that Prometheus collects.", role: auth.Read, out: media("text/plain"), handle: h.metrics},
		{method: "GET", path: "/v1/version", name: "version", summary: "Describes the server.", role: auth.Read, out: wire.Version{}, handle: h.version},
		{method: "GET", path: "/v1/openapi.json", name: "openapi", summary: "Gives this document.", role: auth.Read, out: anyJSON{}, zip: true, handle: h.openapi},
		{method: "GET", path: "/v1/stats", name: "stats", summary: "Gives figures of the moment.", role: auth.Read, out: wire.Stats{}, zip: true, handle: h.stats},

		{method: "POST", path: "/v1/apps", name: "app.deploy", summary: "Deploys a bundle, or content that is there already.", role: auth.Deploy, query: []param{{"activate", "false: new runs do not get this version yet"}},
			in: media(wire.TypeBundle), also: wire.Digest{}, out: wire.Deployed{}, status: http.StatusCreated, others: []int{http.StatusOK}, audit: true, limit: func(o Options) int64 { return o.Bundle }, handle: h.deploy},
		{method: "GET", path: "/v1/apps", name: "app.list", summary: "Lists the apps.", role: auth.Read, out: wire.Page[registry.App]{}, zip: true, handle: h.listApps},
		{method: "GET", path: "/v1/apps/{app}", name: "app.get", summary: "Describes an app.", role: auth.Read, out: registry.App{}, handle: h.getApp},
		{method: "DELETE", path: "/v1/apps/{app}", name: "app.delete", summary: "Deletes an app with its versions and secrets.", role: auth.Deploy, audit: true, handle: h.deleteApp},
		{method: "GET", path: "/v1/apps/{app}/versions", name: "version.list", summary: "Lists the versions of an app, the newest first.", role: auth.Read, out: wire.Page[registry.Version]{}, zip: true, handle: h.listVersions},
		{method: "DELETE", path: "/v1/apps/{app}/versions/{version}", name: "version.delete", summary: "Deletes a version that is neither active nor in use.", role: auth.Deploy, audit: true, handle: h.deleteVersion},
		{method: "PUT", path: "/v1/apps/{app}/active", name: "app.activate", summary: "Makes a version the one that new runs get.", role: auth.Deploy, in: wire.Activate{}, out: registry.Version{}, audit: true, handle: h.activate},
		{method: "POST", path: "/v1/apps/{app}/rollback", name: "app.rollback", summary: "Makes the version active that was so before.", role: auth.Deploy, out: registry.Version{}, audit: true, handle: h.rollback},
		{method: "GET", path: "/v1/apps/{app}/functions", name: "function.list", summary: "Lists the functions of an app's active version.", role: auth.Read, out: wire.Page[wire.Function]{}, zip: true, handle: h.listFunctions},
		{method: "GET", path: "/v1/apps/{app}/workflows", name: "workflow.list", summary: "Lists the workflows of an app's active version.", role: auth.Read, out: wire.Page[wire.Workflow]{}, zip: true, handle: h.listWorkflows},

		{method: "POST", path: "/v1/apps/{app}/functions/{function}", name: "function.invoke", summary: "Calls a function: the body is its standard input, the answer its standard output.", role: auth.Invoke,
			query: []param{versionParam, {"stream", "true: the output is sent as it is written"}}, in: media("*/*"), out: media("*/*"), handle: h.invoke},
		{method: "GET", path: "/v1/services", name: "service.list", summary: "Lists the services of the apps' active versions.", role: auth.Read, query: []param{{"app", "of this app"}}, out: wire.Page[wire.Service]{}, zip: true, handle: h.listServices},
		{method: "GET", path: "/v1/apps/{app}/services", name: "app.services", summary: "Lists the services of an app's active version.", role: auth.Read, out: wire.Page[wire.Service]{}, zip: true, handle: h.listServices},
		{method: "POST", path: "/v1/apps/{app}/services/{service}/{method}", name: "service.call", summary: "Calls a method of a service: the body is a list of its arguments, the answer its result.", role: auth.Invoke,
			query: callParams, headers: callHeaders, in: anyJSON{}, out: anyJSON{}, status: http.StatusOK, others: []int{http.StatusAccepted}, limit: argumentsLimit, handle: h.callService},
		{method: "POST", path: "/v1/apps/{app}/services/{service}/{object}/{method}", name: "object.call", summary: "Calls a method of an object of a keyed service.", role: auth.Invoke,
			query: callParams, headers: callHeaders, in: anyJSON{}, out: anyJSON{}, status: http.StatusOK, others: []int{http.StatusAccepted}, limit: argumentsLimit, handle: h.callService},
		{method: "GET", path: "/v1/apps/{app}/services/{service}/state", name: "service.state", summary: "Reads the state of a service: one place, or all.", role: auth.Read,
			query: []param{{"object", "of this object; default: of all"}, {"field", "this field only"}, {"entry", "this entry of the field, which is a map"}, afterParam, limitParam}, out: wire.Page[wire.Place]{}, zip: true, handle: h.readState},
		{method: "GET", path: "/v1/requests", name: "request.list", summary: "Lists the requests to services that have not ended, the oldest first.", role: auth.Read,
			query: []param{{"app", "to this app"}, {"service", "to this service"}, {"state", "queued, delayed, running, waiting, retrying or parked"}, afterParam, limitParam}, out: wire.Page[wire.Request]{}, zip: true, handle: h.listRequests},
		{method: "GET", path: "/v1/requests/{request}", name: "request.get", summary: "Tells what a request has asked so far, and been answered: its journal.", role: auth.Read, out: wire.Story{}, zip: true, handle: h.getRequest},
		{method: "POST", path: "/v1/requests/{request}/restart", name: "request.restart", summary: "Begins a request anew from a question of its journal; what it has done since stands.", role: auth.Deploy, in: wire.Restart{}, out: wire.Restarted{}, audit: true, handle: h.restartRequest},
		{method: "POST", path: "/v1/requests/{request}/cancel", name: "request.cancel", summary: "Ends a request, and what it has begun and waits for; its compensations follow.", role: auth.Invoke, in: wire.CancelRequest{}, audit: true, handle: h.cancelRequest},
		{method: "POST", path: "/v1/requests/{request}/retry", name: "request.retry", summary: "Has a parked request tried again.", role: auth.Invoke, audit: true, handle: h.retryRequest},
		{method: "POST", path: "/v1/requests/{request}/promises/{promise}", name: "promise.resolve", summary: "Gives a promise of a request its value, which is the body; the first one stands.", role: auth.Invoke, in: anyJSON{}, limit: argumentsLimit, handle: h.resolvePromise},
		{method: "POST", path: "/v1/apps/{app}/replay", name: "request.replay", summary: "Runs the journals of requests that wait with the code of a version, without effects, and compares what it asks.", role: auth.Deploy,
			query: []param{versionParam, {"request", "of this request only"}}, out: wire.Page[wire.Replay]{}, status: http.StatusOK, handle: h.replay},
		{method: "GET", path: "/v1/locks", name: "lock.list", summary: "Lists the locks of services: who has them, and who waits for whom.", role: auth.Read, query: []param{{"app", "of this app"}, afterParam, limitParam}, out: wire.Page[wire.Lock]{}, zip: true, handle: h.listLocks},

		{method: "POST", path: "/v1/apps/{app}/workflows/{workflow}/runs", name: "run.start", summary: "Starts a run; the body is its input.", role: auth.Invoke,
			query: []param{versionParam, waitParam}, headers: []param{keyParam}, in: anyJSON{}, out: engine.Run{}, status: http.StatusAccepted, others: []int{http.StatusOK}, limit: inputLimit, handle: h.start},
		{method: "POST", path: "/v1/apps/{app}/events", name: "event.send", summary: "Takes CloudEvents and starts the runs that wait for them.", role: auth.Invoke, in: media("application/cloudevents+json"), out: wire.Accepted{}, status: http.StatusAccepted, handle: h.events},
		{path: "/t/{app}", name: "trigger", summary: "Takes a request for a trigger of an app.", role: auth.Invoke, in: media("*/*"), out: media("*/*"), hidden: true, handle: h.trigger},
		{path: "/t/{app}/{path...}", name: "trigger", summary: "Takes a request for a trigger of an app.", role: auth.Invoke, in: media("*/*"), out: media("*/*"), hidden: true, handle: h.trigger},

		{method: "GET", path: "/v1/runs", name: "run.list", summary: "Lists runs, the newest first.", role: auth.Read, query: []param{
			{"app", "of this app"}, {"workflow", "of this workflow"}, {"status", "running, paused, succeeded, failed or cancelled"}, {"trigger", "started by what begins so: api, cron, http, event"},
			{"since", "created at this time (RFC 3339) or later"}, {"until", "created before this time (RFC 3339)"}, afterParam, limitParam}, out: wire.Page[engine.Run]{}, zip: true, handle: h.listRuns},
		{method: "GET", path: "/v1/runs/{run}", name: "run.get", summary: "Tells where a run is.", role: auth.Read, out: engine.Detail{}, zip: true, handle: h.getRun},
		{method: "GET", path: "/v1/runs/{run}/events", name: "run.events", summary: "Tells what happens in a run until it has ended. Last-Event-ID resumes.", role: auth.Read, headers: []param{lastParam}, out: media(wire.TypeEvents), endless: true, handle: h.watchRun},
		{method: "GET", path: "/v1/runs/{run}/logs", name: "run.logs", summary: "Gives what the functions of a run have written to standard error, a JSON object a line.", role: auth.Read,
			query: []param{{"follow", "true: goes on until the run has ended"}}, out: media("application/x-ndjson"), endless: true, handle: h.logs},
		{method: "GET", path: "/v1/runs/{run}/trace", name: "run.trace", summary: "Gives the spans of a run.", role: auth.Read, out: telemetry.Trace{}, zip: true, handle: h.trace},
		{method: "POST", path: "/v1/runs/{run}/cancel", name: "run.cancel", summary: "Ends a run without a result.", role: auth.Invoke, in: wire.Cancel{}, audit: true, handle: h.cancel},
		{method: "POST", path: "/v1/runs/{run}/retry", name: "run.retry", summary: "Lets a run go on that has failed or was cancelled; what had finished counts.", role: auth.Invoke, audit: true, handle: h.retry},
		{method: "POST", path: "/v1/runs/{run}/pause", name: "run.pause", summary: "Stops the clock of a run.", role: auth.Invoke, audit: true, handle: h.pause},
		{method: "POST", path: "/v1/runs/{run}/resume", name: "run.resume", summary: "Lets a paused run go on.", role: auth.Invoke, audit: true, handle: h.resume},
		{method: "POST", path: "/v1/runs/{run}/signals/{signal}", name: "run.signal", summary: "Gives a run a signal; the body is its value.", role: auth.Invoke, query: []param{{"step", "path of the step that it is for; default: who waits first"}}, in: anyJSON{}, audit: true, limit: inputLimit, handle: h.signal},
		{method: "GET", path: "/v1/runs/{run}/buffers/{buffer...}", name: "buffer.get", summary: "Gives the bytes of a buffer of a run.", role: auth.Read, out: media("application/octet-stream"), handle: h.download},
		{method: "POST", path: "/v1/buffers", name: "buffer.put", summary: "Takes bytes for the input of a run; unclaimed ones are kept for a day.", role: auth.Invoke, in: media("*/*"), out: wire.Buffer{}, status: http.StatusCreated, limit: func(o Options) int64 { return o.Buffer }, handle: h.upload},

		{method: "GET", path: "/v1/secrets", name: "secret.list", summary: "Lists the names of secrets.", role: auth.Deploy, query: []param{{"app", "of this app"}}, out: wire.Page[wire.Secret]{}, handle: h.listSecrets},
		{method: "PUT", path: "/v1/apps/{app}/secrets/{secret}", name: "secret.set", summary: "Sets a secret; the body is its value.", role: auth.Deploy, in: media("*/*"), audit: true, limit: func(Options) int64 { return 64 << 10 }, handle: h.setSecret},
		{method: "DELETE", path: "/v1/apps/{app}/secrets/{secret}", name: "secret.delete", summary: "Deletes a secret.", role: auth.Deploy, audit: true, handle: h.deleteSecret},
		{method: "GET", path: "/v1/tokens", name: "token.list", summary: "Lists the tokens.", role: auth.Admin, out: wire.Page[auth.Token]{}, handle: h.listTokens},
		{method: "POST", path: "/v1/tokens", name: "token.create", summary: "Makes a token. Its text is in this answer and nowhere else.", role: auth.Admin, in: wire.NewToken{}, out: wire.MadeToken{}, status: http.StatusCreated, audit: true, handle: h.createToken},
		{method: "DELETE", path: "/v1/tokens/{token}", name: "token.revoke", summary: "Revokes a token.", role: auth.Admin, audit: true, handle: h.revokeToken},
		{method: "GET", path: "/v1/audit", name: "audit", summary: "Tells who has changed what, the latest first.", role: auth.Admin, query: []param{limitParam}, out: wire.Page[audit.Entry]{}, zip: true, handle: h.audit},
		{method: "GET", path: "/v1/config", name: "config", summary: "Gives the configuration in force, as YAML.", role: auth.Admin, out: media("application/yaml"), handle: h.config},
		{method: "GET", path: "/v1/cpu", name: "cpu", summary: "Tells which calls have the processor, by which policy, and what was learned of functions.", role: auth.Read, out: wire.CPU{}, zip: true, handle: h.cpu},
		{method: "PUT", path: "/v1/cpu", name: "cpu.set", summary: "Sets the policy of the processor; parameters that are left out get their defaults.", role: auth.Admin, in: wire.CPUChange{}, out: wire.CPU{}, audit: true, handle: h.setCPU},
		{method: "PATCH", path: "/v1/cpu", name: "cpu.change", summary: "Changes the policy of the processor or its parameters; what is left out stays.", role: auth.Admin, in: wire.CPUChange{}, out: wire.CPU{}, audit: true, handle: h.patchCPU},
		{method: "GET", path: "/v1/backup", name: "backup", summary: "Gives an archive of all that the server keeps, the key of the secrets included.", role: auth.Admin, out: media("application/x-tar"), audit: true, endless: true, handle: h.backup},
	}
}
