package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/yamlfile"
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
	Text      []byte                    // the app file, where File is none but says the same; nil: it is in File
	Load      string                    // LoadLazy or LoadEager
	Pass      string                    // PassReference or PassFile
	Functions map[string]*Function      // by name
	Workflows map[string]*flow.Workflow // by name
	Outlines  map[string]*Outline       // by workflow name: what flow does not need to know
	Services  map[string]*Service       // by name
	Triggers  []Trigger                 // in the order of the file
}

// Load reads and checks an app file. The path is that of the file or of the
// folder that holds it as weft.yaml, or of a table of services (table.go). An error about the file's content is of
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
	if filepath.Ext(file) == tableSuffix {
		return loadTable(file)
	}
	src, err := yamlfile.Source(file)
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

// Parse checks the app file src and returns what it says. Errors, which are
// always of type Errors, call the file name. Dir of the App is left empty.
func Parse(name string, src []byte) (*App, error) {
	r := yamlfile.NewReader(name, form)
	root := r.Document(src)
	if root == nil {
		return nil, r.Result()
	}
	b := &builder{
		Reader: r,
		app: &App{
			File:      name,
			Load:      LoadLazy,
			Pass:      PassReference,
			Functions: map[string]*Function{},
			Workflows: map[string]*flow.Workflow{},
			Outlines:  map[string]*Outline{},
			Services:  map[string]*Service{},
		},
	}
	yamlfile.ReadFields(b, root, "the app file", appFields, b.app)
	if root.Get("name") == nil {
		b.Errorf(span{}, "add a line such as `name: hello`", "app has no name")
	}
	if root.Get("functions") == nil && root.Get("workflows") == nil && root.Get("services") == nil {
		b.Errorf(span{}, "add a function and a workflow; `weft init` writes an example", "app has neither functions nor workflows nor services")
	}
	b.checkNames()
	if err := r.Result(); err != nil {
		return nil, err
	}
	return b.app, nil
}

// builder is the state of one Parse.
type builder struct {
	*yamlfile.Reader
	app       *App
	functions []named // as written, wrong ones too: names that exist are not "unknown"
	services  []named // the same
	mentions  []mention
	workflows []*draft
	triggers  []triggerTarget
}

// named is a name and where it is given.
type named struct {
	name string
	at   span
}

var appFields = []field[App]{
	{Name: "name", Read: func(b *builder, n *node, a *App) {
		a.Name = b.Pattern(n, appName, "a name of a-z, 0-9 and -, 1 to 63 long")
	}},
	{Name: "load", Read: func(b *builder, n *node, a *App) { a.Load = b.Choice(n, "load", LoadLazy, LoadEager) }},
	{Name: "pass", Read: func(b *builder, n *node, a *App) { a.Pass = b.Choice(n, "pass", PassReference, PassFile) }},
	{Name: "functions", Read: func(b *builder, n *node, a *App) {
		b.Each(n, "functions", maxFunctions, func(e entry) {
			b.functions = append(b.functions, named{e.Name, e.At})
			if f := b.function(e); f != nil {
				a.Functions[e.Name] = f
			}
		})
	}},
	{Name: "workflows", Read: func(b *builder, n *node, _ *App) {
		b.Each(n, "workflows", maxWorkflows, func(e entry) { b.workflow(e) })
	}},
	{Name: "services", Read: func(b *builder, n *node, a *App) {
		b.Each(n, "services", maxFunctions, func(e entry) {
			b.services = append(b.services, named{e.Name, e.At})
			if s := b.service(e); s != nil {
				a.Services[e.Name] = s
			}
		})
	}},
	{Name: "triggers", Read: func(b *builder, n *node, a *App) { b.readTriggers(n, a) }},
}
