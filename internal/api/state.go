package api

import (
	"bytes"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
)

func (h *Handler) health(c *call) error {
	return c.reply(http.StatusOK, wire.Health{Status: "ok"})
}

func (h *Handler) readiness(c *call) error {
	if h.drain.Err() != nil {
		return engine.ErrDraining
	}
	return c.reply(http.StatusOK, wire.Health{Status: "ok", Degraded: h.o.Server.Degraded()})
}

func (h *Handler) metrics(c *call) error {
	h.o.Metrics.Handler().ServeHTTP(c.w, c.r)
	return nil
}

func (h *Handler) version(c *call) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, wire.Version{Version: h.o.Version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Node: host})
}

func (h *Handler) stats(c *call) error {
	s := h.o.Server
	gate, pool, db, totals := s.Gate.Stats(), s.Sandboxes(), s.Store.Stats(), h.o.Metrics.Totals()
	out := wire.Stats{
		At: time.Now(), Uptime: time.Since(h.started).Seconds(),
		Runs:  wire.RunStats{Active: s.Runs.Active(), Started: totals.Started, Succeeded: totals.Succeeded, Failed: totals.Failed, Cancelled: totals.Cancelled},
		Calls: wire.CallStats{Running: gate.Running, Waiting: gate.Waiting, Memory: gate.Memory, MemoryLimit: gate.MemoryLimit, Ended: totals.Calls},
		Sandboxes: wire.SandboxStats{
			Ready: pool.Ready, Idle: pool.Idle, Busy: pool.Busy, Starting: pool.Starting, Memory: pool.Memory, Warm: pool.Warm, Clean: pool.Clean, Cold: pool.Cold,
		},
		Store:     wire.StoreStats{Appends: db.Appends, Flushes: db.Flushes, FlushTime: db.FlushTime.Seconds(), Bytes: db.Bytes},
		Process:   process(),
		Functions: []wire.FunctionStats{},
	}
	for _, f := range gate.Functions {
		out.Functions = append(out.Functions, wire.FunctionStats{App: f.App, Function: f.Function, Running: f.Running, Waiting: f.Waiting, Service: f.Service.Seconds()})
	}
	return c.reply(http.StatusOK, out)
}

// process is what this process takes; what the system does not tell is 0.
func process() wire.ProcessStats {
	out := wire.ProcessStats{Goroutines: runtime.NumGoroutine()}
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		out.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		out.Descriptors = len(list)
	}
	if text, err := os.ReadFile("/proc/self/smaps_rollup"); err == nil {
		for line := range bytes.Lines(text) {
			if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "Pss:" {
				kib, _ := strconv.ParseInt(string(f[1]), 10, 64) // 0 if it is not a number
				out.Memory = kib << 10
			}
		}
	}
	return out
}
