package app

import (
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/yamlfile"
)

// What a function in Python serves besides calls: requests, as an application of
// a standard interface.
const (
	ServesWSGI = "wsgi"
	ServesASGI = "asgi"
)

// Bounds of functions in Python.
const (
	maxWorkers      = 1000
	maxRequirements = 1000
)

// Requirements are the packages that a function in Python needs: a file, or a
// list.
type Requirements struct {
	File  string   // as pip reads it; relative to the app's folder
	Lines []string // one requirement each

	// Of a deployed app: what the lock knows them by, and the folder with the
	// wheels that came along.
	Digest, Wheels string
}

// IsZero reports whether nothing is required.
func (r Requirements) IsZero() bool { return r.File == "" && len(r.Lines) == 0 }

// pythonFields are the keys that only functions in Python have, but for resident
// and workers, which native ones have too.
var pythonFields = []field[Function]{
	{Name: "requirements", Read: func(b *builder, n *node, f *Function) {
		if n.Kind == yamlfile.String {
			f.Requirements.File = b.noNUL(n, b.Text(n, "a file or a list of requirements"))
			if f.Requirements.File != "" && !filepath.IsLocal(f.Requirements.File) {
				b.Errorf(n.At, "a requirements file is in the app's folder", "requirements: %q leads out of the app", yamlfile.Shorten(f.Requirements.File, 80))
			}
			return
		}
		b.List(n, "a file or a list of requirements", func(item *node) {
			line := b.noNUL(item, b.Text(item, `a requirement, such as "requests==2.32.3"`))
			if strings.ContainsAny(line, "\r\n") {
				b.Errorf(item.At, "give each an entry of its own", "a requirement is one line")
			}
			f.Requirements.Lines = append(f.Requirements.Lines, line)
		})
		if len(f.Requirements.Lines) > maxRequirements {
			b.Errorf(n.At, "use a requirements file", "more than %d requirements", maxRequirements)
		}
	}},
	{Name: "serves", Read: func(b *builder, n *node, f *Function) {
		f.Serves = b.Choice(n, "serves", ServesWSGI, ServesASGI)
	}},
	{Name: "resident", Read: func(b *builder, n *node, f *Function) { f.Resident = b.Boolean(n) }},
	{Name: "workers", Read: func(b *builder, n *node, f *Function) { f.Workers = b.Integer(n, 1, maxWorkers) }},
}

// checkPython reports keys that only functions in Python have, and those of them
// that say nothing.
func (b *builder) checkPython(e entry, f *Function) {
	for _, k := range pythonFields {
		n, whose := e.Value.Get(k.Name), "python"
		if k.Name == "resident" || k.Name == "workers" {
			whose = "python or native"
		}
		if n != nil && f.Runtime != RuntimePython && !strings.HasSuffix(whose, f.Runtime) {
			b.Errorf(n.At, "remove it, or say `runtime: python`", "%s is for runtime %s; function %s is %s", k.Name, whose, f.Name, f.Runtime)
		}
	}
	if n := e.Value.Get("workers"); n != nil && !f.Resident && f.Serves == "" {
		b.Errorf(n.At, "add `resident: true` or `serves: wsgi`", "workers are for functions that stay; each call of %s is a process of its own", f.Name)
	}
}
