package sandbox

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	s := newSpawner(t) // what it owns must survive a probe
	before := traces(t)
	r := Probe(t.Context())
	after := traces(t)
	for what, n := range before {
		if after[what] != n {
			t.Errorf("%s: %d before, %d after", what, n, after[what])
		}
	}
	spawn(t, s, SpawnOptions{})

	if r.Kernel == "" || r.Cores < 1 || r.Memory < 1<<20 || r.UID != os.Getuid() {
		t.Errorf("%+v", r)
	}
	var names []string
	for _, f := range r.Features {
		names = append(names, f.Name)
		t.Logf("%-24s %-9s %s", f.Name, f.State, f.Detail)
		if f.Use == "" || (f.State != StateOK) != (f.Fallback != "") || f.State == StateOK && f.Enable != "" {
			t.Errorf("%+v", f)
		}
		if os.Getenv("WEFT_TEST_WALLS") != "none" && strings.HasSuffix(f.Name, " namespaces") && f.Name != "user namespaces" {
			for _, w := range walls {
				if f.Name == w.name+" namespaces" && (f.State == StateOK) != *w.has(&s.iso) {
					t.Errorf("%s is %s, but a spawner's isolation says %v", f.Name, f.State, *w.has(&s.iso))
				}
			}
		}
	}
	for _, want := range []string{"cgroups", "user namespaces", "mount namespaces", "pid namespaces", "network namespaces",
		"ipc namespaces", "idmapped mounts", "Landlock", "seccomp", "executable memory files", "userfaultfd", "PAGEMAP_SCAN",
		"huge pages", "process_madvise", "swap"} {
		if !slices.Contains(names, want) {
			t.Errorf("nothing is said about %s", want)
		}
	}
	if b, err := json.Marshal(r); err != nil || !strings.Contains(string(b), `"state":"ok"`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestProbeStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := Probe(ctx); len(r.Features) != 0 {
		t.Errorf("%d features", len(r.Features))
	}
}
