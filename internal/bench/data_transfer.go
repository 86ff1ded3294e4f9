package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// dataTransfer asks what it costs to hand a block of memory from one isolated function to another. Four measures for each size: to publish it
// (it lies in the sender's memory already), to take it (after which the receiver may address it), to take it and read every word of it, and to
// release it. The functions time themselves, so that nothing of starting them is in the figures.
func dataTransfer() Experiment {
	return Experiment{
		Name:        "data-transfer",
		Description: "a block of memory from one isolated function to another",
		Baselines:   []string{"limit", "file", "unix-socket", "http"},
		Setup:       setUpDataTransfer,
	}
}

// transferSizes are those of the published figures that weft is compared with.
var transferSizes = []int64{4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20}

func setUpDataTransfer(ctx context.Context, lab *Lab) error {
	app, err := lab.open(ctx, "transfer", "")
	if err != nil {
		return err
	}
	transfers, err := lab.transfers()
	if err != nil {
		return err
	}
	for _, size := range transferSizes {
		name := sizeName(size)
		rounds := Rounds{WarmUp: 3, Min: 3, Max: 500, Weight: 1}
		if size >= 16<<20 {
			rounds.WarmUp, rounds.Weight = 1, 2
		}
		g := lab.Group(name, rounds)
		expect := strconv.FormatUint(baseline.SumOfBlock(int(size)), 10)
		for _, lang := range []language{languageC, languageGo} {
			for _, v := range []struct {
				name string
				r    Request
			}{
				{"reference", Request{Pass: "reference"}},
				{"reference-across-hosts", Request{Pass: "reference", Apart: true}},
				{"file", Request{Pass: "file"}},
			} {
				v.r.Workflow, v.r.Input = string(lang), map[string]any{"size": size}
				g.Add(Case{Variant: v.name, Expect: expect, Sample: func(ctx context.Context) (Sample, error) {
					out, _, _, err := output(ctx, app, v.r)
					if err != nil {
						return Sample{}, err
					}
					return transferred(out, name, lang)
				}})
			}
		}
		block := baseline.NewBlock(int(size))
		for _, t := range transfers {
			g.Add(Case{Variant: t.variant, Expect: expect, Sample: func(ctx context.Context) (Sample, error) {
				h, err := t.Hand(ctx, block)
				s := Sample{Digest: strconv.FormatUint(h.Sum, 10), Values: []Value{Micros("take and read "+name, h.Read), Micros("whole hand-over "+name, h.Publish+h.Read)}}
				if h.Publish > 0 {
					s.Values = append(s.Values, Micros("publish "+name, h.Publish))
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

// transfers starts the receivers of the ways without weft.
func (l *Lab) transfers() ([]namedTransfer, error) {
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

// transferred reads what the two functions of the transfer example report: {"send": {"publish_ns"}, "receive": {"take_ns", "read_ns",
// "release_ns", "sum"}}.
func transferred(out any, size string, lang language) (Sample, error) {
	send, receive := member(out, "send"), member(out, "receive")
	var times [4]time.Duration
	for i, t := range []struct {
		from any
		key  string
	}{{send, "publish_ns"}, {receive, "take_ns"}, {receive, "read_ns"}, {receive, "release_ns"}} {
		var err error
		if times[i], err = nanoseconds(t.from, t.key); err != nil {
			return Sample{}, fmt.Errorf("%w: %w", errExample, err)
		}
	}
	publish, take, read, release := times[0], times[1], times[2], times[3]
	s := Sample{Digest: scalar(member(receive, "sum"))}
	for _, m := range []struct {
		name string
		took time.Duration
	}{
		{"publish ", publish}, {"take ", take}, {"take and read ", take + read}, {"whole hand-over ", publish + take + read}, {"release ", release},
	} {
		v := Micros(m.name+size, m.took)
		if lang != languageC {
			v.Against = v.Measure
			v.Measure += " in " + lang.String()
		}
		s.Values = append(s.Values, v)
	}
	return s, nil
}
