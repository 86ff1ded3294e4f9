package lint

import (
	"go/token"
	"slices"
	"strings"
)

// layers says which packages of weft's each package may import, by folder; a folder stands for all below it unless
// they have a line of their own. What is not listed may import nothing of weft's, so a new package begins with a
// decision made here. docs/ARCHITECTURE.md shows the same order as a picture.
var layers = map[string][]string{
	// Leaves: data and rules that need nothing else.
	".":                             {},
	"internal/flow":                 {},
	"internal/flow/alloystack":      {"internal/flow"},
	"internal/buffer":               {},
	"internal/telemetry":            {},
	"internal/telemetry/otlp":       {"internal/telemetry"},
	"internal/telemetry/metrics":    {"internal/service", "internal/service/machine", "internal/cpu/scheduler", "internal/cpu/policy", "internal/engine", "internal/admission", "internal/sandbox/domain", "internal/store", "internal/telemetry/otlp"},
	"internal/diagram":              {},
	"internal/codec":                {},
	"internal/sandbox/wire":         {"internal/codec"},
	"internal/sandbox/hostbin":      {},
	"internal/app":                  {"internal/flow", "internal/yamlfile"},
	"internal/yamlfile":             {"internal/flow"},
	"internal/config":               {"internal/app", "internal/cpu/backend", "internal/cpu/policy", "internal/yamlfile"},
	"internal/build":                {"internal/app", "internal/telemetry", "internal/scratch", "sdk/c"},
	"internal/build/buildtest":      {"internal/build", "sdk/c"},
	"internal/scratch":              {},
	"internal/tmpfs":                {},
	"internal/python":               {},
	"internal/layer":                {"internal/python", "internal/scratch"},
	"sdk/c":                         {},
	"internal/lint":                 {},
	"internal/admission":            {},
	"internal/cpu/profile":          {},
	"internal/cpu/sim":              {},
	"internal/cpu/policy":           {"internal/cpu/profile", "internal/cpu/sim"},
	"internal/cpu/schedext":         {},
	"internal/cpu/backend":          {"internal/cpu/policy", "internal/cpu/schedext", "internal/sandbox"},
	"internal/cpu/scheduler":        {"internal/cpu/backend", "internal/cpu/policy", "internal/cpu/profile", "internal/store"},
	"internal/cpu/trace":            {"internal/cpu/sim"},
	"internal/cpu/work":             {},
	"internal/cpu/whatif":           {"internal/cpu/policy", "internal/cpu/profile", "internal/cpu/sim"},
	"internal/store":                {},
	"internal/data":                 {},
	"service":                       {"internal/service/wire"},
	"internal/generator":            {},
	"internal/service/lock":         {},
	"internal/service/limit":        {},
	"internal/service/wire":         {"internal/codec"},
	"internal/service/record":       {"internal/codec", "internal/service/wire"},
	"internal/service/journal":      {"internal/codec", "internal/service/wire"},
	"internal/service/servicetest":  {"internal/service", "internal/service/wire"},
	"internal/service/history":      {},
	"internal/service/sweep":        {"internal/service", "internal/service/machine", "internal/service/record", "internal/service/wire", "internal/store", "service", "sdk/python"},
	"internal/service":              {"internal/service/journal", "internal/service/machine", "internal/service/record", "internal/service/wire", "internal/store"},
	"internal/service/machine":      {"internal/service/journal", "internal/service/lock", "internal/service/record", "internal/service/wire"},
	"internal/trigger":              {"internal/store"},
	"internal/auth":                 {"internal/store"},
	"internal/secret":               {"internal/store"},
	"internal/audit":                {},
	"internal/bundle":               {"internal/app"},
	"internal/api/wire":             {"internal/cpu/backend", "internal/cpu/policy", "internal/cpu/scheduler", "internal/app", "internal/auth", "internal/engine", "internal/flow", "internal/registry", "internal/telemetry"},
	"internal/client":               {"internal/api/wire", "internal/audit", "internal/auth", "internal/engine", "internal/flow", "internal/registry", "internal/telemetry"},
	"internal/runlog":               {"internal/engine"},
	"internal/registry":             {"internal/app", "internal/bundle", "internal/store"},
	"internal/sandbox":              {"internal/sandbox/wire", "internal/sandbox/hostbin", "internal/buffer", "internal/telemetry"},
	"internal/sandbox/domain":       {"internal/cpu/scheduler", "internal/cpu/policy", "internal/sandbox", "internal/sandbox/process", "internal/sandbox/wire", "internal/buffer", "internal/telemetry", "internal/flow"},
	"internal/sandbox/wasm":         {"internal/sandbox/wire", "internal/buffer", "internal/sandbox/wasm/wasi", "internal/sandbox/wasm/engine", "internal/sandbox/wasm/confine"},
	"internal/sandbox/wasm/wasi":    {"internal/sandbox/wire"},
	"internal/sandbox/wasm/engine":  {},
	"internal/sandbox/wasm/confine": {"internal/sandbox/seccomp"},
	"internal/sandbox/seccomp":      {},
	"internal/sandbox/process":      {"internal/sandbox", "internal/sandbox/seccomp", "internal/buffer", "internal/flow", "internal/python", "sdk/python"},
	"sdk/python":                    {},

	"internal/engine":   {"internal/cpu/scheduler", "internal/flow", "internal/store", "internal/app", "internal/telemetry", "internal/buffer", "internal/admission", "internal/sandbox/domain", "internal/sandbox/wire"},
	"internal/workload": {"internal/flow", "internal/app"},
	"internal/sim":      {"internal/engine", "internal/flow", "internal/app", "internal/store", "internal/sandbox/domain", "internal/workload"},

	"internal/sandbox/process/warden": {},

	// What puts them together.
	"internal/node": {"internal/service", "internal/service/limit", "internal/service/machine", "internal/service/wire", "internal/layer", "internal/admission", "internal/cpu/backend", "internal/cpu/scheduler", "internal/bundle", "internal/data", "internal/registry", "internal/runlog", "internal/secret", "internal/store", "internal/trigger", "internal/engine", "internal/flow", "internal/buffer", "internal/telemetry", "internal/app", "internal/build", "internal/scratch", "internal/sandbox", "internal/sandbox/domain",
		"internal/python", "internal/sandbox/process", "internal/sandbox/wire", "internal/sandbox/hostbin", "sdk/c"},
	"internal/api": {"internal/service", "internal/service/journal", "internal/service/machine", "internal/service/record", "internal/service/wire", "internal/api/wire", "internal/sandbox/process", "internal/cpu/backend", "internal/cpu/policy", "internal/cpu/scheduler", "internal/admission", "internal/app", "internal/audit", "internal/auth", "internal/buffer", "internal/data", "internal/engine", "internal/flow", "internal/node", "internal/registry",
		"internal/secret", "internal/store", "internal/telemetry", "internal/telemetry/metrics", "internal/trigger"},
	"internal/server": {"internal/api", "internal/service", "internal/service/machine", "internal/cpu/scheduler", "internal/admission", "internal/audit", "internal/auth", "internal/config", "internal/engine", "internal/node", "internal/registry", "internal/sandbox/domain", "internal/store",
		"internal/telemetry", "internal/telemetry/metrics", "internal/telemetry/otlp"},
	"internal/bench/data":     {},
	"internal/bench/load":     {},
	"internal/bench/baseline": {},
	"internal/bench/crew":     {"internal/cpu/work"},
	"internal/bench/replay":   {"internal/bench/crew", "internal/cpu/backend", "internal/cpu/policy", "internal/cpu/scheduler", "internal/cpu/sim", "internal/cpu/work", "internal/sandbox"},
	"internal/bench/report":   {"internal/bench/load"},
	"internal/bench/lab":      {"internal/app", "internal/bench/data", "internal/bench/load", "internal/bench/report", "internal/build", "internal/bundle", "internal/client", "internal/flow", "internal/node", "internal/scratch", "internal/telemetry"},
	"internal/bench/cpu":      {"internal/bench/baseline", "internal/bench/crew", "internal/bench/lab", "internal/bench/replay", "internal/bench/report", "internal/cpu/backend", "internal/cpu/policy", "internal/cpu/profile", "internal/cpu/sim", "internal/cpu/trace", "internal/cpu/whatif", "internal/cpu/work"},
	"internal/bench/services": {"internal/api/wire", "internal/app", "internal/bench/lab", "internal/bench/load", "internal/bench/replay", "internal/bench/report", "internal/client"},
	"internal/bench":          {"internal/app", "internal/bench/baseline", "internal/bench/cpu", "internal/bench/crew", "internal/bench/data", "internal/bench/lab", "internal/bench/load", "internal/bench/report", "internal/bench/services", "internal/engine", "internal/sandbox", "internal/sandbox/domain", "internal/sandbox/hostbin", "internal/sandbox/process", "internal/store", "sdk/c"},
	"internal/cli": {"internal/server", "internal/config", "internal/node", "internal/engine", "internal/sandbox/hostbin", "internal/sandbox/wire", "internal/bench", "internal/bench/data", "internal/bench/lab", "internal/bench/report", "internal/flow", "internal/flow/alloystack", "internal/generator", "internal/telemetry", "internal/diagram", "internal/app",
		"internal/build", "internal/sandbox", "internal/sandbox/domain", "internal/api/wire", "internal/audit", "internal/auth", "internal/bundle", "internal/client", "internal/registry", "internal/store", "internal/yamlfile",
		"internal/cpu/backend", "internal/cpu/policy", "internal/cpu/scheduler", "internal/cpu/sim", "internal/cpu/trace", "internal/cpu/whatif"},

	"internal/chaos": {"internal/app", "internal/build", "internal/bundle", "internal/client", "internal/data", "internal/engine", "internal/node", "internal/runlog", "internal/store", "internal/telemetry", "internal/workload"},

	// Programs.
	"cmd/weft":      {"internal/cli"},
	"cmd/weft-host": {"internal/sandbox/process/warden", "internal/sandbox/wasm", "internal/sandbox/wasm/confine", "internal/sandbox/wire"},
	"examples":      {".", "service"},
}

// downwards refuses imports that the table of layers does not allow. Tests may import what they test with.
func downwards(t *tree) []string {
	var out []string
	for _, f := range t.files {
		if f.test {
			continue
		}
		owner := layerOf(f.dir)
		for p, spec := range f.imports() {
			if p != modulePath && !strings.HasPrefix(p, modulePath+"/") {
				continue
			}
			dir := strings.TrimPrefix(strings.TrimPrefix(p, modulePath), "/")
			if dir == "" {
				dir = "."
			}
			if !mayImport(owner, dir) {
				out = append(out, t.complaint(spec.Pos(), "%s imports %s: imports run downwards, as the table in internal/lint/layers.go says; "+
					"declare an interface where it is used, or move the code down", f.dir, dir))
			}
		}
	}
	return out
}

// mayImport reports whether the layer owner may import the package in dir.
func mayImport(owner, dir string) bool {
	if owner == "" {
		return false
	}
	target := layerOf(dir)
	if target == owner && owner != "." {
		return true
	}
	return slices.Contains(layers[owner], target)
}

// layerOf finds the longest folder of the table that is dir or holds it, "" when there is none.
func layerOf(dir string) string {
	if dir == "." {
		return "."
	}
	for d := dir; d != "." && d != ""; {
		if _, ok := layers[d]; ok {
			return d
		}
		cut := strings.LastIndexByte(d, '/')
		if cut < 0 {
			return ""
		}
		d = d[:cut]
	}
	return ""
}

// homeless refuses packages that the table does not know.
func homeless(t *tree) []string {
	var out []string
	seen := map[string]bool{}
	for _, f := range t.files {
		if !f.test && !seen[f.dir] && layerOf(f.dir) == "" {
			seen[f.dir] = true
			out = append(out, t.complaint(token.Pos(f.ast.Package), "%s is not in the table of internal/lint/layers.go: say what it may import", f.dir))
		}
	}
	return out
}
