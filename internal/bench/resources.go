package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
)

// resources asks what many runs at a time cost the machine: processor time, user and system, and memory as PSS, both summed over this process
// and all that stem from it. The limit is as many plain native processes.
func resources() lab.Experiment {
	return lab.Experiment{
		Name:        "resources",
		Description: "processor time and memory of many concurrent runs of parallel sort",
		Baselines:   []string{"limit", "file"},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			size := int64(25e6)
			if l.Quick {
				size = 1e6
			}
			return setUpResources(ctx, l, size, []int{20, 40, 60, 80})
		},
	}
}

func setUpResources(ctx context.Context, l *lab.Lab, size int64, levels []int) error {
	const ways = 5
	w, err := sort(ctx, l, languageC, size, ways)
	if err != nil {
		return err
	}
	variants := []variantWork{}
	for _, pass := range []string{"reference", "file"} {
		r := lab.Request{Pass: pass}
		if _, _, _, err := w.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", pass, err)
		}
		variants = append(variants, variantWork{pass, func(ctx context.Context) (string, error) {
			digest, _, _, err := w.run(ctx, r)
			return digest, err
		}})
	}
	n, err := native(ctx, l, "sort")
	switch {
	case errors.Is(err, baseline.ErrNoCompiler):
		l.Skip("limit", err.Error())
	case err != nil:
		return err
	default:
		variants = append(variants, variantWork{"limit", func(ctx context.Context) (string, error) {
			digest, _, err := w.runNative(ctx, n)
			return digest, err
		}})
	}
	for _, instances := range levels {
		name := fmt.Sprintf("%d runs of sort %s", instances, sizeName(size))
		g := l.Group(name, lab.Rounds{WarmUp: -1, Max: 5})
		for _, v := range variants {
			g.Add(lab.Case{Variant: v.variant, Expect: w.expect, Sample: func(ctx context.Context) (lab.Sample, error) {
				return observed(ctx, instances, name, w.expect, v.run)
			}})
		}
	}
	return nil
}

// variantWork is one run of a workload under a variant, which returns the digest of its output.
type variantWork struct {
	variant string
	run     func(context.Context) (string, error)
}

// observed does instances runs at the same time and reports what they used. Every output is checked.
func observed(ctx context.Context, instances int, name, expect string, run func(context.Context) (string, error)) (lab.Sample, error) {
	start := time.Now()
	u, err := lab.Observe(ctx, func(ctx context.Context) error {
		errs := make(chan error, instances)
		for range instances {
			go func() {
				digest, err := run(ctx)
				if err == nil && digest != expect {
					err = fmt.Errorf("%w: digest %q, expected %q", lab.ErrDigest, digest, expect)
				}
				errs <- err
			}()
		}
		var all []error
		for range instances {
			all = append(all, <-errs)
		}
		return errors.Join(all...)
	})
	took := time.Since(start)
	if err != nil {
		return lab.Sample{}, err
	}
	return lab.Sample{Digest: expect, Values: []lab.Value{
		{Measure: "processor time, " + name, Unit: "s", Number: u.CPU.Seconds()},
		{Measure: "memory at its peak, " + name, Unit: "MiB", Number: float64(u.Peak) / (1 << 20)},
		{Measure: "memory on average, " + name, Unit: "MiB", Number: float64(u.Mean) / (1 << 20)},
		{Measure: "time, " + name, Unit: "s", Number: took.Seconds()},
	}}, nil
}
