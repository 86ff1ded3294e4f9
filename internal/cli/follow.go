package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/telemetry"
)

// logGrace is how long the end of the log of a run that has ended is waited for.
const logGrace = 5 * time.Second

// follow shows what happens in a run, and what its functions log, until it has ended.
func (sh *shell) follow(ctx context.Context, c *client.Client, run engine.Run, quiet bool) (engine.Run, error) {
	p := sh.newProgress(quiet)
	reading, stop := context.WithCancel(ctx)
	var logs sync.WaitGroup
	var logErr error
	logs.Go(func() {
		for line, err := range c.Logs(reading, run.ID, true) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					logErr = err
				}
				return
			}
			p.Observe(logEvent(line))
		}
	})
	ended, err := c.Follow(ctx, run.ID, 0, func(e wire.Event) { p.Observe(e.Telemetry()) })
	if err != nil {
		stop()
	}
	grace := time.AfterFunc(logGrace, stop)
	logs.Wait()
	grace.Stop()
	stop()
	p.Close()
	if err != nil {
		return run, leftRunning(ctx, err, run.ID)
	}
	if logErr != nil {
		fmt.Fprintf(sh.stderr, "%s the log of run %s cannot be read: %v\n", sh.errStyle.paint(yellow, "warning:"), run.ID, logErr)
	}
	return ended, nil
}

// logEvent is a line of a log as observers of runs see it.
func logEvent(l engine.LogLine) telemetry.Event {
	return telemetry.Event{Kind: telemetry.EventLog, Step: l.Step, Index: l.Index, Attempt: l.Attempt, Text: l.Text, At: l.At}
}
