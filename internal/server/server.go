// Package server is `weft serve`: it puts a node, its API and what an operator
// wants together, listens, and ends in an orderly way.
//
//	err := server.Run(ctx, server.Options{Config: cfg, Version: "0.1.0"})   // until ctx ends
//
//	server.go  what belongs together, in the order of its dependencies
//	listen.go  sockets and certificates
//	drain.go   the end
//	notify.go  what systemd is told
//	trim.go    memory that an idle server gives back
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/api"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/config"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/telemetry/metrics"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

// Options say what to serve.
type Options struct {
	Config   *config.Config
	CacheDir string // of images; default: the folder cache in the data folder
	Version  string
	Log      io.Writer // default os.Stderr
	// Ready is told, once requests are answered, where. Default: nobody is.
	Ready func(addresses []string)
}

// server is what Run has started.
type server struct {
	o       Options
	cfg     *config.Config
	log     *slog.Logger
	node    *node.Server
	tokens  *auth.Tokens
	audit   *audit.Log
	traces  *otlp.Exporter // nil: traces go nowhere
	metrics *metrics.Metrics
	api     *api.Handler
	http    *http.Server

	connections *connections

	work    sync.WaitGroup
	answers atomic.Int64 // requests that are being answered
}

// Run serves until ctx ends, and then drains. It returns nil after an orderly
// end.
func Run(ctx context.Context, o Options) (err error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(o.Config.Data, "cache")
	}
	s := &server{o: o, cfg: o.Config, log: logger(o.Log, o.Config.Telemetry), connections: newConnections(o.Config.Limits.Connections)}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return err
	}
	sockets, err := s.listen()
	if err != nil {
		return err
	}
	failed := make(chan error, len(sockets))
	var addresses []string
	for _, l := range sockets {
		addresses = append(addresses, l.address)
		s.work.Go(func() {
			if err := s.http.Serve(s.connections.bound(l)); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.address, err)
			}
		})
	}
	background, stop := context.WithCancel(context.Background())
	s.work.Go(func() { s.flush(background) })
	s.work.Go(func() { s.trim(background) })
	defer s.work.Wait()
	defer stop()
	for _, a := range addresses {
		s.log.Info("listening", "address", a)
	}
	notify("READY=1")
	if o.Ready != nil {
		o.Ready(addresses)
	}
	select {
	case <-ctx.Done():
		return s.drain()
	case err = <-failed:
	case err = <-s.node.Failed():
		s.log.Error("stopping at once: what was promised can be kept after a restart only", "error", err)
	}
	return errors.Join(err, s.http.Close())
}

// logger writes as the operator wants it.
func logger(w io.Writer, t config.Telemetry) *slog.Logger {
	var level slog.Level
	switch t.LogLevel {
	case config.LevelDebug:
		level = slog.LevelDebug
	case config.LevelWarn:
		level = slog.LevelWarn
	case config.LevelError:
		level = slog.LevelError
	}
	o := &slog.HandlerOptions{Level: level}
	if t.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// open makes all but the sockets.
func (s *server) open(ctx context.Context) (err error) {
	cfg := s.cfg
	if cfg.Telemetry.OTLP != "" {
		if s.traces, err = otlp.New(otlp.Options{Endpoint: cfg.Telemetry.OTLP, Version: s.o.Version, Logger: s.log}); err != nil {
			return err
		}
	}
	s.metrics = metrics.New(s.sources())
	nodeConfig := s.nodeConfig()
	if nodeConfig.CPU, err = newScheduler(cfg, s.log); err != nil {
		return err
	}
	if s.node, err = node.Serve(ctx, nodeConfig); err != nil {
		return errors.Join(err, nodeConfig.CPU.Close())
	}
	for _, d := range s.node.Degraded() {
		s.log.Warn("degraded", "what", d)
	}
	if s.tokens, err = auth.OpenTokens(ctx, s.node.Store, time.Now); err != nil {
		return err
	}
	if err := s.firstToken(ctx); err != nil {
		return err
	}
	if s.audit, err = audit.Open(filepath.Join(cfg.Data, "audit.log"), audit.Options{}); err != nil {
		return err
	}
	guard := &auth.Guard{Tokens: s.tokens, Hosts: cfg.Hosts, Domain: cfg.Services.Domain, Origins: cfg.Origins}
	if err := guard.Validate(); err != nil {
		return err
	}
	s.api, err = api.New(api.Options{
		Server: s.node, Guard: guard, Tokens: s.tokens, Audit: s.audit, Metrics: s.metrics, Config: cfg.YAML, Logger: s.log, Version: s.o.Version,
		Buffer: cfg.Limits.Buffer, Body: cfg.Limits.Body, Input: cfg.Limits.Input, Value: cfg.Limits.Value, OpenMetrics: cfg.Telemetry.Metrics == config.MetricsOpen,
		Domain: cfg.Services.Domain, OpenServices: cfg.Services.Calls == config.AccessOpen,
	})
	if err != nil {
		return err
	}
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.answer), ConnContext: auth.ConnContext, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ConnState: s.connections.state,
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// answer answers a request, and lets close wait for that.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	s.answers.Add(1)
	defer s.answers.Add(-1)
	if s.connections.crowded() {
		w.Header().Set("Connection", "close")
	}
	s.api.ServeHTTP(w, r)
}

// nodeConfig is the configuration as the node wants it.
func (s *server) nodeConfig() node.ServerConfig {
	cfg := s.cfg
	c := node.ServerConfig{
		Config: node.Config{CacheDir: s.o.CacheDir, Hosts: cfg.Pool.Ready, Idle: cfg.Pool.Idle, Python: cfg.Python, Alone: !cfg.PythonParents},
		Dir:    cfg.Data,
		Admission: admission.Options{
			Memory: memory(cfg.Limits.Memory), Calls: cfg.Limits.Concurrency, Queue: cfg.Limits.Queue,
			App: admission.Quota{Calls: cfg.Limits.App.Concurrency, Memory: cfg.Limits.App.Memory},
		},
		Runs: cfg.Limits.Runs, RunsPerApp: cfg.Limits.RunsPerApp, Input: int(cfg.Limits.Input), ValueMax: int(cfg.Limits.Value), Body: cfg.Limits.Body, Retention: cfg.Retention,
		Speculate: cfg.Speculate, Predict: cfg.Pool.Predict, Check: cfg.CheckApp, Meter: s.metrics, Logger: s.log,
	}
	c.Trace, c.Ended = true, s.ended
	if s.traces != nil {
		c.Context = func(r engine.Run) string { return otlp.Context(r.ID, r.Retries, r.Traceparent).String() }
		c.EndedRequest = s.endedRequest
	}
	return c
}

// newScheduler makes the scheduler of calls. One that is off can be switched on later.
func newScheduler(cfg *config.Config, log *slog.Logger) (*scheduler.Scheduler, error) {
	settings := scheduler.Defaults(runtime.NumCPU())
	settings.Policy, settings.Backend = cfg.CPU, cfg.CPUBackend
	for _, p := range cfg.CPUParameters {
		name, value, _ := strings.Cut(p, "=")
		if err := settings.Options.Set(cfg.CPU, name, value); err != nil {
			return nil, fmt.Errorf("cpu_parameters: %w", err)
		}
	}
	return scheduler.New(scheduler.Options{Settings: settings, Log: log})
}

// ended logs that a run has ended, and sends its trace.
func (s *server) ended(r engine.Run, t *telemetry.Trace) {
	level, attrs := slog.LevelDebug, []any{"run", r.ID, "app", r.App, "workflow", r.Workflow, "status", r.Status, "took", r.Ended.Sub(r.Created)}
	if r.Failure != nil {
		level, attrs = slog.LevelInfo, append(attrs, "step", r.Failure.Step, "kind", r.Failure.Kind, "failure", r.Failure.Message)
	}
	s.log.Log(context.Background(), level, "run ended", attrs...)
	if s.traces == nil || t == nil {
		return
	}
	run := otlp.Run{ID: r.ID, App: r.App, Version: r.Version, Workflow: r.Workflow, Status: string(r.Status), Trigger: r.Trigger, Retries: r.Retries}
	if r.Failure != nil {
		run.Failure = r.Failure.Message
	}
	s.traces.Export(run, t, r.Traceparent)
}

// sources are what metrics ask at a scrape, which comes after open.
func (s *server) sources() metrics.Sources {
	src := metrics.Sources{
		Version: s.o.Version, Logger: s.log,
		Gate:  func() admission.Stats { return s.node.Gate.Stats() },
		Pool:  func() domain.Stats { return s.node.Sandboxes() },
		Store: func() pebble.Stats { return s.node.Store.Stats() },
		Runs:  func() int { return s.node.Runs.Active() },
		CPU:   func() scheduler.Status { return s.node.CPU().Status() },

		Services: func() service.Stats { return s.node.Services.Stats() },
	}
	if s.traces != nil {
		src.Traces = s.traces.Stats
	}
	return src
}

// tokenName is the file with the first token, of role admin.
const tokenName = "admin.token"

// firstToken makes a token if there is none, so that the first client over TCP
// can be let in: by whoever may read the data folder.
func (s *server) firstToken(ctx context.Context) error {
	if len(s.tokens.List()) > 0 {
		return nil
	}
	_, text, err := s.tokens.Create(ctx, "first", auth.Admin, 0)
	if err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Data, tokenName)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the first token: %w", err)
	}
	s.log.Info("the first token is made", "role", auth.Admin.String(), "file", path)
	return nil
}

// flushEvery is how often it is noted when tokens were last used.
const flushEvery = time.Minute

// flush notes now and then when tokens were last used.
func (s *server) flush(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.tokens.Flush(ctx); err != nil {
			s.log.Warn("it is not noted when tokens were used", "error", err)
		}
	}
}
