package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/bench/report"
)

// An interrupted measurement whose report is printed ends with the status of an interruption and no second document on stdout.
func TestInterruptedMeasurement(t *testing.T) {
	sh, said := attached(style{})
	err := sh.measured("host", &report.Report{}, fmt.Errorf("experiment host: interrupted while measuring host, group 1 of 1: %w", context.Canceled))
	if p := explain(t.Context(), err); p.Status != exitInterrupted {
		t.Errorf("status %d, want %d", p.Status, exitInterrupted)
	}
	var ee *exitError
	if !errors.As(err, &ee) || ee.err != nil {
		t.Errorf("%v is said once more", err)
	}
	if !strings.HasPrefix(said.String(), "weft bench: experiment host: interrupted while measuring host") {
		t.Errorf("said %q", said.String())
	}
	if err := sh.measured("host", &report.Report{}, nil); err != nil {
		t.Error(err)
	}
	if p := explain(t.Context(), sh.measured("host", nil, errors.New("no memory"))); p.Status != exitFailed || p.Message != "measure host: no memory" {
		t.Errorf("%+v", p)
	}
}
