package report

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the figures of a report belong to.
type Machine struct {
	CPU    string  `json:"cpu"`          // model name
	Cores  int     `json:"cores"`        // that this process may use
	Memory uint64  `json:"memory_bytes"` // of the whole machine
	Kernel string  `json:"kernel"`       // name and release
	Go     string  `json:"go"`           // version and architecture
	Load   float64 `json:"load"`         // one-minute load average before the first sample
	Weft   string  `json:"weft"`         // version
}

// DescribeMachine looks at this machine. What cannot be read is "unknown" or zero: a description is never a reason to fail. An empty version
// is replaced by what the build recorded.
func DescribeMachine(version string) Machine {
	if version == "" {
		version = builtVersion()
	}
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Weft: version}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if v := field(b, "model name"); v != "" {
			m.CPU = v
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.ParseUint(strings.TrimSuffix(field(b, "MemTotal"), " kB"), 10, 64)
		m.Memory = kib << 10
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(b), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// String is the description in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.1f GiB, %s, %s, load %.2f, weft %s", m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.Kernel, m.Go, m.Load, m.Weft)
}

// field finds the first line "name : value" of a /proc file.
func field(file []byte, name string) string {
	for s := bufio.NewScanner(bytes.NewReader(file)); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// builtVersion is the module version or the commit that the Go tool recorded in the executable.
func builtVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "development"
}
