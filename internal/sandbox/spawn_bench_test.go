package sandbox

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkSpawn measures the start of a host with and without each wall:
// until Spawn returns, until the host is ready, and from the end of its control
// socket until nothing of it is left; the CPU time of its life; and what it
// occupies when it is ready. WEFT_HOST names the executable to start;
// otherwise it is the test binary. Medians and 99th percentiles are in µs.
func BenchmarkSpawn(b *testing.B) {
	path := "/proc/self/exe"
	if p := os.Getenv("WEFT_HOST"); p != "" {
		path = p
	}
	image, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := Executable(bytes.NewReader(image))
	if err != nil {
		b.Fatal(err)
	}
	defer exe.Close()
	for _, c := range []struct {
		name string
		with func(s *Spawner)
	}{
		{"all", func(*Spawner) {}},
		{"own-network", func(s *Spawner) { s.sharedNet = false }},
		{"no-network", func(s *Spawner) { s.iso.Net = false }},
		{"no-user", func(s *Spawner) { s.iso.User = false }},
		{"no-mount", func(s *Spawner) { s.iso.Mount = false }},
		{"no-pid", func(s *Spawner) { s.iso.PID = false }},
		{"no-ipc-uts-cgroup", func(s *Spawner) { s.iso.IPC, s.iso.UTS, s.iso.Cgroup = false, false, false }},
		{"no-groups", func(s *Spawner) { s.cgroups = &cgroups{files: kernelFiles{}} }},
		{"nothing", func(s *Spawner) {
			s.iso = Isolation{UID: s.iso.UID, GID: s.iso.GID}
			s.cgroups = &cgroups{files: kernelFiles{}}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := NewSpawner(b.Context(), SpawnerOptions{Exec: exe})
			if err != nil {
				b.Fatal(err)
			}
			groups := s.cgroups
			defer groups.close()
			defer s.Close()
			c.with(s)
			var spawned, ready, ended, cpu []time.Duration
			for b.Loop() {
				pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				control := os.NewFile(uintptr(pair[1]), "control")
				start := time.Now()
				p, err := s.Spawn(b.Context(), SpawnOptions{Role: RoleRun, Control: control, Stderr: os.Stderr,
					Limits: Limits{Memory: 1 << 30, Pids: 100}, Env: []string{"GOMAXPROCS=2"}})
				control.Close()
				if err != nil {
					b.Fatal(err)
				}
				spawned = append(spawned, time.Since(start))
				if n, err := unix.Read(pair[0], make([]byte, 8192)); n <= 0 {
					b.Fatalf("the host says nothing: %v, %+v", err, p.Wait())
				}
				ready = append(ready, time.Since(start))
				if len(ready) == 1 {
					if m, err := p.Memory(); err == nil {
						b.ReportMetric(float64(m.PSS>>10), "pss-KiB")
					}
				}
				start = time.Now()
				unix.Close(pair[0])
				e := p.Wait()
				ended = append(ended, time.Since(start))
				cpu = append(cpu, e.UserTime+e.SystemTime)
			}
			for name, list := range map[string][]time.Duration{"spawned": spawned, "ready": ready, "ended": ended, "cpu": cpu} {
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Microseconds()), name+"-p50")
				b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), name+"-p99")
			}
		})
	}
}
