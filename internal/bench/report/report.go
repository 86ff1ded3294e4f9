// Package report is what comes of an experiment: rows of medians, p99 and ratios to baselines, curves of latency against throughput, and the
// machine that they belong to, as a table for people, as CSV and JSON, and as plots in SVG.
//
//	r := &report.Report{Experiment: "naps", Machine: report.DescribeMachine(""), Baselines: []string{"limit"}}
//	err := r.Add(report.Row{Variant: "lazy", Measure: "nap", Unit: "ms"}, []float64{2.1, 2.0, 2.3})
//	…
//	r.Compare()
//	err = r.Save("results")
package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Report is the outcome of one experiment. Its JSON form is the same for every experiment:
//
//	{"experiment": "cold-start", "machine": {…}, "checked": true,
//	 "rows": [{"variant": "lazy", "measure": "hello C", "unit": "µs", "n": 900, "median": 210.4, "p99": 410, "mean": 225.1}, …]}
type Report struct {
	Experiment string  `json:"experiment"`
	Machine    Machine `json:"machine"`
	// Checked says that the output of every sample was compared with the expected one and was equal. A report of an experiment for which that
	// does not hold is not made.
	Checked bool  `json:"checked"`
	Rows    []Row `json:"rows"`
	// Curves are of experiments that send requests at fixed rates.
	Curves []*Curve `json:"curves,omitempty"`
	// Notes say in words what the rows do not.
	Notes []string `json:"notes,omitempty"`
	// Interrupted says, of an experiment that was ended early, where: "while measuring naps, group 2 of 5". What would have come behind is missing.
	Interrupted string `json:"interrupted,omitempty"`

	Description string        `json:"-"`
	Baselines   []string      `json:"-"` // variants to which the ratios are
	Skipped     []Skip        `json:"-"`
	Outputs     int           `json:"-"` // outputs compared, warm-up included
	Took        time.Duration `json:"-"`
}

// Row is one measure of one variant.
type Row struct {
	Variant string  `json:"variant"`
	Measure string  `json:"measure"`
	Unit    string  `json:"unit"`
	N       int     `json:"n"`
	Median  float64 `json:"median"`
	P99     float64 `json:"p99"`
	Mean    float64 `json:"mean"`
	// Required is what weft is to reach, in words; empty where nothing is asked for.
	Required string `json:"required,omitempty"`

	// Ratios has the row's median divided by that of each of Report.Baselines, under the baseline's name: below one means less (of time, of
	// memory) than the baseline. A baseline that has no such measure is absent.
	Ratios map[string]float64 `json:"-"`

	// Against names the measure whose baselines this row has; default Measure.
	Against string `json:"-"`
}

// Add appends a row that sums up samples. A variant has a measure once.
func (r *Report) Add(row Row, samples []float64) error {
	s, err := Summarize(samples)
	if err != nil {
		return fmt.Errorf("summarize %s of %s: %w", row.Measure, row.Variant, err)
	}
	if r.Row(row.Variant, row.Measure) != nil {
		return fmt.Errorf("measure %q of %s comes from two cases", row.Measure, row.Variant)
	}
	row.N, row.Median, row.P99, row.Mean = s.N, s.Median, s.P99, s.Mean
	r.Rows = append(r.Rows, row)
	return nil
}

// Row finds the row of a measure of a variant, or nil.
func (r *Report) Row(variant, measure string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Variant == variant && r.Rows[i].Measure == measure {
			return &r.Rows[i]
		}
	}
	return nil
}

// Compare fills in the ratios of all rows.
func (r *Report) Compare() {
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, b := range r.Baselines {
			base := r.Row(b, row.Measure)
			if base == nil && row.Against != "" {
				base = r.Row(b, row.Against)
			}
			if base == nil || base.Median <= 0 || base.Unit != row.Unit {
				continue
			}
			if row.Ratios == nil {
				row.Ratios = map[string]float64{}
			}
			row.Ratios[b] = row.Median / base.Median
		}
	}
}

// Skip is a variant that could not be measured, and why.
type Skip struct{ Variant, Reason string }

// usedBaselines are the baselines that some row has a ratio to.
func (r *Report) usedBaselines() []string {
	var used []string
	for _, b := range r.Baselines {
		if slices.ContainsFunc(r.Rows, func(row Row) bool { _, ok := row.Ratios[b]; return ok }) {
			used = append(used, b)
		}
	}
	return used
}

// Table writes the report for people.
func (r *Report) Table(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n%s\n\n", r.Experiment, r.Description, r.Machine)
	baselines := r.usedBaselines()
	head := []string{"measure", "variant", "n", "median", "p99", "mean", "unit"}
	for _, name := range baselines {
		head = append(head, "/ "+name)
	}
	required := slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Required != "" })
	if required {
		head = append(head, "required")
	}
	lines := [][]string{head}
	for i, row := range r.Rows {
		fields := []string{row.Measure, row.Variant, strconv.Itoa(row.N), number(row.Median), number(row.P99), number(row.Mean), row.Unit}
		if i > 0 && r.Rows[i-1].Measure == row.Measure {
			fields[0] = ""
		}
		for _, name := range baselines {
			ratio, ok := row.Ratios[name]
			if !ok {
				fields = append(fields, "-")
				continue
			}
			fields = append(fields, number(ratio))
		}
		if required {
			fields = append(fields, row.Required)
		}
		lines = append(lines, fields)
	}
	align(&b, lines, 2)
	fmt.Fprintln(&b)
	if len(r.Curves) > 0 {
		r.curvesTable(&b)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(&b, note)
	}
	if r.Interrupted != "" {
		fmt.Fprintf(&b, "interrupted %s: what would have come behind is missing\n", r.Interrupted)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "skipped %s: %s\n", s.Variant, s.Reason)
	}
	fmt.Fprintf(&b, "%d outputs checked, all right; took %s. Columns “/ x”: the median divided by that of x; below 1 is less.\n", r.Outputs, r.Took.Round(100*time.Millisecond))
	_, err := w.Write(b.Bytes())
	return err
}

// align writes lines as columns two spaces apart, the first left of them flush left and the others flush right.
func align(b *bytes.Buffer, lines [][]string, left int) {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < left {
				b.WriteString(cell + pad)
			} else {
				b.WriteString(pad + cell)
			}
		}
		b.WriteByte('\n')
	}
}

// number prints v with four significant digits, without an exponent.
func number(v float64) string {
	switch a := max(v, -v); {
	case a >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a == 0:
		return "0"
	case a < 0.001:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// JSON writes the report as one JSON object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// CSV writes a header and one record a row. The columns vs_NAME are the ratios to the baselines, empty where there is none.
func (r *Report) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := []string{"experiment", "measure", "variant", "unit", "n", "median", "p99", "mean"}
	for _, b := range r.Baselines {
		head = append(head, "vs_"+b)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	exact := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, row := range r.Rows {
		record := []string{r.Experiment, row.Measure, row.Variant, row.Unit, strconv.Itoa(row.N), exact(row.Median), exact(row.P99), exact(row.Mean)}
		for _, b := range r.Baselines {
			if ratio, ok := row.Ratios[b]; ok {
				record = append(record, exact(ratio))
			} else {
				record = append(record, "")
			}
		}
		if err := c.Write(record); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// Write prints the report in a format: table, json or csv.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		return r.JSON(w)
	case "csv":
		return r.CSV(w)
	}
	return r.Table(w)
}

// Save writes NAME.csv, NAME.json and NAME.svg into dir, which it makes when it is not there, and NAME-curves.csv and NAME-curves.svg if there are
// curves. A file is replaced as a whole or not at all.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save results of %s: %w", r.Experiment, err)
	}
	files := map[string]func(io.Writer) error{".csv": r.CSV, ".json": r.JSON, ".svg": r.Plot}
	if len(r.Curves) > 0 {
		files["-curves.csv"], files["-curves.svg"] = r.CurvesCSV, r.CurvesPlot
	}
	for ending, write := range files {
		path := filepath.Join(dir, r.Experiment+ending)
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return fmt.Errorf("save results of %s: %w", r.Experiment, err)
		}
		if err := os.WriteFile(path+".part", b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("save results of %s: %w", r.Experiment, errors.Join(err, os.Remove(path+".part")))
		}
		if err := os.Rename(path+".part", path); err != nil {
			return fmt.Errorf("save results of %s: %w", r.Experiment, err)
		}
	}
	return nil
}
