package chaos

import (
	"math"
	"os"
	"testing"
	"time"
)

// line makes samples a second apart whose memory grows by so much a second in
// the second half, with noise that sums up to nothing.
func line(n int, slope, noise float64) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		m := 100.0 + noise*float64(i%2*2-1)
		if i >= n/2 {
			m += slope * float64(i-n/2)
		}
		samples[i] = Sample{At: time.Duration(i) * time.Second, Server: int64(m * (1 << 20))}
	}
	return samples
}

func TestTrend(t *testing.T) {
	mib := func(s Sample) float64 { return float64(s.Server) / (1 << 20) }
	for _, test := range []struct {
		slope, noise, growth, spread float64
	}{{0, 0, 0, 0}, {0.5, 0, 49.5, 0}, {-0.25, 0, -24.75, 0}, {0, 8, 0, 8}, {0.5, 8, 49.5, 8}} {
		got := trend(line(200, test.slope, test.noise), mib)
		if math.Abs(got.Growth-test.growth) > 0.5 || math.Abs(got.Spread-test.spread) > 0.1 {
			t.Errorf("slope %v, noise %v: %+v, want growth %v and spread %v", test.slope, test.noise, got, test.growth, test.spread)
		}
	}
	if got := trend(nil, mib); got != (Trend{}) {
		t.Errorf("of nothing: %+v", got)
	}
	if got := trend(line(1, 0, 0), mib); got.Growth != 0 {
		t.Errorf("of one sample: %+v", got)
	}
}

func TestBounds(t *testing.T) {
	memory := bounds[0]
	if _, err := memory.check(line(200, 0, 12)); err != nil {
		t.Errorf("noise: %v", err)
	}
	if _, err := memory.check(line(200, 0.1, 12)); err != nil {
		t.Errorf("growth by 10 MiB: %v", err)
	}
	if _, err := memory.check(line(200, 0.3, 2)); err == nil {
		t.Error("growth by 30 MiB is not found")
	}
	late := memory
	late.after = time.Hour
	if _, err := late.check(line(200, 0.3, 2)); err != nil {
		t.Errorf("before the bound means something: %v", err)
	}
}

func TestProcesses(t *testing.T) {
	found := false
	for _, p := range processes() {
		found = found || p.pid == os.Getpid() && p.parent == os.Getppid()
	}
	if !found {
		t.Error("this process is not among all")
	}
	if m, err := pss(os.Getpid()); err != nil || m < 1<<20 {
		t.Errorf("this process takes %d bytes, %v", m, err)
	}
}
