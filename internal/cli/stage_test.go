package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/telemetry"
)

// stageBuilder is a builder that compiles nothing: the module of a source is its own text.
type stageBuilder struct{}

func (stageBuilder) Build(_ context.Context, dir string, f build.Source, _ func(build.Event)) (build.Module, error) {
	path := filepath.Join(dir, f.Path)
	if _, err := os.Stat(path); err != nil {
		return build.Module{}, errors.New("function " + f.Function + " has no source")
	}
	return build.Module{Path: path}, nil
}

// stageServer is a server that runs nothing: what happens to a run depends on the name of its workflow. It remembers
// what it is told, so that the commands show it.
type stageServer struct {
	mu       sync.Mutex // guards all below
	apps     map[string]*registry.App
	versions map[string][]registry.Version
	secrets  []wire.Secret
	tokens   []auth.Token
	runs     []engine.Run // the latest last
	keys     map[string]string
	told     []string // signals, cancellations and so on
}

// stageServerMain serves at the socket that its argument names until it is killed.
func stageServerMain() int {
	l, err := net.Listen("unix", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := &stageServer{apps: map[string]*registry.App{}, versions: map[string][]registry.Version{}, keys: map[string]string{}}
	fmt.Fprintln(os.Stderr, http.Serve(l, s.handler()))
	return 1
}

// stageTime is when everything on the stage happened.
var stageTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (s *stageServer) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if a := r.Header.Get("Authorization"); a == "Bearer wrong" {
				stageRefuse(w, wire.Problem{Status: 401, Detail: "unknown token"})
				return
			}
			f(w, r)
		})
	}
	handle("GET /v1/version", func(w http.ResponseWriter, r *http.Request) { stageAnswer(w, 200, wire.Version{Version: "stage"}) })
	handle("POST /v1/apps", s.deploy)
	handle("GET /v1/apps", func(w http.ResponseWriter, r *http.Request) {
		list := []registry.App{}
		for _, a := range s.apps {
			list = append(list, *a)
		}
		stageAnswer(w, 200, wire.Page[registry.App]{Items: list})
	})
	handle("GET /v1/apps/{app}", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) { stageAnswer(w, 200, a) }))
	handle("DELETE /v1/apps/{app}", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		delete(s.apps, a.Name)
		w.WriteHeader(204)
	}))
	handle("GET /v1/apps/{app}/versions", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		stageAnswer(w, 200, wire.Page[registry.Version]{Items: s.versions[a.Name]})
	}))
	handle("DELETE /v1/apps/{app}/versions/{version}", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		if r.PathValue("version") == a.Active {
			stageRefuse(w, wire.Problem{Status: 409, Detail: "version " + a.Active + " is active"})
			return
		}
		s.versions[a.Name] = slices.DeleteFunc(s.versions[a.Name], func(v registry.Version) bool { return v.ID == r.PathValue("version") })
		w.WriteHeader(204)
	}))
	handle("PUT /v1/apps/{app}/active", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		var want wire.Activate
		json.NewDecoder(r.Body).Decode(&want)
		s.activate(w, a, want.Version)
	}))
	handle("POST /v1/apps/{app}/rollback", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		s.activate(w, a, a.History[len(a.History)-1])
	}))
	handle("GET /v1/apps/{app}/functions", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		stageAnswer(w, 200, wire.Page[wire.Function]{Items: []wire.Function{{Name: "f", Memory: 128 << 20, Timeout: 30, ContentType: "application/json", Running: 1, Max: 4}}})
	}))
	handle("GET /v1/apps/{app}/workflows", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		list := []wire.Workflow{}
		for _, name := range s.versions[a.Name][0].Workflows {
			list = append(list, wire.Workflow{Name: name, Steps: []string{"s"}, Durability: app.DurabilityJournal, Description: "Does " + name + ".", Triggers: []string{"cron 0 3 * * *"}})
		}
		stageAnswer(w, 200, wire.Page[wire.Workflow]{Items: list})
	}))
	handle("POST /v1/apps/{app}/functions/{function}", s.ofApp(s.invoke))
	handle("POST /v1/apps/{app}/workflows/{workflow}/runs", s.ofApp(s.start))
	handle("POST /v1/buffers", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		stageAnswer(w, 201, wire.Buffer{Name: "/upload-1", Size: n})
	})
	s.handleRuns(handle)
	s.handleAdmin(handle)
	return s.locked(mux)
}

// locked serves one request at a time, but for those that take long.
func (s *stageServer) locked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// ofApp serves a request that an app has to be there for.
func (s *stageServer) ofApp(f func(w http.ResponseWriter, r *http.Request, a *registry.App)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a := s.apps[r.PathValue("app")]; a != nil {
			f(w, r, a)
			return
		}
		stageRefuse(w, wire.Problem{Status: 404, Detail: "not deployed"})
	}
}

func (s *stageServer) deploy(w http.ResponseWriter, r *http.Request) {
	active := r.URL.Query().Get("activate") == "true"
	var v registry.Version
	existed := false
	if r.Header.Get("Content-Type") == "application/json" {
		var q wire.Digest
		json.NewDecoder(r.Body).Decode(&q)
		for _, list := range s.versions {
			for _, old := range list {
				if old.ID == q.Digest {
					v, existed = old, true
				}
			}
		}
		if !existed {
			stageRefuse(w, wire.Problem{Status: 404, Detail: "there is no such bundle"})
			return
		}
	} else {
		dir, err := os.MkdirTemp("", "")
		if err == nil {
			defer os.RemoveAll(dir)
			err = bundle.Unpack(r.Body, dir, bundle.Limits{})
		}
		var a *app.App
		if err == nil {
			a, err = app.Load(dir)
		}
		if err != nil {
			stageRefuse(w, wire.Problem{Status: 422, Detail: err.Error()})
			return
		}
		if a.Name == "forbidden" {
			stageRefuse(w, wire.Problem{Type: "urn:weft:rejected", Status: 422, Detail: "the app is not accepted",
				Errors: app.Errors{{File: "weft.yaml", Line: 1, Column: 7, Message: "this server takes no app with that name", Hint: "choose another"}}})
			return
		}
		id, _ := bundle.Digest(dir)
		v = registry.Version{App: a.Name, ID: id, Created: stageTime, By: "uid 0", Size: 2048}
		for name := range a.Functions {
			v.Functions = append(v.Functions, name)
		}
		for name := range a.Workflows {
			v.Workflows = append(v.Workflows, name)
		}
		slices.Sort(v.Workflows)
		s.versions[a.Name] = append([]registry.Version{v}, s.versions[a.Name]...)
	}
	a := s.apps[v.App]
	if a == nil {
		a = &registry.App{Name: v.App}
		s.apps[v.App] = a
	}
	if active && a.Active != v.ID {
		a.History, a.Active, a.Updated = append(a.History, a.Active), v.ID, stageTime
	}
	stageAnswer(w, 200, wire.Deployed{Version: v, Existed: existed, Active: a.Active == v.ID})
}

func (s *stageServer) activate(w http.ResponseWriter, a *registry.App, id string) {
	for _, v := range s.versions[a.Name] {
		if v.ID == id {
			a.History, a.Active = append(a.History, a.Active), id
			stageAnswer(w, 200, v)
			return
		}
	}
	stageRefuse(w, wire.Problem{Status: 404, Detail: "not deployed"})
}

func (s *stageServer) invoke(w http.ResponseWriter, r *http.Request, a *registry.App) {
	body, _ := io.ReadAll(r.Body)
	switch r.PathValue("function") {
	case "f":
		fmt.Fprintf(w, "f of %s %s\n", r.Header.Get("Content-Type"), body)
	case "bad":
		stageRefuse(w, wire.Problem{Type: "urn:weft:function-failed", Status: 502, Detail: "function bad exited with status 3", Kind: "exit"})
	case "late":
		w.Header().Set("Trailer", wire.HeaderFailure)
		fmt.Fprintln(w, "some output")
		w.Header().Set(wire.HeaderFailure, `{"kind":"timeout","message":"took longer than 1s"}`)
	case "full":
		w.Header().Set("Retry-After", "7")
		stageRefuse(w, wire.Problem{Type: "urn:weft:full", Status: 429, Detail: "100 calls wait already"})
	default:
		stageRefuse(w, wire.Problem{Status: 404, Detail: "not deployed"})
	}
}

func (s *stageServer) start(w http.ResponseWriter, r *http.Request, a *registry.App) {
	name := r.PathValue("workflow")
	if !slices.Contains(s.versions[a.Name][0].Workflows, name) {
		stageRefuse(w, wire.Problem{Status: 404, Detail: "no such workflow"})
		return
	}
	var input any
	dec := json.NewDecoder(r.Body)
	dec.UseNumber()
	dec.Decode(&input)
	key := r.Header.Get(wire.HeaderIdempotencyKey)
	if id := s.keys[key]; id != "" {
		stageAnswer(w, 200, *s.run(id))
		return
	}
	run := engine.Run{ID: fmt.Sprintf("run%04d", len(s.runs)+1), App: a.Name, Version: a.Active, Workflow: name, Status: engine.Succeeded, Input: input,
		Output: input, Created: stageTime, Ended: stageTime.Add(1500 * time.Millisecond), Trigger: "api", Durability: app.DurabilityJournal, Key: key}
	switch name {
	case "text":
		run.Output = "plain <text>"
	case "buffer":
		run.Output = map[string]any{"$buffer": "s/out", "size": 5}
	case "bad":
		run.Status, run.Output, run.Failure = engine.Failed, nil, &flow.Failure{Kind: flow.KindTimeout, Message: "took longer than 30s", Step: "s[0]"}
	case "slow":
		run.Status, run.Output, run.Ended = engine.Running, nil, time.Time{}
	}
	s.keys[key] = run.ID
	s.runs = append(s.runs, run)
	status := 200
	if r.URL.Query().Get("wait") == "0s" || !run.Status.Ended() {
		status = 202
	}
	stageAnswer(w, status, run)
}

func (s *stageServer) run(id string) *engine.Run {
	for i := range s.runs {
		if s.runs[i].ID == id {
			return &s.runs[i]
		}
	}
	return nil
}

func (s *stageServer) handleRuns(handle func(string, func(http.ResponseWriter, *http.Request))) {
	ofRun := func(f func(w http.ResponseWriter, r *http.Request, run *engine.Run)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if run := s.run(r.PathValue("run")); run != nil {
				f(w, r, run)
				return
			}
			stageRefuse(w, wire.Problem{Status: 404, Detail: "no such run"})
		}
	}
	handle("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		list := []engine.Run{}
		for _, run := range slices.Backward(s.runs) {
			if (q.Get("status") == "" || q.Get("status") == string(run.Status)) && (q.Get("workflow") == "" || q.Get("workflow") == run.Workflow) {
				list = append(list, run)
			}
		}
		stageAnswer(w, 200, wire.Page[engine.Run]{Items: list})
	})
	handle("GET /v1/runs/{run}", ofRun(func(w http.ResponseWriter, r *http.Request, run *engine.Run) {
		d := engine.Detail{Run: *run, Steps: []flow.StepView{{Step: "s", Status: flow.Succeeded, Items: 3, Done: 3}, {Step: "ask", Status: flow.Waiting}}}
		if run.Status == engine.Running {
			d.Signals = []flow.WaitingSignal{{Path: "ask", Name: "approve"}}
		}
		stageAnswer(w, 200, d)
	}))
	handle("GET /v1/runs/{run}/events", ofRun(func(w http.ResponseWriter, r *http.Request, run *engine.Run) {
		zero := 0
		events := []wire.Event{{Seq: 1, Kind: "step-started", Step: "s", Index: &zero, Attempt: 1}, {Seq: 2, Kind: "step-retried", Step: "s", Index: &zero, Attempt: 1, Text: "exit status 9"}}
		w.Header().Set("Content-Type", wire.TypeEvents)
		for _, e := range events {
			data, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
		}
		if !run.Status.Ended() {
			w.(http.Flusher).Flush()
			s.mu.Unlock()
			<-r.Context().Done()
			s.mu.Lock()
			return
		}
		data, _ := json.Marshal(run)
		fmt.Fprintf(w, "event: end\ndata: %s\n\n", data)
	}))
	handle("GET /v1/runs/{run}/logs", ofRun(func(w http.ResponseWriter, r *http.Request, run *engine.Run) {
		enc := json.NewEncoder(w)
		enc.Encode(engine.LogLine{At: stageTime, Step: "s", Index: 0, Attempt: 1, Text: "to stderr \x1b[2J"})
		enc.Encode(engine.LogLine{At: stageTime, Step: "t", Index: -1, Attempt: 1, Text: "from t"})
	}))
	handle("GET /v1/runs/{run}/trace", ofRun(func(w http.ResponseWriter, r *http.Request, run *engine.Run) {
		stageAnswer(w, 200, telemetry.Trace{Run: run.ID, Start: stageTime, Spans: []telemetry.Span{
			{Kind: telemetry.KindStep, Step: "s", Index: telemetry.NoIndex, End: time.Millisecond},
			{Kind: telemetry.KindAttempt, Step: "s", Index: telemetry.NoIndex, Attempt: 1, End: time.Millisecond},
		}})
	}))
	handle("GET /v1/runs/{run}/buffers/{slot...}", ofRun(func(w http.ResponseWriter, r *http.Request, _ *engine.Run) { io.WriteString(w, "bytes") }))
	tell := func(w http.ResponseWriter, r *http.Request, run *engine.Run) {
		body, _ := io.ReadAll(r.Body)
		action := strings.TrimPrefix(r.URL.String(), "/v1/runs/")
		if strings.HasSuffix(action, "cancel") && run.Status.Ended() {
			stageRefuse(w, wire.Problem{Status: 409, Detail: "run " + run.ID + " has ended"})
			return
		}
		s.told = append(s.told, action+" "+string(body))
		run.Trigger = s.told[len(s.told)-1] // where runs list shows it
		w.WriteHeader(204)
	}
	for _, action := range []string{"cancel", "retry", "pause", "resume", "signals/{name}"} {
		handle("POST /v1/runs/{run}/"+action, ofRun(tell))
	}
}

func (s *stageServer) handleAdmin(handle func(string, func(http.ResponseWriter, *http.Request))) {
	handle("GET /v1/secrets", func(w http.ResponseWriter, r *http.Request) {
		stageAnswer(w, 200, wire.Page[wire.Secret]{Items: s.secrets})
	})
	handle("PUT /v1/apps/{app}/secrets/{name}", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		value, _ := io.ReadAll(r.Body)
		s.secrets = append(s.secrets, wire.Secret{App: a.Name, Name: fmt.Sprintf("%s-of-%d-bytes", r.PathValue("name"), len(value))})
		w.WriteHeader(204)
	}))
	handle("DELETE /v1/apps/{app}/secrets/{name}", s.ofApp(func(w http.ResponseWriter, r *http.Request, a *registry.App) {
		before := len(s.secrets)
		if s.secrets = slices.DeleteFunc(s.secrets, func(x wire.Secret) bool { return x.Name == r.PathValue("name") }); len(s.secrets) == before {
			stageRefuse(w, wire.Problem{Status: 404, Detail: "no such secret"})
			return
		}
		w.WriteHeader(204)
	}))
	handle("GET /v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		stageAnswer(w, 200, wire.Page[auth.Token]{Items: s.tokens})
	})
	handle("POST /v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		var q wire.NewToken
		json.NewDecoder(r.Body).Decode(&q)
		t := auth.Token{ID: "tok1", Name: q.Name, Role: q.Role, Created: stageTime}
		if d, err := time.ParseDuration(q.Expires); err == nil {
			t.Expires = stageTime.Add(d)
		}
		s.tokens = append(s.tokens, t)
		stageAnswer(w, 201, wire.MadeToken{Token: t, Text: "weft_tok1_secret"})
	})
	handle("DELETE /v1/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "tok1" {
			stageRefuse(w, wire.Problem{Status: 404, Detail: "no such token"})
			return
		}
		s.tokens = nil
		w.WriteHeader(204)
	})
	handle("GET /v1/stats", func(w http.ResponseWriter, r *http.Request) { stageAnswer(w, 200, stageStats(0)) })
	s.stageCPU(handle)
	handle("GET /v1/backup", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "an archive") })
}

// stageCPU answers for a scheduler that commands nothing, with a call in it.
func (s *stageServer) stageCPU(handle func(pattern string, f func(w http.ResponseWriter, r *http.Request))) {
	settings := scheduler.Defaults(2)
	settings.Backend = backend.NameNone
	cpu, err := scheduler.New(scheduler.Options{Settings: settings})
	if err != nil {
		panic(err)
	}
	for range 12 {
		cpu.Begin(scheduler.Demand{App: "shop", Version: "3f2a91b7c0", Function: "resize"}).End(3*time.Millisecond, false)
	}
	cpu.Begin(scheduler.Demand{App: "shop", Version: "3f2a91b7c0", Function: "resize"})
	answer := func(w http.ResponseWriter) { stageAnswer(w, 200, wire.NewCPU(cpu.Status())) }
	change := func(anew bool) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			var want wire.CPUChange
			err := json.NewDecoder(r.Body).Decode(&want)
			c, wrong := want.Change(anew)
			if err = errors.Join(err, wrong); err == nil {
				err = cpu.Apply(c)
			}
			if err != nil {
				stageRefuse(w, wire.Problem{Status: 400, Detail: err.Error()})
				return
			}
			answer(w)
		}
	}
	handle("GET /v1/cpu", func(w http.ResponseWriter, r *http.Request) { answer(w) })
	handle("PATCH /v1/cpu", change(false))
	handle("PUT /v1/cpu", change(true))
}

// stageStats is the state of a busy server, so many seconds later.
func stageStats(later int) wire.Stats {
	n := uint64(later)
	return wire.Stats{
		At: stageTime.Add(time.Duration(later) * time.Second), Uptime: 4000 + float64(later),
		Runs:      wire.RunStats{Active: 12, Started: 1000 + n*34, Succeeded: 980 + n*33, Failed: 7 + n, Cancelled: 1},
		Calls:     wire.CallStats{Running: 3, Waiting: 2, Memory: 3 << 30, MemoryLimit: 8 << 30, Ended: 5000 + n*n*8},
		Sandboxes: wire.SandboxStats{Ready: 2, Idle: 4, Busy: 3, Memory: 412 << 20, Warm: 95, Clean: 4, Cold: 1},
		Store:     wire.StoreStats{Appends: 9000 + n*310, Flushes: 400 + n*42, FlushTime: 0.84, Bytes: 1<<20 + n<<17},
		Process:   wire.ProcessStats{Memory: 38 << 20, CPU: 12 + float64(later)*0.03, Goroutines: 40, Descriptors: 31},
		Functions: []wire.FunctionStats{{App: "shop", Function: "charge", Running: 3, Service: 0.0123}, {App: "shop", Function: "greet", Waiting: 2}},
	}
}

func stageAnswer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func stageRefuse(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", wire.TypeProblem)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
