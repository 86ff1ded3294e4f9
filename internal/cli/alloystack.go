package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/flow/alloystack"
)

// AlloyStack's files say nothing of limits; these are what its own workloads need.
const (
	alloyMemory  = 1 << 30
	alloyTimeout = 5 * time.Minute
)

// readAlloyStack reads a workflow file of AlloyStack's.
func readAlloyStack(path string) (*alloystack.File, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("name a workflow file of AlloyStack's, or the folder of an app", "read workflow: %v", err)
	}
	f, err := alloystack.Read(path, src)
	var invalid *alloystack.InvalidError
	switch {
	case errors.As(err, &invalid):
		return nil, alloyErrors(invalid)
	case err != nil:
		return nil, fmt.Errorf("read workflow %s: %w", path, err)
	}
	return f, nil
}

// loadAlloyStack makes an app of a workflow file of AlloyStack's and a folder with its functions: the function X is the
// folder X, X.wasm, X.c or X.rs. Functions print text. Where the file has a service of files they see its fs_image,
// read-only, as their root folder; grants are for all functions, and want the services that they belong to.
func loadAlloyStack(path, functions string, g *grants) (*app.App, error) {
	f, err := readAlloyStack(path)
	if err != nil {
		return nil, err
	}
	if functions == "" {
		return nil, usage("name the folder that holds "+strings.Join(f.Functions(), ", "), "workflow %s needs --functions DIR", path)
	}
	dir, err := filepath.Abs(functions)
	if err != nil {
		return nil, fmt.Errorf("find folder %s: %w", functions, err)
	}
	files, err := alloyFiles(f, path, g)
	if err != nil {
		return nil, err
	}
	w := f.Workflow()
	a := &app.App{
		Name: appName(strings.TrimSuffix(path, filepath.Ext(path))), Dir: dir, File: path, Load: app.LoadLazy, Pass: app.PassReference,
		Functions: map[string]*app.Function{}, Workflows: map[string]*flow.Workflow{w.Name: w}, Outlines: map[string]*app.Outline{},
	}
	var missing []string
	for _, name := range f.Functions() {
		source := findFunction(dir, name)
		if source == "" {
			missing = append(missing, name)
			continue
		}
		a.Functions[name] = &app.Function{
			Name: name, Runtime: app.RuntimeWasm, Source: source, Memory: alloyMemory, Timeout: alloyTimeout, CPU: alloyTimeout,
			Output: app.OutputText, MaxOutput: app.DefaultMaxOutput,
			Files: files, Dial: g.dial, Listen: g.listen,
		}
	}
	if len(missing) > 0 {
		x := missing[0]
		return nil, usage(fmt.Sprintf("a function X is a folder X of Go or C, or X.wasm, X.c or X.rs: here %s/%s.c, for example", functions, x),
			"workflow %s calls %s, and %s does not hold %s", path, strings.Join(missing, ", "), functions, map[bool]string{true: "it", false: "them"}[len(missing) == 1])
	}
	return a, nil
}

// alloyServices are the services that a file must list one of for its functions to use a module of weft's.
var alloyServices = map[string][]string{"fs": {"fatfs", "fdtab", "ruxfdtab"}, "net": {"socket"}}

// alloyFiles returns what the functions of a workflow file see of this machine's files. It refuses grants that belong
// to a service which the file does not list.
func alloyFiles(f *alloystack.File, path string, g *grants) ([]app.FileGrant, error) {
	for _, flag := range g.given() {
		module := "net"
		if flag == "--dir" {
			module = "fs"
		}
		if !f.Uses(module) {
			services := alloyServices[module]
			return nil, usage(fmt.Sprintf("add [%q, \"lib%s.so\"] to its services", services[0], services[0]),
				"%s grants nothing: workflow %s lists no service %s", flag, path, strings.Join(services, " or "))
		}
	}
	var files []app.FileGrant
	if f.Image != "" {
		image, err := findImage(path, f.Image)
		if err != nil {
			return nil, err
		}
		if f.Uses("fs") {
			files = append(files, app.FileGrant{Kind: app.GrantFAT, Host: image, Guest: "/"})
		}
	}
	for _, grant := range g.files {
		if len(files) > 0 && grant.Guest == "/" {
			return nil, usage("grant it as another path, such as /data", "--dir %s::/: that is where workflow %s has its fs_image", grant.Host, path)
		}
		host, err := filepath.Abs(grant.Host) // sources of functions are relative to their folder, grants to this one
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", grant.Host, err)
		}
		grant.Host = host
		files = append(files, grant)
	}
	return files, nil
}

// alloyErrors gives the errors of a workflow file the form of those of an app file.
func alloyErrors(invalid *alloystack.InvalidError) app.Errors {
	var list app.Errors
	for _, p := range invalid.Problems {
		list = append(list, &app.Error{File: invalid.File, Line: p.Line, Column: p.Column, Message: p.Message, Hint: p.Hint})
	}
	return list
}

// findFunction returns the source of a function, relative to dir, or "".
func findFunction(dir, name string) string {
	for _, base := range []string{name, strings.ReplaceAll(name, "_", "-")} {
		for _, ext := range []string{"", ".wasm", ".c", ".rs"} {
			if info, err := os.Stat(filepath.Join(dir, base+ext)); err == nil && info.IsDir() == (ext == "") {
				return base + ext
			}
		}
	}
	return ""
}

// findImage looks for the file system image of a workflow file beside it, in the folders above it, and here.
func findImage(path, image string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", image, err)
	}
	places := []string{image}
	for dir := filepath.Dir(abs); !filepath.IsAbs(image); dir = filepath.Dir(dir) {
		places = append(places, filepath.Join(dir, image))
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, p := range places {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return filepath.Abs(p)
		}
	}
	return "", usage("make one with mkfs.vfat and mcopy, or take fs_image out of the file", "workflow %s: its fs_image %s is neither here nor beside the file or above it", path, image)
}
