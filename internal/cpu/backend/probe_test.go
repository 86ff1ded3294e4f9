package backend

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
)

func TestProbe(t *testing.T) {
	group := cpuGroupOf(unix.Getpid())
	rows := Probe()
	for _, f := range rows {
		t.Logf("%-28s %-8s %s | %s", f.Name, f.State, f.Detail, f.Fallback)
		if f.Use == "" || f.State != sandbox.StateOK && f.Fallback == "" && f.Name != "SCHED_IDLE" {
			t.Errorf("%+v does not say enough", f)
		}
	}
	if len(rows) != 9 {
		t.Errorf("%d rows", len(rows))
	}
	until(t, "no thread is other than before", func() bool { // those that tried have ended
		for _, tid := range threads(unix.Getpid()) {
			if a, err := unix.SchedGetAttr(tid, 0); err == nil && (a.Policy != policyNormal || a.Nice != 0) {
				return false
			}
		}
		return true
	})
	if now := cpuGroupOf(unix.Getpid()); now != group {
		t.Errorf("the process is in %s, was in %s", now, group)
	}
}
