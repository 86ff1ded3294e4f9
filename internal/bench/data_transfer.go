package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
)

// dataTransfer asks what it costs to hand a block of memory from one isolated function to another. Four measures for each size: to publish it
// (it lies in the sender's memory already), to take it (after which the receiver may address it), to take it and read every word of it, and to
// release it. The functions time themselves, so that nothing of starting them is in the figures.
func dataTransfer() lab.Experiment {
	return lab.Experiment{
		Name:        "data-transfer",
		Description: "a block of memory from one isolated function to another",
		Baselines:   []string{"limit", "file", "unix-socket", "http"},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			return setUpDataTransfer(ctx, l, []int64{4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20})
		},
	}
}

func setUpDataTransfer(ctx context.Context, l *lab.Lab, sizes []int64) error {
	app, err := l.Open(ctx, "transfer", nil)
	if err != nil {
		return err
	}
	transfers, err := startTransfers(l)
	if err != nil {
		return err
	}
	for _, size := range sizes {
		name := sizeName(size)
		rounds := lab.Rounds{WarmUp: 3, Min: 3, Max: 500, Weight: 1}
		if size >= 16<<20 {
			rounds.WarmUp, rounds.Weight = 1, 2
		}
		g := l.Group(name, rounds)
		expect := sumText(baseline.SumOfBlock(int(size)))
		for _, v := range []struct {
			name string
			r    lab.Request
		}{
			{"reference", lab.Request{Pass: "reference"}},
			{"reference-across-hosts", lab.Request{Pass: "reference", Apart: true}},
			{"file", lab.Request{Pass: "file"}},
		} {
			// Small blocks are handed over several times: the first time in a fresh instance everything is touched for the first time.
			handOvers := 1
			if size <= 1<<20 {
				handOvers = 16
			}
			v.r.Workflow, v.r.Input = "main", map[string]any{"size": size, "rounds": handOvers}
			g.Add(lab.Case{Variant: v.name, Expect: expect, Sample: func(ctx context.Context) (lab.Sample, error) {
				out, _, _, err := output(ctx, app, v.r)
				if err != nil {
					return lab.Sample{}, err
				}
				return transferred(out, name)
			}})
		}
		block := baseline.NewBlock(int(size))
		for _, t := range transfers {
			g.Add(lab.Case{Variant: t.variant, Expect: expect, Sample: func(ctx context.Context) (lab.Sample, error) {
				h, err := t.Hand(ctx, block)
				s := lab.Sample{Digest: sumText(h.Sum), Values: []lab.Value{lab.Micros("take and read "+name, h.Read), lab.Micros("whole hand-over "+name, h.Publish+h.Read)}}
				if h.Publish > 0 {
					s.Values = append(s.Values, lab.Micros("publish "+name, h.Publish))
				}
				return s, err
			}})
		}
	}
	return nil
}

// namedTransfer is a way without weft, and its name in the tables.
type namedTransfer struct {
	variant string
	baseline.Transfer
}

// startTransfers starts the receivers of the ways without weft.
func startTransfers(l *lab.Lab) ([]namedTransfer, error) {
	var started []namedTransfer
	for _, b := range []struct {
		variant string
		start   func() (baseline.Transfer, error)
	}{
		{"limit", func() (baseline.Transfer, error) { return baseline.NewResident(), nil }},
		{"memfd", baseline.NewMemfd},
		{"page-cache", func() (baseline.Transfer, error) { return baseline.NewFile(l.Dir) }},
		{"unix-socket", baseline.NewUnixSocket},
		{"http", baseline.NewHTTP},
	} {
		t, err := b.start()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.variant, err)
		}
		l.Cleanup(t.Close)
		started = append(started, namedTransfer{b.variant, t})
	}
	return started, nil
}

// sumText prints a sum as the transfer example does.
func sumText(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// transferred reads what the two functions of the transfer example report: {"send": {"publish_ns"}, "receive": {"take_ns", "read_ns", "again_ns",
// "release_ns", "sum"}}. again_ns is the time to read the block once more: memory that is there already.
func transferred(out any, size string) (lab.Sample, error) {
	send, receive := member(out, "send"), member(out, "receive")
	var times [5]time.Duration
	for i, t := range []struct {
		from any
		key  string
	}{{send, "publish_ns"}, {receive, "take_ns"}, {receive, "read_ns"}, {receive, "again_ns"}, {receive, "release_ns"}} {
		var err error
		if times[i], err = nanoseconds(t.from, t.key); err != nil {
			return lab.Sample{}, fmt.Errorf("%w: %w", errExample, err)
		}
	}
	publish, take, read, again, release := times[0], times[1], times[2], times[3], times[4]
	s := lab.Sample{Digest: scalar(member(receive, "sum"))}
	for _, m := range []struct {
		name string
		took time.Duration
	}{
		{"publish ", publish}, {"take ", take}, {"take and read ", take + read}, {"whole hand-over ", publish + take + read}, {"read again ", again}, {"release ", release},
	} {
		s.Values = append(s.Values, lab.Micros(m.name+size, m.took))
	}
	if next, err := nanoseconds(receive, "next_ns"); err == nil && next > 0 {
		s.Values = append(s.Values, lab.Micros("take and read the next "+size, next))
	}
	if again > 0 {
		s.Values = append(s.Values, lab.Value{Measure: "take and read over read again " + size, Unit: "×", Number: float64(take+read) / float64(again)})
	}
	return s, nil
}
