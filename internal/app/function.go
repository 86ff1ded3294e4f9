package app

import (
	"fmt"
	"mime"
	"net"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Runtimes of functions, and what a function's standard output holds.
const (
	RuntimeWasm   = "wasm"   // a WebAssembly module
	RuntimePython = "python" // a handler in Python, each call a process
	RuntimeNative = "native" // a program of this machine, each call a process

	OutputJSON  = "json"  // a JSON value
	OutputText  = "text"  // becomes a JSON string
	OutputBytes = "bytes" // becomes a buffer
)

// Defaults and bounds of a function's limits.
const (
	DefaultMemory    = 128 << 20
	DefaultTimeout   = 30 * time.Second
	DefaultMaxOutput = 64 << 20

	MinMemory = 64 << 10 // one page
	MaxMemory = 4 << 30  // what 32-bit linear memory holds

	minTimeout  = time.Millisecond
	maxTimeout  = 24 * time.Hour
	maxOutput   = 4 << 30
	maxParallel = 10_000
)

// Function is code with one input and one output, and the limits and grants
// of the sandbox that it runs in.
type Function struct {
	Name        string
	Runtime     string            // RuntimeWasm, RuntimePython or RuntimeNative
	Source      string            // Go package folder, C file or folder, Rust file, .wasm file, Python file or folder, or executable; relative to the app's folder
	Handler     string            // of Python: "NAME" or "MODULE:NAME"; default "handler"
	Args        []string          // arguments after the program's name
	Env         map[string]string // further environment variables
	Memory      int64             // bytes of linear memory, views of buffers apart; default 128 MiB
	Timeout     time.Duration     // wall time of one attempt; default 30 s
	CPU         time.Duration     // CPU time of one attempt; default: Timeout
	Output      string            // OutputJSON, OutputText or OutputBytes
	MaxOutput   int64             // bytes of standard output; default 64 MiB
	Files       []FileGrant       // what it sees of the host's files
	Dial        []string          // "host:port" that it may connect to
	Listen      []int             // loopback ports that it may accept on
	Concurrency int               // calls at a time in one run; 0: as many as there are cores
	ContentType string            // of its output over HTTP; default by Output
	Instances   Instances         // how many of it a node runs and keeps ready
	Secrets     []SecretRef       // what it sees of the node's secrets

	// Of Python:
	Requirements Requirements // packages that it needs
	Serves       string       // ServesWSGI or ServesASGI: the handler is an application that answers requests; default: calls
	Resident     bool         // calls are served by processes that stay, and share memory; so they are if it Serves
	Workers      int          // how many of these processes at most; default 4

	Pos    Pos
	places map[string]Pos // of its keys' values, and of the entries of lists: "dial[1]"
}

// Place returns where a key of the function has its value, such as "memory",
// or where an entry of a list is, such as "dial[1]". What the file does not
// give is where the function is.
func (f *Function) Place(key string) Pos {
	if at, ok := f.places[key]; ok {
		return at
	}
	return f.Pos
}

// Instances bounds a function on a node that serves. It means nothing to a single run.
type Instances struct {
	Ready int           // sandboxes that are kept ready; default 0
	Idle  time.Duration // how long an unused sandbox stays; 0: as the node says
	Max   int           // calls at a time on the node; 0: as many as memory allows
	Queue int           // invocations that may wait, further ones are refused; 0: as the node says
}

// FileGrant lets a function see a folder, file, zip archive or FAT image of
// the host under a path of its own.
type FileGrant struct {
	Kind  string // GrantHost, GrantZip or GrantFAT
	Host  string // path on the host; relative to the app's folder
	Guest string // absolute, clean path that the function sees
	Write bool   // otherwise read-only
}

// Kinds of file grants.
const (
	GrantHost = "host" // a folder or file as it is
	GrantZip  = "zip"  // a zip archive as a folder, read-only
	GrantFAT  = "fat"  // a FAT image as a folder
)

var functionFields = []field[Function]{
	{Name: "runtime", Read: func(b *builder, n *node, f *Function) {
		f.Runtime = b.Choice(n, "runtime", RuntimeWasm, RuntimePython, RuntimeNative)
	}},
	{Name: "source", Read: func(b *builder, n *node, f *Function) {
		f.Source = b.Text(n, "a path")
		if strings.ContainsRune(f.Source, 0) || len(f.Source) > 4096 {
			b.WrongKind(n, "a path", "")
		}
	}},
	{Name: "handler", Read: func(b *builder, n *node, f *Function) {
		f.Handler = b.Text(n, "the name of a Python function")
		if f.Handler != "" && !pythonHandler.MatchString(f.Handler) {
			b.Errorf(n.At, "it is NAME, or MODULE:NAME as in `handler: reports.daily:run`", "handler %q is not the name of a Python function", yamlfile.Shorten(f.Handler, 80))
		}
	}},
	{Name: "args", Read: func(b *builder, n *node, f *Function) {
		b.List(n, "a list of strings", func(item *node) {
			if item.Kind == yamlfile.String && item.Scalar == "" {
				f.Args = append(f.Args, "")
				return
			}
			f.Args = append(f.Args, b.noNUL(item, b.Text(item, "a string")))
		})
	}},
	{Name: "env", Read: func(b *builder, n *node, f *Function) {
		f.Env = map[string]string{}
		b.Each(n, "strings", yamlfile.MaxListed, func(e entry) {
			if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
				b.Errorf(e.At, "", "%q cannot name an environment variable", e.Name)
			}
			if strings.HasPrefix(e.Name, "WEFT_") {
				b.Errorf(e.At, "choose another name", "environment variables WEFT_* are set by weft")
			}
			if e.Value.Kind == yamlfile.String && e.Value.Scalar == "" {
				f.Env[e.Name] = ""
				return
			}
			f.Env[e.Name] = b.noNUL(e.Value, b.Text(e.Value, "a string"))
		})
	}},
	{Name: "memory", Read: func(b *builder, n *node, f *Function) { f.Memory = b.Size(n, MinMemory, MaxMemory) }},
	{Name: "timeout", Read: func(b *builder, n *node, f *Function) { f.Timeout = b.Duration(n, minTimeout, maxTimeout) }},
	{Name: "cpu", Read: func(b *builder, n *node, f *Function) { f.CPU = b.Duration(n, minTimeout, maxTimeout) }},
	{Name: "output", Read: func(b *builder, n *node, f *Function) {
		f.Output = b.Choice(n, "output", OutputJSON, OutputText, OutputBytes)
	}},
	{Name: "max_output", Read: func(b *builder, n *node, f *Function) { f.MaxOutput = b.Size(n, 1, maxOutput) }},
	{Name: "files", Read: func(b *builder, n *node, f *Function) {
		guests := map[string]bool{}
		b.List(n, `a list of "host::guest[:ro|:rw]"`, func(item *node) {
			g, ok := b.fileGrant(item)
			if ok && guests[g.Guest] {
				b.Errorf(item.At, "", "guest path %s is granted twice", g.Guest)
			}
			guests[g.Guest] = true
			f.Files = append(f.Files, g)
		})
	}},
	{Name: "dial", Read: func(b *builder, n *node, f *Function) {
		b.List(n, `a list of "host:port"`, func(item *node) {
			f.Dial = append(f.Dial, b.address(item))
		})
	}},
	{Name: "listen", Read: func(b *builder, n *node, f *Function) {
		b.List(n, "a list of ports", func(item *node) {
			before := len(b.Errors())
			port := b.Integer(item, 1, 65535)
			if len(b.Errors()) > before {
				return
			}
			if slices.Contains(f.Listen, port) {
				b.Errorf(item.At, "", "port %d is given twice", port)
			}
			f.Listen = append(f.Listen, port)
		})
	}},
	{Name: "concurrency", Read: func(b *builder, n *node, f *Function) { f.Concurrency = b.Integer(n, 0, maxParallel) }},
	{Name: "content_type", Read: func(b *builder, n *node, f *Function) {
		f.ContentType = b.Text(n, "a media type such as image/png")
		if _, _, err := mime.ParseMediaType(f.ContentType); f.ContentType != "" && err != nil {
			b.Errorf(n.At, "for example image/png", "content_type: %q is no media type", yamlfile.Shorten(f.ContentType, 80))
		}
	}},
	{Name: "secrets", Read: func(b *builder, n *node, f *Function) { b.secrets(n, f) }},
	{Name: "instances", Read: func(b *builder, n *node, f *Function) {
		yamlfile.ReadFields(b, n, "instances of function "+f.Name, instanceFields, &f.Instances)
	}},
}

var instanceFields = []field[Instances]{
	{Name: "ready", Read: func(b *builder, n *node, i *Instances) { i.Ready = b.Integer(n, 0, maxReady) }},
	{Name: "idle", Read: func(b *builder, n *node, i *Instances) { i.Idle = b.Duration(n, time.Second, maxTimeout) }},
	{Name: "max", Read: func(b *builder, n *node, i *Instances) { i.Max = b.Integer(n, 0, maxParallel) }},
	{Name: "queue", Read: func(b *builder, n *node, i *Instances) { i.Queue = b.Integer(n, 0, maxParallel) }},
}

// pythonHandler matches NAME and MODULE:NAME.
var pythonHandler = regexp.MustCompile(`^([\pL_][\pL\d_]*(\.[\pL_][\pL\d_]*)*:)?[\pL_][\pL\d_]*$`)

// checkRuntime reports keys that mean nothing for the runtime of a function, or of a service.
func (b *builder) checkRuntime(kind string, e entry, f *Function) {
	refuse := func(key, hint, format string) {
		if n := e.Value.Get(key); n != nil {
			b.Errorf(n.At, hint, format, kind, e.Name, f.Runtime)
		}
	}
	switch f.Runtime {
	default: // an unknown one
		return
	case RuntimeWasm:
		refuse("handler", "remove it: a WebAssembly module says by its exports how it is called", "handler is for runtime python; %s %s is %s")
		return
	case RuntimePython:
		refuse("args", "give it settings by env", "args are for programs; %s %s is %s")
	case RuntimeNative:
		refuse("handler", "remove it: a program is called by its main", "handler is for runtime python; %s %s is %s")
	}
	refuse("listen", "functions that are processes connect to others (dial), and are called: call a function of runtime wasm that listens", "%s %s is %s and cannot accept connections")
	if n := e.Value.Get("dial"); n != nil && len(f.Dial) > maxDialed {
		b.Errorf(n.At, "", "%s %s is %s and may connect to %d addresses at most", kind, e.Name, f.Runtime, maxDialed)
	}
	if n := e.Value.Get("files"); n != nil && len(n.Items) == len(f.Files) {
		for i, g := range f.Files {
			if g.Kind == GrantZip || g.Kind == GrantFAT {
				b.Errorf(n.Items[i].At, "unpack it, and grant the folder", "%s %s is %s and sees folders and files as they are, not inside of %s", kind, e.Name, f.Runtime, yamlfile.Shorten(g.Host, 80))
			}
		}
	}
}

// maxDialed bounds what a function that is a process may connect to.
const maxDialed = 64

// maxReady bounds the sandboxes of a function that are kept ready.
const maxReady = 100

// allFunctionFields are the keys of a function.
var allFunctionFields = slices.Concat(functionFields, pythonFields)

// function reads one entry of functions.
func (b *builder) function(e entry) *Function {
	if !functionName.MatchString(e.Name) {
		b.Errorf(e.At, "use a-z, 0-9, - and _, beginning with a letter, at most 63", "function name %q is not allowed", yamlfile.Shorten(e.Name, 80))
	}
	f := &Function{
		Name:      e.Name,
		Runtime:   RuntimeWasm,
		Memory:    DefaultMemory,
		Timeout:   DefaultTimeout,
		Output:    OutputJSON,
		MaxOutput: DefaultMaxOutput,
		Pos:       e.At.Pos,
		places:    placesOf(e),
	}
	if !yamlfile.ReadFields(b, e.Value, "function "+e.Name, allFunctionFields, f) {
		return nil
	}
	b.checkRuntime("function", e, f)
	if e.Value.Get("source") == nil {
		b.Errorf(e.At, "add `source: ./"+e.Name+"`", "function %s has no source", e.Name)
	}
	b.checkPython(e, f)
	b.checkSecrets(e.Value.Get("secrets"), f)
	if cpu := e.Value.Get("cpu"); cpu == nil {
		f.CPU = f.Timeout
	}
	return f
}

// placesOf says where the values of an entry's keys are, and the entries of lists.
func placesOf(e entry) map[string]Pos {
	places := map[string]Pos{}
	for _, key := range e.Value.Entries {
		places[key.Name] = key.Value.At.Pos
		for i, item := range key.Value.Items {
			places[key.Name+"["+strconv.Itoa(i)+"]"] = item.At.Pos
		}
	}
	return places
}

// noNUL refuses strings that cannot be handed to a program.
func (b *builder) noNUL(n *node, s string) string {
	if strings.ContainsRune(s, 0) {
		b.Errorf(n.At, "", "string holds a NUL character")
	}
	return s
}

// fileGrant reads "[zip:|fat:]host::guest[:ro|:rw]".
func (b *builder) fileGrant(n *node) (FileGrant, bool) {
	const want = `"host::guest", "host::guest:ro" or "host::guest:rw"`
	s := b.noNUL(n, b.Text(n, want))
	if s == "" {
		return FileGrant{}, false
	}
	g, err := ParseFileGrant(s)
	if err != nil {
		b.Errorf(n.At, `for example "./data::/data:ro"`, "%v", err)
		return g, false
	}
	return g, true
}

// ParseFileGrant reads a grant as app files and the command line write it:
// "host::guest", read-only unless it ends with ":rw". A host path that ends
// with .zip or .img, or begins with "zip:" or "fat:", is an archive or a FAT
// image and is seen as a folder.
func ParseFileGrant(s string) (FileGrant, error) {
	g := FileGrant{Kind: GrantHost}
	host, guest, found := strings.Cut(s, "::")
	if !found {
		return g, fmt.Errorf("file grant %q has no \"::\" between host and guest path", yamlfile.Shorten(s, 80))
	}
	if rest, ok := strings.CutPrefix(host, "zip:"); ok {
		g.Kind, host = GrantZip, rest
	} else if rest, ok := strings.CutPrefix(host, "fat:"); ok {
		g.Kind, host = GrantFAT, rest
	} else if ext := strings.ToLower(filepath.Ext(host)); ext == ".zip" {
		g.Kind = GrantZip
	} else if ext == ".img" {
		g.Kind = GrantFAT
	}
	if rest, ok := strings.CutSuffix(guest, ":rw"); ok {
		g.Write, guest = true, rest
	} else {
		guest = strings.TrimSuffix(guest, ":ro")
	}
	switch {
	case host == "":
		return g, fmt.Errorf("file grant %q has no host path", yamlfile.Shorten(s, 80))
	case !strings.HasPrefix(guest, "/"):
		return g, fmt.Errorf("guest path %q is not absolute", yamlfile.Shorten(guest, 80))
	case slices.Contains(strings.Split(guest, "/"), ".."):
		return g, fmt.Errorf("guest path %q holds \"..\"", yamlfile.Shorten(guest, 80))
	case strings.Contains(guest, ":"):
		return g, fmt.Errorf("file grant %q ends with neither :ro nor :rw", yamlfile.Shorten(s, 80))
	case g.Write && g.Kind == GrantZip:
		return g, fmt.Errorf("zip archive %s cannot be granted for writing", yamlfile.Shorten(host, 80))
	}
	g.Host, g.Guest = filepath.Clean(host), path.Clean(guest)
	return g, nil
}

// address reads a "host:port".
func (b *builder) address(n *node) string {
	const want = `"host:port", such as "example.com:80"`
	s := b.Text(n, want)
	if s != "" && CheckAddress(s) != nil {
		b.Errorf(n.At, "", "%s: want %s; found %q", b.Key(), want, yamlfile.Shorten(s, 80))
	}
	return s
}

// CheckAddress reports what is wrong with a grant of connections, which is a
// "host:port" as in "example.com:80" and "[::1]:8080".
func CheckAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	p, perr := strconv.Atoi(port)
	if err != nil || host == "" || perr != nil || p < 1 || p > 65535 || strings.ContainsAny(host, " \x00/*@") {
		return fmt.Errorf("%q is no HOST:PORT", yamlfile.Shorten(s, 80))
	}
	return nil
}
