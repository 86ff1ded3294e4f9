package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/yamlfile"
)

// Formats and levels of the log, and who may read metrics and call services.
const (
	LogText = "text"
	LogJSON = "json"

	LevelDebug = "debug"
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"

	MetricsToken = "token" // who shows a token that may read
	MetricsOpen  = "open"  // anybody who reaches the node

	AccessToken = "token" // who shows a token that may invoke
	AccessOpen  = "open"  // anybody who reaches the node
)

// Config is the settings of a node. That of Default is valid; one that was
// changed by hand is checked by Parse(c.YAML()).
type Config struct {
	Data   string   // folder of all that the node keeps, absolute; default: see Default
	Socket string   // path of the unix socket, absolute; "": see SocketPath
	Listen []string // host:port of the TCP sockets; default none
	TLS    TLS
	Hosts  []string // further names that requests may be for, with or without a port; default none
	// Origins are those whose web pages may send requests, apart from the
	// node's own: https://console.example.org. Default none.
	Origins   []string
	Drain     time.Duration // what requests and calls are given to end before the node does; default 30 s
	Retention time.Duration // how long an ended run is kept unless its workflow says; default 7 days
	Python    string        // the interpreter of functions in Python, a name or a path; default python3
	// PythonParents is whether what several functions of an app import is imported once,
	// in a process that theirs are forked from; default true.
	PythonParents bool
	// CPU is the policy by which calls get the processor: weft (the default), alps, sfs, or
	// none. CPUBackend is how: auto (the default), cgroup, sched, fifo or none.
	// CPUParameters are NAME=VALUE, as in weft.slots=2; default none.
	CPU, CPUBackend string
	CPUParameters   []string
	Speculate       bool // start functions that nobody outside can notice before their causes are on disk; default true
	Limits          Limits
	Grants          Grants
	Services        Services
	Pool            Pool
	Telemetry       Telemetry
}

// TLS names the files of a certificate and its key, PEM, absolute paths. Both
// are empty, the default, or neither.
type TLS struct{ Cert, Key string }

// Limits bounds what the node takes on at a time.
type Limits struct {
	Body        int64 // bytes of a request's body; default 64 MiB
	Buffer      int64 // bytes of a buffer that is uploaded; default 4 GiB
	Input       int64 // bytes of a run's input; default 1 MiB
	Value       int64 // bytes of a value of a service's state, of a result, of arguments together; default and at most 1 MiB
	Runs        int   // runs under way; default 100,000
	RunsPerApp  int   // runs of one app under way; default 0: Runs
	Memory      int64 // bytes that the functions of all calls under way may use; default 0: 80 % of the machine's
	Concurrency int   // calls under way; default 0: as many as memory allows
	App         Quota // of each app
	Queue       int   // calls of a function that may wait, unless it says; default 100
	Connections int   // of clients at an address; default 4096
}

// Quota bounds what each app has under way at a time.
type Quota struct {
	Memory      int64 // bytes that the functions of its calls may use; default 0: Limits.Memory
	Concurrency int   // calls; default 0: Limits.Concurrency
}

// Grants is what apps may ask for. Everything else is refused when the app is
// deployed.
type Grants struct {
	Folders []Folder // of the host, apart from those in the app; default none
	Dial    []Peer   // to which functions may connect; default *:*, all that is public
	Listen  []Ports  // loopback ports that functions may accept on; default none
	Native  bool     // functions that are native code: runtimes native and python; default true
	Memory  int64    // bytes of one function; default 4 GiB
}

// Pool is what the node does ahead of need.
type Pool struct {
	Ready   int           // clean sandbox hosts that are kept ready; default 2
	Idle    time.Duration // how long an unused sandbox stays, unless its function says; default 5 minutes
	Predict bool          // make sandboxes ready for the steps that come next; default true
}

// Services say how services are called besides the API: requests for the host
// SERVICE.APP.DOMAIN are calls in the wire format of mu2sls.
type Services struct {
	Domain string // "", the default: there are no such calls
	Calls  string // who may make them: AccessToken, the default, or AccessOpen
}

// Telemetry is what the node tells about itself.
type Telemetry struct {
	OTLP      string // URL of an OpenTelemetry collector (OTLP over HTTP); "", the default: none
	LogFormat string // LogText, the default, or LogJSON
	LogLevel  string // LevelDebug, LevelInfo (the default), LevelWarn or LevelError
	Metrics   string // MetricsToken, the default, or MetricsOpen
}

// Default returns the settings of a node without a file. Its data is in
// /var/lib/weft for root, else in weft below $XDG_DATA_HOME or ~/.local/share.
func Default() *Config {
	return &Config{
		Data:      defaultData(),
		Drain:     30 * time.Second,
		Retention: 7 * 24 * time.Hour,
		CPU:       policy.Weft, CPUBackend: backend.Auto,
		Speculate:     true,
		Python:        "python3",
		PythonParents: true,
		Limits:        Limits{Body: 64 << 20, Buffer: 4 << 30, Input: 1 << 20, Value: 1 << 20, Runs: 100_000, Queue: 100, Connections: 4096},
		Grants:        Grants{Dial: []Peer{everyPublicPeer}, Native: true, Memory: app.MaxMemory},
		Pool:          Pool{Ready: 2, Idle: 5 * time.Minute, Predict: true},
		Services:      Services{Calls: AccessToken},
		Telemetry:     Telemetry{LogFormat: LogText, LogLevel: LevelInfo, Metrics: MetricsToken},
	}
}

func defaultData() string {
	const system = "/var/lib/weft"
	if os.Geteuid() == 0 {
		return system
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "weft")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "weft")
	}
	return system
}

// SocketPath is the unix socket: Socket, or weft.sock in $XDG_RUNTIME_DIR if
// that is set, else in the data folder.
func (c *Config) SocketPath() string {
	if c.Socket != "" {
		return c.Socket
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "weft.sock")
	}
	return filepath.Join(c.Data, "weft.sock")
}

// Load reads and checks the file at path. Relative paths in it start at its
// folder. An error about its content is of type yamlfile.Errors.
func Load(path string) (*Config, error) {
	src, err := yamlfile.Source(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, yamlfile.Errors{{File: path, Message: "no such configuration file", Hint: "`weft serve --print-config` prints one to begin with"}}
	case err != nil:
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("load configuration %s: %w", path, err)
	}
	return Parse(path, dir, src)
}

// Parse checks the configuration src, in which relative paths start at dir,
// and returns it with defaults for what it leaves out. Errors, which are
// always of type yamlfile.Errors, call the file name.
func Parse(name, dir string, src []byte) (*Config, error) {
	r := &reading{Reader: yamlfile.NewReader(name, form), dir: dir}
	c := Default()
	if root := r.Document(src); root != nil {
		yamlfile.ReadFields(r, root, "the configuration", fieldsOf(settings), c)
		r.checkTLS(root.Get("tls"), c)
	}
	if err := r.Result(); err != nil {
		return nil, err
	}
	return c, nil
}

// form is what messages about configurations have in common.
var form = yamlfile.Form{
	Name:  "a configuration",
	First: "a configuration begins with a line such as `data: /var/lib/weft`",
	Large: "a configuration is small: remove what does not belong there",
}

// reading is the state of one Parse.
type reading struct {
	*yamlfile.Reader
	dir string // where relative paths start
}

// checkTLS refuses a certificate without its key.
func (r *reading) checkTLS(n *yamlfile.Node, c *Config) {
	if n == nil || n.Kind != yamlfile.Mapping || (c.TLS.Cert == "") == (c.TLS.Key == "") {
		return
	}
	has, lacks := "cert", "key"
	if c.TLS.Cert == "" {
		has, lacks = lacks, has
	}
	if other := n.Get(lacks); other != nil && !none(other) { // it has an error of its own
		return
	}
	r.Errorf(n.At, fmt.Sprintf("add `%s: PATH`", lacks), "tls has a %s without a %s", has, lacks)
}
