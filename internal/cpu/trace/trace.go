// Package trace reads and makes lists of calls for the simulator and the benchmarks.
//
//	jobs, err := trace.Read(file, trace.Options{})          // finds out which format it is
//	jobs := trace.ShortAndLong(trace.Window{Seed: 1, Cores: 2, Load: 2, Length: 4 * time.Second})
//
// It reads weft's own CSV, the trace lines of ALPS (`id n job iat port`), and the two
// public traces of Azure Functions (2019 and 2021). What is read is bounded: lines of
// 64 KiB, Options.Max calls. An error names the line.
//
//	trace.go     options, the own CSV
//	alpslines.go lines of ALPS
//	azure.go     Azure Functions 2019 and 2021
//	generate.go  arrivals and demands by chance, from a seed
package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// MaxCalls is how many calls are read unless Options say otherwise.
const MaxCalls = 1_000_000

// MaxLine is the greatest length of a line, in bytes.
const MaxLine = 64 << 10

// longest is the greatest time that is read: a year. More is taken for an error.
const longest = 365 * 24 * time.Hour

// ErrFormat is wrapped by errors about what was read.
var ErrFormat = errors.New("not a trace of calls")

// Options say how a trace is read.
type Options struct {
	// Max bounds the calls; more are an error. Default MaxCalls.
	Max int
	// Share is the part of a call's duration that is CPU time, where a trace has only
	// durations (Azure): the rest is one sleep half way. Default 1.
	Share float64
	// Pace multiplies the times between arrivals; smaller is a higher load. Default 1.
	// ALPS replays its lines with 0.21.
	Pace float64
	// Cost is the CPU time of a job of an ALPS line. Default: Cost.
	Cost func(job string, n int) (time.Duration, bool)
	// Seed places calls within their minute, and draws durations (Azure 2019).
	Seed uint64
}

// ensureDefaults sets what is not set, and refuses nonsense.
func (o *Options) ensureDefaults() error {
	o.Max = cmp.Or(o.Max, MaxCalls)
	o.Share = cmp.Or(o.Share, 1)
	o.Pace = cmp.Or(o.Pace, 1)
	if o.Cost == nil {
		o.Cost = Cost
	}
	if !(o.Share > 0 && o.Share <= 1) {
		return fmt.Errorf("read trace: share is %v: want more than 0 and at most 1", o.Share)
	}
	if !(o.Pace > 0 && o.Pace <= 1e6) {
		return fmt.Errorf("read trace: pace is %v: want more than 0 and at most 1,000,000", o.Pace)
	}
	return nil
}

// Classify is the class of a call that has none: short up to 50 ms of CPU time, medium up
// to half a second, long above.
func Classify(cpu time.Duration) string {
	switch {
	case cpu <= 50*time.Millisecond:
		return "short"
	case cpu <= 500*time.Millisecond:
		return "medium"
	}
	return "long"
}

// wrong is an error at a line.
func wrong(line int, format string, args ...any) error {
	return fmt.Errorf("read trace: line %d: "+format+": %w", append(append([]any{line}, args...), ErrFormat)...)
}

// Read reads a trace in the format that its first line shows: weft's CSV, Azure 2021, or
// lines of ALPS. (Azure 2019 has two files: see ReadAzure2019.) The calls are in order of
// arrival, and the first arrives at 0.
func Read(r io.Reader, o Options) ([]sim.Job, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	b := bufio.NewReaderSize(r, MaxLine)
	head, err := b.Peek(MaxLine)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	var first []byte // that is no comment
	for rest, more := head, true; more && (len(first) == 0 || first[0] == '#'); {
		first, rest, more = bytes.Cut(rest, []byte("\n"))
		first = bytes.Trim(first, "\ufeff\r \t")
	}
	if len(first) == 0 || first[0] == '#' {
		return nil, wrong(1, "it is empty")
	}
	var jobs []sim.Job
	switch names := strings.ToLower(string(first)); {
	case strings.Contains(names, "end_timestamp"):
		jobs, err = readAzure2021(b, o)
	case strings.Contains(names, "hashfunction"):
		return nil, wrong(1, "this is one of the two files of Azure Functions 2019: both are needed, the invocations and the durations")
	case strings.Contains(names, ","):
		jobs, err = readCSV(b, o)
	default:
		jobs, err = readALPS(b, o)
	}
	if err != nil {
		return nil, err
	}
	return order(jobs, o)
}

// order sorts jobs by arrival, lets the first arrive at 0, and sets what is not set.
func order(jobs []sim.Job, o Options) ([]sim.Job, error) {
	if len(jobs) == 0 {
		return nil, wrong(1, "there is no call in it")
	}
	slices.SortStableFunc(jobs, func(a, b sim.Job) int { return cmp.Compare(a.Arrival, b.Arrival) })
	first := jobs[0].Arrival
	for i := range jobs {
		j := &jobs[i]
		j.Arrival = time.Duration(float64(j.Arrival-first) * o.Pace)
		j.CPU = max(j.CPU, time.Microsecond)
		if j.Class == "" {
			j.Class = Classify(j.CPU)
		}
	}
	return jobs, nil
}

// rows reads CSV with a heading; each gets a row's line and a way to its fields by name.
// Names are the columns that may be there; those in need must be.
func rows(r io.Reader, o Options, need []string, each func(line int, field func(string) string) error) error {
	c := csv.NewReader(&lineLimit{r: r, line: 1})
	c.ReuseRecord = true
	c.TrimLeadingSpace = true
	c.Comment = '#'
	head, err := c.Read()
	if err != nil {
		return csvError(err)
	}
	columns := map[string]int{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if _, twice := columns[name]; twice {
			return wrong(1, "two columns are called %q", name)
		}
		columns[name] = i
	}
	for _, name := range need {
		if _, ok := columns[name]; !ok {
			return wrong(1, "there is no column %s", name)
		}
	}
	for n := 0; ; n++ {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(err)
		}
		line, _ := c.FieldPos(0)
		if n >= o.Max {
			return wrong(line, "there are more than %d rows", o.Max)
		}
		err = each(line, func(name string) string {
			if i, ok := columns[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
		if err != nil {
			return err
		}
	}
}

// csvError says what was wrong with CSV, with the line.
func csvError(err error) error {
	var at *csv.ParseError
	switch {
	case errors.As(err, &at):
		return wrong(at.Line, "%v", at.Err)
	case errors.Is(err, io.EOF):
		return wrong(1, "it is empty")
	}
	return fmt.Errorf("read trace: %w", err)
}

// lineLimit is a reader that fails at a line which is too long.
type lineLimit struct {
	r      io.Reader
	line   int
	length int
}

// Read implements io.Reader.
func (l *lineLimit) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	for _, c := range b[:n] {
		if c == '\n' {
			l.line++
			l.length = 0
		} else if l.length++; l.length > MaxLine {
			return 0, wrong(l.line, "it has more than %d bytes", MaxLine)
		}
	}
	return n, err
}

// number is a field as a time in units, not negative.
func number(line int, name, s string, unit time.Duration) (time.Duration, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0) || f*float64(unit) > float64(longest) {
		return 0, wrong(line, "%s is %q: want a number from 0", name, clip(s))
	}
	return time.Duration(f * float64(unit)), nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// Columns are those of weft's own CSV. Times are in milliseconds and may have a fraction.
// sleeps holds pauses, each as CPU time used before it + its length, separated by spaces:
// "2.5+100 7+3". All but the first three columns may be missing or empty.
var Columns = []string{"arrival_ms", "function", "cpu_ms", "class", "app", "deadline_ms", "sleeps"}

// readCSV reads weft's own CSV.
func readCSV(r io.Reader, o Options) ([]sim.Job, error) {
	var jobs []sim.Job
	err := rows(r, o, Columns[:3], func(line int, field func(string) string) error {
		j := sim.Job{Function: field("function"), Class: field("class"), App: field("app")}
		var err error
		if j.Arrival, err = number(line, "arrival_ms", field("arrival_ms"), time.Millisecond); err != nil {
			return err
		}
		if j.CPU, err = number(line, "cpu_ms", field("cpu_ms"), time.Millisecond); err != nil {
			return err
		}
		if d := field("deadline_ms"); d != "" {
			if j.Deadline, err = number(line, "deadline_ms", d, time.Millisecond); err != nil {
				return err
			}
		}
		j.Sleeps, err = sleeps(line, field("sleeps"), max(j.CPU, time.Microsecond))
		jobs = append(jobs, j)
		return err
	})
	return jobs, err
}

// sleeps reads a field of pauses.
func sleeps(line int, s string, cpu time.Duration) ([]sim.Sleep, error) {
	var out []sim.Sleep
	for part := range strings.FieldsSeq(s) {
		before, length, ok := strings.Cut(part, "+")
		if !ok {
			return nil, wrong(line, "sleeps has %q: want USED+LENGTH in milliseconds, as in 2.5+100", clip(part))
		}
		var p sim.Sleep
		var err error
		if p.At, err = number(line, "sleeps", before, time.Millisecond); err != nil {
			return nil, err
		}
		if p.For, err = number(line, "sleeps", length, time.Millisecond); err != nil {
			return nil, err
		}
		if n := len(out); p.At >= cpu || n > 0 && p.At <= out[n-1].At {
			return nil, wrong(line, "sleeps after %v of CPU time: want less than the call needs, and each later than the one ahead of it", p.At)
		}
		out = append(out, p)
	}
	return out, nil
}

// Write writes jobs as weft's own CSV, with all columns.
func Write(w io.Writer, jobs []sim.Job) error {
	c := csv.NewWriter(w)
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64) }
	rows := [][]string{Columns}
	for i := range jobs {
		j := &jobs[i]
		var pauses []string
		for _, s := range j.Sleeps {
			pauses = append(pauses, ms(s.At)+"+"+ms(s.For))
		}
		row := []string{ms(j.Arrival), j.Function, ms(j.CPU), j.Class, j.App, "", strings.Join(pauses, " ")}
		if j.Deadline > 0 {
			row[5] = ms(j.Deadline)
		}
		rows = append(rows, row)
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}
