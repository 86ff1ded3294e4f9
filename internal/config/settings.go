package config

import (
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/yamlfile"
)

// Bounds of settings.
const (
	maxBytes  = 1 << 50
	maxInput  = 64 << 20
	maxCount  = 10_000_000
	maxDrain  = 24 * time.Hour
	maxIdle   = 24 * time.Hour
	maxKept   = 10 * 365 * 24 * time.Hour
	maxReady  = 100
	maxSocket = 107 // bytes of the path of a unix socket
)

// setting is a key of the file: all that there is to know of it.
type setting struct {
	name    string
	comment string // what it decides, for YAML; lines are wrapped there
	read    func(r *reading, n *yamlfile.Node, c *Config)
	write   func(c *Config) string // the value as YAML, in one line
	below   []setting              // of a section, which has no read and no write
}

// settings are the keys of the file, in the order in which YAML writes them.
var settings = []setting{
	text("data", "Folder of all that the node keeps: apps, runs, buffers, secrets, logs.",
		func(r *reading, n *yamlfile.Node, c *Config) { c.Data = r.path(n, "a folder") },
		func(c *Config) string { return c.Data }),
	text("socket", "Unix socket of the node, for its own user and root. Default: weft.sock in $XDG_RUNTIME_DIR, else in the data folder.",
		func(r *reading, n *yamlfile.Node, c *Config) { c.Socket = r.socket(n) },
		(*Config).SocketPath),
	list("listen", "TCP addresses of the node, as host:port; :8080 is port 8080 of every address.", `a list such as ["127.0.0.1:8080"]`,
		(*reading).address, func(c *Config) *[]string { return &c.Listen }, itself),
	section("tls", "Files of the certificate and the key (PEM) for the TCP addresses. Without them requests are not encrypted.",
		text("cert", "", func(r *reading, n *yamlfile.Node, c *Config) { c.TLS.Cert = r.optionalPath(n) }, func(c *Config) string { return c.TLS.Cert }),
		text("key", "", func(r *reading, n *yamlfile.Node, c *Config) { c.TLS.Key = r.optionalPath(n) }, func(c *Config) string { return c.TLS.Key }),
	),
	list("hosts", "Further names that requests may be for: weft.example.org, at any port or at one.", "a list of names such as weft.example.org",
		(*reading).host, func(c *Config) *[]string { return &c.Hosts }, itself),
	list("origins", "Web pages that may send requests, apart from the node's own: https://console.example.org.", "a list of origins such as https://console.example.org",
		(*reading).origin, func(c *Config) *[]string { return &c.Origins }, itself),
	duration("drain", "What requests and calls are given to end before the node does.",
		0, maxDrain, func(c *Config) *time.Duration { return &c.Drain }),
	duration("retention", "How long an ended run is kept, unless its workflow says.",
		time.Second, maxKept, func(c *Config) *time.Duration { return &c.Retention }),
	truth("speculate", "Whether functions start before their causes are on disk, where nobody outside can notice.",
		func(c *Config) *bool { return &c.Speculate }),

	text("python", "The Python of functions, a name or a path.",
		func(r *reading, n *yamlfile.Node, c *Config) { c.Python = r.Text(n, "a program such as python3.12") },
		func(c *Config) string { return c.Python }),
	truth("python_parents", "Whether functions in Python of an app, with the same requirements, are forked from a process that has imported what several of them import.",
		func(c *Config) *bool { return &c.PythonParents }),
	word("cpu", "Policy by which calls get the processor: weft, alps, sfs, or none, when the kernel decides and nothing is measured.",
		func(c *Config) *string { return &c.CPU }, policy.Names...),
	word("cpu_backend", "How that is carried out; auto is what works here.",
		func(c *Config) *string { return &c.CPUBackend }, backend.Names...),
	list("cpu_parameters", "Of policies, as NAME=VALUE: alps.theta=40, weft.slots=2, weight.shop=2 for the app shop.", `a list such as ["weft.slots=2"]`,
		(*reading).parameter, func(c *Config) *[]string { return &c.CPUParameters }, itself),

	section("limits", "What the node takes on at a time.",
		size("body", "Of a request.", 1, maxBytes, func(c *Config) *int64 { return &c.Limits.Body }),
		size("buffer", "Of a buffer that is uploaded.", 1, maxBytes, func(c *Config) *int64 { return &c.Limits.Buffer }),
		size("input", "Of a run.", 1, maxInput, func(c *Config) *int64 { return &c.Limits.Input }),
		size("value", "Of services: a value of the state, a result, arguments together.", 1<<10, 1<<20, func(c *Config) *int64 { return &c.Limits.Value }),
		count("runs", "Runs under way.", 1, maxCount, func(c *Config) *int { return &c.Limits.Runs }),
		count("runs_per_app", "Runs of one app under way; 0: as many as of all.", 0, maxCount, func(c *Config) *int { return &c.Limits.RunsPerApp }),
		size("memory", "Of the functions of all calls under way; 0: 80 % of the machine's.", 0, maxBytes, func(c *Config) *int64 { return &c.Limits.Memory }),
		count("concurrency", "Calls under way; 0: as many as memory allows.", 0, maxCount, func(c *Config) *int { return &c.Limits.Concurrency }),
		size("memory_per_app", "Of the functions of one app's calls under way; 0: as much as of all.", 0, maxBytes, func(c *Config) *int64 { return &c.Limits.App.Memory }),
		count("concurrency_per_app", "Calls of one app under way; 0: as many as of all.", 0, maxCount, func(c *Config) *int { return &c.Limits.App.Concurrency }),
		count("queue", "Calls of a function that may wait, unless it says; further ones are refused.", 1, maxCount, func(c *Config) *int { return &c.Limits.Queue }),
		count("connections", "Of clients at an address; further ones wait to be accepted, and idle ones are closed for them.", 1, maxCount, func(c *Config) *int { return &c.Limits.Connections }),
	),
	section("grants", "What apps may ask for; an app that asks for more is not deployed.",
		list("folders", "Of the host, read-only or with :rw for writing: /srv/data:rw. Those in the app are always granted.", "a list of folders",
			(*reading).folder, func(c *Config) *[]Folder { return &c.Grants.Folders }, Folder.String),
		list("dial", "As host:port. * is every name and every public address, *.example.org a name's subdomains, 10.0.0.0/8 a range of addresses; ports are one, 8000-8100 or *.",
			`a list such as ["*.example.org:443"]`,
			(*reading).peer, func(c *Config) *[]Peer { return &c.Grants.Dial }, Peer.String),
		list("listen", "Loopback ports that functions may accept on: 8080 or 8000-8100.", "a list of ports",
			(*reading).ports, func(c *Config) *[]Ports { return &c.Grants.Listen }, Ports.String),
		truth("native", "Whether functions may be native code: runtimes native and python, whose sandbox is a confined process.", func(c *Config) *bool { return &c.Grants.Native }),
		size("memory", "Of one function.", app.MinMemory, app.MaxMemory, func(c *Config) *int64 { return &c.Grants.Memory }),
	),
	section("services", "Calls of services by the name of a host, in the wire format of mu2sls: POST /METHOD for SERVICE.APP.DOMAIN.",
		text("domain", "example.org; none, the default: there are no such calls.",
			func(r *reading, n *yamlfile.Node, c *Config) { c.Services.Domain = r.domain(n) },
			func(c *Config) string { return c.Services.Domain }),
		word("calls", "Who may make them: token, who shows one that may invoke; open, anybody who reaches the node.",
			func(c *Config) *string { return &c.Services.Calls }, AccessToken, AccessOpen),
	),
	section("pool", "What the node does ahead of need.",
		count("ready", "Clean sandbox hosts that are kept ready.", 0, maxReady, func(c *Config) *int { return &c.Pool.Ready }),
		duration("idle", "How long an unused sandbox stays, unless its function says.", time.Second, maxIdle, func(c *Config) *time.Duration { return &c.Pool.Idle }),
		truth("predict", "Whether sandboxes are made ready for the steps that come next.", func(c *Config) *bool { return &c.Pool.Predict }),
	),
	section("telemetry", "What the node tells about itself.",
		text("otlp", "URL of an OpenTelemetry collector: http://127.0.0.1:4318.",
			func(r *reading, n *yamlfile.Node, c *Config) { c.Telemetry.OTLP = r.collector(n) },
			func(c *Config) string { return c.Telemetry.OTLP }),
		word("log_format", "", func(c *Config) *string { return &c.Telemetry.LogFormat }, LogText, LogJSON),
		word("log_level", "", func(c *Config) *string { return &c.Telemetry.LogLevel }, LevelDebug, LevelInfo, LevelWarn, LevelError),
		word("metrics", "Who may read them: token, who shows one that may read; open, anybody who reaches the node.",
			func(c *Config) *string { return &c.Telemetry.Metrics }, MetricsToken, MetricsOpen),
	),
}

// fieldsOf makes the table by which settings are read.
func fieldsOf(list []setting) []yamlfile.Field[*reading, Config] {
	fields := make([]yamlfile.Field[*reading, Config], len(list))
	for i, s := range list {
		fields[i] = yamlfile.Field[*reading, Config]{Name: s.name, Read: s.read}
	}
	return fields
}

func section(name, comment string, below ...setting) setting {
	fields := fieldsOf(below)
	return setting{name: name, comment: comment, below: below, read: func(r *reading, n *yamlfile.Node, c *Config) {
		yamlfile.ReadFields(r, n, name, fields, c)
	}}
}

func text(name, comment string, read func(*reading, *yamlfile.Node, *Config), value func(*Config) string) setting {
	return setting{name: name, comment: comment, read: read, write: func(c *Config) string { return quoted(value(c)) }}
}

func duration(name, comment string, low, high time.Duration, field func(*Config) *time.Duration) setting {
	return setting{name: name, comment: comment,
		read:  func(r *reading, n *yamlfile.Node, c *Config) { *field(c) = r.Duration(n, low, high) },
		write: func(c *Config) string { return yamlfile.WriteDuration(*field(c)) },
	}
}

func size(name, comment string, low, high int64, field func(*Config) *int64) setting {
	return setting{name: name, comment: comment,
		read: func(r *reading, n *yamlfile.Node, c *Config) { *field(c) = r.Size(n, low, high) },
		write: func(c *Config) string {
			if *field(c) == 0 {
				return "0"
			}
			return yamlfile.WriteSize(*field(c))
		},
	}
}

func count(name, comment string, low, high int, field func(*Config) *int) setting {
	return setting{name: name, comment: comment,
		read:  func(r *reading, n *yamlfile.Node, c *Config) { *field(c) = r.Integer(n, low, high) },
		write: func(c *Config) string { return plainInteger(*field(c)) },
	}
}

func truth(name, comment string, field func(*Config) *bool) setting {
	return setting{name: name, comment: comment,
		read:  func(r *reading, n *yamlfile.Node, c *Config) { *field(c) = r.Boolean(n) },
		write: func(c *Config) string { return map[bool]string{true: "true", false: "false"}[*field(c)] },
	}
}

func word(name, comment string, field func(*Config) *string, words ...string) setting {
	if comment == "" {
		comment = "One of " + strings.Join(words, ", ") + "."
	}
	return setting{name: name, comment: comment,
		read:  func(r *reading, n *yamlfile.Node, c *Config) { *field(c) = r.Choice(n, name, words...) },
		write: func(c *Config) string { return *field(c) },
	}
}

// list is a setting of several values, each once.
func list[T any](name, comment, want string, read func(*reading, *yamlfile.Node) (T, bool), field func(*Config) *[]T, write func(T) string) setting {
	return setting{name: name, comment: comment,
		read: func(r *reading, n *yamlfile.Node, c *Config) {
			var values []T
			seen := map[string]bool{}
			r.List(n, want, func(item *yamlfile.Node) {
				v, ok := read(r, item)
				if !ok {
					return
				}
				if seen[write(v)] {
					r.Errorf(item.At, "remove one of the two", "%s: %s is given twice", name, yamlfile.Shorten(write(v), 60))
					return
				}
				seen[write(v)] = true
				values = append(values, v)
			})
			*field(c) = values
		},
		write: func(c *Config) string {
			parts := make([]string, len(*field(c)))
			for i, v := range *field(c) {
				parts[i] = quoted(write(v))
			}
			return "[" + strings.Join(parts, ", ") + "]"
		},
	}
}

func itself(s string) string { return s }
