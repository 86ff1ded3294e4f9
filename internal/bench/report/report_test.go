package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite-reports", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-rewrite updates it):\n%s", path, got)
	}
}

// fakeReport has all that a report can hold.
func fakeReport(t *testing.T) *Report {
	r := &Report{
		Experiment: "fake", Description: "what sleeping costs", Baselines: []string{"eager", "limit"},
		Machine: Machine{CPU: "Abacus 9000", Cores: 2, Memory: 24 << 30, Kernel: "Linux 6.18", Go: "go1.26 linux/amd64", Load: 0.25, Weft: "v1"},
		Checked: true, Outputs: 24, Took: 7600 * time.Millisecond,
		Skipped: []Skip{{"python3", "executable file not found in $PATH"}},
	}
	for _, row := range []struct {
		Row
		samples []float64
	}{
		{Row{Variant: "lazy", Measure: "nap", Unit: "ms"}, []float64{2, 2, 2, 2}},
		{Row{Variant: "eager", Measure: "nap", Unit: "ms"}, []float64{8, 8, 8, 8}},
		{Row{Variant: "limit", Measure: "nap", Unit: "ms"}, []float64{1, 1, 1, 1}},
		{Row{Variant: "lazy", Measure: "sleep", Unit: "ms"}, []float64{1000, 1000}},
		{Row{Variant: "process", Measure: "sleep", Unit: "ms"}, []float64{1500, 1500}},
		{Row{Variant: "eager", Measure: "sleep in Go", Unit: "ms", Against: "nap"}, []float64{4, 4}},
	} {
		if err := r.Add(row.Row, row.samples); err != nil {
			t.Fatal(err)
		}
	}
	r.Compare()
	return r
}

func TestReportGoldens(t *testing.T) {
	r := fakeReport(t)
	for name, write := range map[string]func(io.Writer) error{
		"fake.txt": r.Table, "fake.csv": r.CSV, "fake.json": r.JSON, "fake.svg": r.Plot,
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

// The JSON form has these keys and no others, at every level that the documentation promises.
func TestJSONShape(t *testing.T) {
	var b bytes.Buffer
	if err := fakeReport(t).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &top); err != nil {
		t.Fatal(err)
	}
	keys := func(m map[string]json.RawMessage) string {
		var k []string
		for key := range m {
			k = append(k, key)
		}
		slices.Sort(k)
		return strings.Join(k, " ")
	}
	if got := keys(top); got != "checked experiment machine rows" {
		t.Errorf("keys %s", got)
	}
	if string(top["checked"]) != "true" {
		t.Errorf("checked is %s", top["checked"])
	}
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(top["rows"], &rows); err != nil || len(rows) == 0 {
		t.Fatalf("rows: %v", err)
	}
	for _, row := range rows {
		if got := keys(row); got != "mean measure median n p99 unit variant" {
			t.Errorf("keys of a row: %s", got)
		}
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	r := fakeReport(t)
	r.Description = `less < more & "quoted"`
	r.Rows = append(r.Rows, Row{Variant: "zero", Measure: "nothing at all", Unit: "µs", N: 1})
	var b bytes.Buffer
	if err := r.Plot(&b); err != nil {
		t.Fatal(err)
	}
	text := ""
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			text += string(c) + "\n"
		}
	}
	for _, want := range []string{"fake: less", "Abacus 9000", "nap", "sleep", "lazy", "eager", "ms", "zero", "1000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plot does not say %q", want)
		}
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "results")
	r := fakeReport(t)
	for range 2 { // the second time replaces
		if err := r.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if !slices.Equal(files, []string{"fake.csv", "fake.json", "fake.svg"}) {
		t.Errorf("files %v", files)
	}
	f, err := os.Open(filepath.Join(dir, "fake.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if records, err := csv.NewReader(f).ReadAll(); err != nil || len(records) != 1+len(r.Rows) {
		t.Errorf("%d records, %v", len(records), err)
	}
	if err := r.Save("/dev/null/x"); err == nil {
		t.Error("saved below a file")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0000123: "1.23e-05", 0.1234: "0.123", 1.2345: "1.234", 12.345: "12.35", 123.45: "123.5", 123456.7: "123457", -3: "-3.000"} {
		if got := number(v); got != want {
			t.Errorf("%v prints as %s, want %s", v, got, want)
		}
	}
}
