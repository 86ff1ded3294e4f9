package bench

import (
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/bench/lab"
)

func TestNames(t *testing.T) {
	want := "cold-start data-transfer end-to-end breakdown p99 resources overhead host invoke steps recovery cold-process cpu cpu-ablation cpu-sensitivity services seq"
	if got := strings.Join(Names(), " "); got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	for _, e := range Experiments() {
		if e.Description == "" || e.Setup == nil {
			t.Errorf("%s: incomplete", e.Name)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	if _, err := Run(t.Context(), "warm-start", lab.Options{}); err == nil || !strings.Contains(err.Error(), "cold-start") {
		t.Errorf("unknown experiment: %v", err)
	}
	if _, err := Run(t.Context(), "services", lab.Options{Apps: []string{"shop"}}); err == nil || !strings.Contains(err.Error(), "counter") {
		t.Errorf("unknown application: %v", err)
	}
}
