package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
)

// output runs a workflow and returns its output and the time from the request to the output. The result is closed.
func output(ctx context.Context, a lab.App, r lab.Request) (out any, steps []lab.Step, took time.Duration, err error) {
	start := time.Now()
	result, err := a.Run(ctx, r)
	took = time.Since(start)
	if err != nil {
		return nil, nil, took, err
	}
	out, steps = result.Output, result.Steps
	return out, steps, took, result.Close()
}

// canonical is JSON with sorted keys and no spaces: the digest of small outputs.
func canonical(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "no JSON: " + err.Error()
	}
	return string(b)
}

// member is the value of key in a JSON object, or nil.
func member(v any, key string) any {
	object, _ := v.(map[string]any)
	return object[key]
}

// scalar prints a scalar of a JSON value: numbers without an exponent, so that equal numbers have equal texts.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	}
	return canonical(v)
}

// nanoseconds is the duration that a function reported under key.
func nanoseconds(v any, key string) (time.Duration, error) {
	switch n := member(v, key).(type) {
	case float64:
		return time.Duration(n), nil
	case int:
		return time.Duration(n), nil
	}
	return 0, fmt.Errorf("no number %q in %s", key, canonical(v))
}

// errExample is wrapped by errors about an example that does not report what an experiment needs.
var errExample = errors.New("example reports something else than expected")

// sizeName prints a number of bytes in the largest binary unit that divides it.
func sizeName(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%d MB", n/1e6)
	}
	return fmt.Sprintf("%d B", n)
}
