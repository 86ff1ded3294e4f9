package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/flow"
)

// FileName is the name of the app file in an app's folder.
const FileName = "weft.yaml"

// How a sandbox's modules are set up, and how values pass between functions.
// The second of each pair is the baseline that the first is measured against.
const (
	LoadLazy      = "lazy"      // on first use
	LoadEager     = "eager"     // all before the function starts
	PassReference = "reference" // as shared memory
	PassFile      = "file"      // through files
)

// App is a checked app file.
type App struct {
	Name      string                    // [a-z0-9-]{1,63}
	Dir       string                    // the app's folder: relative paths in the file start here
	File      string                    // path of the app file, as errors name it
	Load      string                    // LoadLazy or LoadEager
	Pass      string                    // PassReference or PassFile
	Functions map[string]*Function      // by name
	Workflows map[string]*flow.Workflow // by name
	Outlines  map[string]*Outline       // by workflow name: what flow does not need to know
	Triggers  []Trigger                 // in the order of the file
}

// Load reads and checks an app file. The path is that of the file or of the
// folder that holds it as weft.yaml. An error about the file's content is of
// type Errors.
func Load(path string) (*App, error) {
	file := path
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		file = filepath.Join(path, FileName)
		info, err = os.Stat(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Errors{{File: file, Message: "no such app file", Hint: "name a folder that holds a " + FileName + ", or write one with `weft init`"}}
	case err != nil:
		return nil, fmt.Errorf("load app %s: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, Errors{{File: file, Message: fmt.Sprintf("app file is not a regular file (mode %s)", info.Mode())}}
	}
	src, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("load app %s: %w", path, err)
	}
	a, err := Parse(file, src)
	if err != nil {
		return nil, err
	}
	a.Dir, err = filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("load app %s: %w", path, err)
	}
	return a, nil
}

// readBounded reads one byte more than Parse accepts at most, so that Parse
// can tell.
func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// Parse checks the app file src and returns what it says. Errors, which are
// always of type Errors, call the file name. Dir of the App is left empty.
func Parse(name string, src []byte) (*App, error) {
	r := &report{file: name}
	root := r.document(src)
	if root == nil {
		return nil, r.result()
	}
	b := &builder{
		report: r,
		app: &App{
			File:      name,
			Load:      LoadLazy,
			Pass:      PassReference,
			Functions: map[string]*Function{},
			Workflows: map[string]*flow.Workflow{},
			Outlines:  map[string]*Outline{},
		},
	}
	readFields(b, root, "the app file", appFields, b.app)
	if root.get("name") == nil {
		b.errorf(span{}, "add a line such as `name: hello`", "app has no name")
	}
	if root.get("functions") == nil && root.get("workflows") == nil {
		b.errorf(span{}, "add a function and a workflow; `weft init` writes an example", "app has neither functions nor workflows")
	}
	b.checkNames()
	if err := r.result(); err != nil {
		return nil, err
	}
	return b.app, nil
}

// builder is the state of one Parse.
type builder struct {
	*report
	app       *App
	key       string  // that is being read, for messages
	functions []named // as written, wrong ones too: names that exist are not "unknown"
	workflows []*draft
	triggers  []triggerTarget
}

// named is a name and where it is given.
type named struct {
	name string
	at   span
}

var appFields = []field[App]{
	{"name", func(b *builder, n *node, a *App) {
		a.Name = b.pattern(n, appName, "a name of a-z, 0-9 and -, 1 to 63 long")
	}},
	{"load", func(b *builder, n *node, a *App) { a.Load = b.choice(n, "load", LoadLazy, LoadEager) }},
	{"pass", func(b *builder, n *node, a *App) { a.Pass = b.choice(n, "pass", PassReference, PassFile) }},
	{"functions", func(b *builder, n *node, a *App) {
		b.each(n, "functions", maxFunctions, func(e entry) {
			b.functions = append(b.functions, named{e.name, e.at})
			if f := b.function(e); f != nil {
				a.Functions[e.name] = f
			}
		})
	}},
	{"workflows", func(b *builder, n *node, _ *App) {
		b.each(n, "workflows", maxWorkflows, func(e entry) { b.workflow(e) })
	}},
	{"services", func(b *builder, n *node, _ *App) {
		b.each(n, "services", maxFunctions, func(e entry) {
			b.errorf(e.at, "leave services out", "services are not supported yet: service %s", e.name)
		})
	}},
	{"triggers", func(b *builder, n *node, a *App) { b.readTriggers(n, a) }},
}
