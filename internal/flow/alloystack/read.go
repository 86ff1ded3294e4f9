package alloystack

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/flow"
)

// A File is a workflow file that is in order.
type File struct {
	Name     string    // of the file, without folder and .json
	Services []Service // in the order of the file
	Apps     []App     // in the order of the file; some may be in no stage
	Image    string    // fs_image: the FAT image that functions see at /; empty: none is named
	LibOS    bool      // with_libos: false says that the functions use no services
	Stages   []Stage   // in the order in which they run; without groups one for each app
}

// A Service is a part of AlloyStack's library operating system that functions
// of the file may load.
type Service struct {
	Name    string // by which functions call it: "fdtab"
	Library string // what implements it: "libruxfdtab.so"
	Module  string // weft's counterpart: fs, net, clock, stdio or buffer; empty: none is needed
}

// An App is a function under a name.
type App struct {
	Name     string // "hello1"
	Library  string // "libhello_world.so"
	Function string // "hello_world"
}

// A Stage is what runs at once.
type Stage []Instance

// MaxInstances is how many instances a stage may have.
const MaxInstances = 1000

// An Instance is one call of an app.
type Instance struct {
	App  string
	Args map[string]string // with the id
}

// modules has the services that exist, each with the module of weft that does
// its work. Signals and the C library need none: the engine turns faults into
// traps, and a function brings its own C library.
var modules = map[string]string{
	"fatfs": "fs", "fdtab": "fs", "ruxfdtab": "fs", "mmap_file_backend": "fs",
	"mm": "buffer", "socket": "net", "stdio": "stdio", "time": "clock",
	"signal": "", "libc": "",
}

// A Problem is one thing that is wrong with a file.
type Problem struct {
	Line, Column int // from 1; columns count bytes
	Message      string
	Hint         string // what to do about it, or empty
}

// InvalidError is a file that cannot be used.
type InvalidError struct {
	File     string
	Problems []Problem // in the order of the file, at least one
}

// Error has a line for each problem: `chain.json:3:12: there is no app "sum"
// (did you mean "sums"?)`.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.File, p.Line, p.Column, p.Message)
		if p.Hint != "" {
			lines[i] += " (" + p.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// Read reads the file of that name from src. Its errors are of type
// [*InvalidError].
func Read(name string, src []byte) (*File, error) {
	r := &reader{src: src, apps: map[string]bool{}}
	root, err := parseJSON(src)
	if err != nil {
		r.problem(err.(*syntaxError).offset, "this is not JSON: "+err.Error(), "")
		return nil, &InvalidError{name, r.problems}
	}
	f := r.file(root)
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, &InvalidError{name, r.problems}
	}
	f.Name = strings.TrimSuffix(filepath.Base(name), ".json")
	return f, nil
}

type reader struct {
	src      []byte
	apps     map[string]bool
	problems []Problem
}

func (r *reader) problem(offset int, message, hint string) {
	line, column := place(r.src, offset)
	r.problems = append(r.problems, Problem{line, column, message, hint})
}

// expect reports a value of another kind than the wanted one.
func (r *reader) expect(n node, what, kind string) bool {
	if n.kind != kind {
		r.problem(n.offset, fmt.Sprintf("%s is %s, not %s", what, kind, n.kind), "")
	}
	return n.kind == kind
}

// object returns the members of an object, and reports those that are unknown,
// repeated or missing.
func (r *reader) object(n node, what string, known, required []string) map[string]node {
	members := map[string]node{}
	if !r.expect(n, what, isObject) {
		return members
	}
	for _, m := range n.members {
		if !slices.Contains(known, m.key) {
			r.problem(m.offset, fmt.Sprintf("%s has no key %q", what, m.key), flow.Nearest(m.key, slices.Clone(known)))
		} else if _, dup := members[m.key]; dup {
			r.problem(m.offset, fmt.Sprintf("the key %q is there twice", m.key), "")
		}
		members[m.key] = m.value
	}
	for _, key := range required {
		if _, there := members[key]; !there {
			r.problem(n.offset, fmt.Sprintf("%s lacks the key %q", what, key), "")
		}
	}
	return members
}

func (r *reader) file(root node) *File {
	f := &File{LibOS: true}
	members := r.object(root, "the file", []string{"services", "apps", "fs_image", "with_libos", "groups"}, []string{"services", "apps"})
	if n, there := members["fs_image"]; there && r.expect(n, "fs_image", isString) {
		f.Image = n.text
		if n.text == "" {
			r.problem(n.offset, "fs_image names no file", "leave the key out")
		}
	}
	if n, there := members["with_libos"]; there && r.expect(n, "with_libos", isBool) {
		f.LibOS = n.truth
	}
	r.pairs(members, "services", "service", func(name, library node) {
		f.Services = append(f.Services, r.service(name, library))
	})
	r.pairs(members, "apps", "app", func(name, library node) {
		r.apps[name.text] = true
		f.Apps = append(f.Apps, App{name.text, library.text, r.library(library)})
	})
	if n, there := members["apps"]; there && n.kind == isList && len(n.elems) == 0 {
		r.problem(n.offset, "apps is empty, so there is nothing to run", "")
	}
	if n, there := members["groups"]; there && r.expect(n, "groups", isList) {
		for _, group := range n.elems {
			f.Stages = append(f.Stages, r.stage(group))
		}
	}
	if len(f.Stages) == 0 {
		for _, app := range f.Apps {
			f.Stages = append(f.Stages, Stage{{app.Name, map[string]string{"id": "0"}}})
		}
	}
	return f
}

// pairs reads a list of ["name", "library"].
func (r *reader) pairs(members map[string]node, key, what string, add func(name, library node)) {
	n, there := members[key]
	if !there || !r.expect(n, key, isList) {
		return
	}
	seen := map[string]bool{}
	for _, pair := range n.elems {
		if pair.kind != isList || len(pair.elems) != 2 || pair.elems[0].kind != isString || pair.elems[1].kind != isString {
			r.problem(pair.offset, fmt.Sprintf("%s %s is a pair of strings", article(what), what), `write ["name", "libname.so"]`)
			continue
		}
		name := pair.elems[0]
		switch {
		case name.text == "":
			r.problem(name.offset, fmt.Sprintf("%s %s has a name", article(what), what), "")
		case seen[name.text]:
			r.problem(name.offset, fmt.Sprintf("two %s are called %q", key, name.text), "")
		}
		seen[name.text] = true
		add(name, pair.elems[1])
	}
}

func article(what string) string {
	if what[0] == 'a' {
		return "an"
	}
	return "a"
}

// library returns X of libX.so.
func (r *reader) library(n node) string {
	name, lib := strings.CutPrefix(n.text, "lib")
	name, so := strings.CutSuffix(name, ".so")
	ok := lib && so && name != "" && name[0] != '.' && name[0] != '-'
	for _, c := range []byte(name) {
		ok = ok && (c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.')
	}
	if !ok {
		r.problem(n.offset, fmt.Sprintf("%q is not the name of a library", n.text), "write libNAME.so, with letters, digits, _, - and . in NAME")
		return ""
	}
	return name
}

func (r *reader) service(name, library node) Service {
	module, known := modules[name.text]
	if !known && name.text != "" {
		r.problem(name.offset, fmt.Sprintf("there is no service %q", name.text), r.closest(name.text, modules))
	}
	implementation := r.library(library)
	other, exists := modules[implementation]
	switch {
	case implementation == "":
	case !exists:
		r.problem(library.offset, fmt.Sprintf("there is no service in %q", library.text), r.closest(implementation, modules))
	case known && other != module:
		r.problem(library.offset, fmt.Sprintf("%s does not implement %s", library.text, name.text), "")
	}
	return Service{name.text, library.text, module}
}

// closest gives the hint for an unknown name: a near one, or all of them.
func (r *reader) closest(name string, known map[string]string) string {
	names := slices.Sorted(maps.Keys(known))
	if hint := flow.Nearest(name, names); hint != "" {
		return hint
	}
	return "there are " + strings.Join(names, ", ")
}

func (r *reader) stage(n node) Stage {
	members := r.object(n, "a group", []string{"list", "args"}, []string{"list"})
	common := r.args(members, nil)
	list, there := members["list"]
	if !there || !r.expect(list, "list", isList) {
		return nil
	}
	if len(list.elems) == 0 {
		r.problem(list.offset, "the list is empty, so the stage runs nothing", "")
	}
	if len(list.elems) > MaxInstances {
		r.problem(list.offset, fmt.Sprintf("the list has %d entries, the limit is %d", len(list.elems), MaxInstances), "")
		return nil
	}
	var stage Stage
	for i, entry := range list.elems {
		instance := Instance{Args: common}
		name := entry
		if entry.kind == isObject {
			members := r.object(entry, "an entry of a list", []string{"name", "args"}, []string{"name"})
			instance.Args = r.args(members, common)
			if name, there = members["name"]; !there {
				continue
			}
		} else if entry.kind != isString {
			r.problem(entry.offset, "an entry of a list is a name or an object, not "+entry.kind, `write "app" or {"name": "app", "args": {…}}`)
			continue
		}
		if !r.expect(name, "name", isString) {
			continue
		}
		if instance.App = name.text; !r.apps[name.text] {
			r.problem(name.offset, fmt.Sprintf("there is no app %q", name.text), flow.Nearest(name.text, slices.Sorted(maps.Keys(r.apps))))
		}
		instance.Args = maps.Clone(instance.Args)
		instance.Args["id"] = strconv.Itoa(i)
		stage = append(stage, instance)
	}
	return stage
}

// args reads the args among members over those that they override.
func (r *reader) args(members map[string]node, common map[string]string) map[string]string {
	args := make(map[string]string, len(common)+1)
	maps.Copy(args, common)
	n, there := members["args"]
	if !there || !r.expect(n, "args", isObject) {
		return args
	}
	seen := map[string]bool{}
	for _, m := range n.members {
		switch {
		case seen[m.key]:
			r.problem(m.offset, fmt.Sprintf("the key %q is there twice", m.key), "")
		case m.value.kind != isString:
			r.problem(m.value.offset, fmt.Sprintf("the arg %q is a string, not %s", m.key, m.value.kind), "put it in quotes")
		}
		seen[m.key], args[m.key] = true, m.value.text
	}
	return args
}
