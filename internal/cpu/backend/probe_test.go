package backend

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
)

func TestProbe(t *testing.T) {
	before, _ := unix.SchedGetAttr(0, 0)
	group := cpuGroupOf(unix.Getpid())
	rows := Probe()
	for _, f := range rows {
		t.Logf("%-28s %-8s %s | %s", f.Name, f.State, f.Detail, f.Fallback)
		if f.Use == "" || f.State != sandbox.StateOK && f.Fallback == "" && f.Name != "SCHED_IDLE" {
			t.Errorf("%+v does not say enough", f)
		}
	}
	if len(rows) != 10 {
		t.Errorf("%d rows", len(rows))
	}
	if after, _ := unix.SchedGetAttr(0, 0); after.Nice != before.Nice || after.Policy != before.Policy {
		t.Errorf("the thread is %+v, was %+v", after, before)
	}
	if now := cpuGroupOf(unix.Getpid()); now != group {
		t.Errorf("the process is in %s, was in %s", now, group)
	}
}
