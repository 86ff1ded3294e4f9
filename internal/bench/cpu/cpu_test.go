package cpu

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/cpu/policy"
)

// Every variant does all calls and gives their results, and the report has the measures of each class.
func TestProcessorExperiments(t *testing.T) {
	for _, e := range Experiments() {
		t.Run(e.Name, func(t *testing.T) {
			r, err := lab.Run(t.Context(), e, lab.Options{Quick: true, Budget: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Checked || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "repeated") {
				t.Errorf("checked %v, notes %q", r.Checked, r.Notes)
			}
			scene := r.Rows[0].Measure[:strings.Index(r.Rows[0].Measure, ":")]
			for _, measure := range []string{"all, mean", "short, p99", "long, worst", "waiting, slowdown"} {
				for _, variant := range []string{policy.None, policy.ALPS, policy.Weft} {
					row := r.Row(variant, scene+": "+measure)
					if row == nil || row.Median <= 0 || row.Ratios[policy.None] <= 0 {
						t.Errorf("%s of %s: %+v", measure, variant, row)
					}
				}
			}
		})
	}
}

func TestOptionsOfChangesAreValid(t *testing.T) {
	weft, alps := swept()
	names := map[string]bool{}
	for _, c := range slices.Concat(weft[1:], alps[1:], weftWithout, alpsWithout) {
		o := policy.Defaults(2)
		c.make(&o)
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if names[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		names[c.name] = true
	}
}
