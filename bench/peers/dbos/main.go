// Dbos carries out runs of ten steps that do nothing with DBOS Go, over a PostgreSQL of its own that it starts and removes: the peer of
// `weft bench steps`, which starts it and asks it.
//
// Orders come on standard input, answers leave on standard output, a line of JSON each:
//
//	<- {}                                              ready; {"error": "…", "missing": true} where there is no PostgreSQL
//	-> {"count": 100, "at": 1}                         a hundred runs, one after the other
//	<- {"micros": [5800.1, …], "seconds": 0.58}
//	-> {"seconds": 2, "at": 64}                        as many as two seconds allow, 64 at a time
//	<- …
//
// It ends at the end of its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

type order struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	At      int     `json:"at"`
}

type answer struct {
	Micros  []float64 `json:"micros,omitempty"`
	Seconds float64   `json:"seconds,omitempty"`
	Error   string    `json:"error,omitempty"`
	Missing bool      `json:"missing,omitempty"`
}

func main() {
	if err := serve(); err != nil {
		json.NewEncoder(os.Stdout).Encode(answer{Error: err.Error(), Missing: errors.Is(err, errMissing)})
		os.Exit(0) // the answer has said it
	}
}

// serve answers orders until there are no more.
func serve() (err error) {
	db, err := startPostgres()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.stop()) }()
	ctx, err := dbos.NewContext(context.Background(), dbos.Config{DatabaseURL: db.url, AppName: "peer", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	dbos.RegisterWorkflow(ctx, ten)
	if err := dbos.Launch(ctx); err != nil {
		return err
	}
	defer dbos.Shutdown(ctx, 10*time.Second)
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(answer{}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		a, err := o.run(ctx)
		if err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

const steps = 10

// ten is the workflow: steps that give 1 each. Its output is how many there were.
func ten(ctx dbos.Context, _ string) (int, error) {
	sum := 0
	for range steps {
		n, err := dbos.RunAsStep(ctx, func(context.Context) (int, error) { return 1, nil })
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// run carries out an order.
func (o order) run(ctx dbos.Context) (answer, error) {
	var (
		mu    sync.Mutex
		a     answer // guarded by mu, as those below
		begun int
		errs  error
		work  sync.WaitGroup
	)
	start := time.Now()
	next := func() bool {
		mu.Lock()
		defer mu.Unlock()
		begun++
		return errs == nil && (o.Count == 0 || begun <= o.Count) && (o.Seconds == 0 || time.Since(start).Seconds() < o.Seconds)
	}
	for range max(o.At, 1) {
		work.Go(func() {
			for next() {
				from := time.Now()
				err := once(ctx)
				took := time.Since(from)
				mu.Lock()
				a.Micros = append(a.Micros, float64(took.Nanoseconds())/1e3)
				errs = errors.Join(errs, err)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	a.Seconds = time.Since(start).Seconds()
	return a, errs
}

// once carries out a run and checks its output.
func once(ctx dbos.Context) error {
	h, err := dbos.RunWorkflow(ctx, ten, "")
	if err != nil {
		return err
	}
	n, err := h.GetResult()
	if err == nil && n != steps {
		err = fmt.Errorf("a run of %d steps gave %d", steps, n)
	}
	return err
}
