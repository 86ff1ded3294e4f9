package app

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Applications of mu2sls are tables: a line for each service, with its class and its
// file in Python.
//
//	Frontend,specs/frontend.py
//	UrlShortener,specs/url_shortener.py
//
// The services are called as the files are, without their _ (urlshortener), the app as the
// table. Paths begin at the table's folder, or at the nearest one above it where they lead to something.

// tableSuffix is how names of tables end.
const tableSuffix = ".csv"

var (
	className  = regexp.MustCompile(`^[\pL_][\pL\d_]*$`)
	moduleName = regexp.MustCompile(`^[\pL_][\pL\d_]*\.py$`)
)

// row is a line of a table.
type row struct {
	class, path string
	line        int
}

// loadTable reads an app that is a table.
func loadTable(file string) (*App, error) {
	src, err := yamlfile.Source(file)
	if err != nil {
		return nil, fmt.Errorf("load app %s: %w", file, err)
	}
	rows, errs := readTable(file, src)
	if len(errs) > 0 {
		return nil, errs
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("load app %s: %w", file, err)
	}
	dir := rootOf(folder, rows[0].path)
	for _, r := range rows {
		if _, err := os.Stat(filepath.Join(dir, r.path)); err != nil {
			hint := "paths begin at the table's folder, or at one above it"
			if !errors.Is(err, fs.ErrNotExist) {
				hint = err.Error()
			}
			errs = append(errs, &yamlfile.Error{File: file, Line: r.line, Column: 1, Message: fmt.Sprintf("there is no file %s", r.path), Hint: hint})
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	text := appOfTable(file, rows)
	a, err := Parse(file, text)
	if list := (Errors)(nil); errors.As(err, &list) {
		for _, e := range list {
			e.Excerpt, e.Column = "", 1
			at := e.Line - headLines - 1
			e.Line = 0
			if at >= 0 && at < len(rows) {
				e.Line = rows[at].line
			}
		}
	}
	if err != nil {
		return nil, err
	}
	a.Dir, a.Text = dir, text
	return a, nil
}

// readTable reads the lines of a table, and checks them by themselves.
func readTable(file string, src []byte) (rows []row, errs Errors) {
	fail := func(line int, hint, format string, args ...any) {
		errs = append(errs, &yamlfile.Error{File: file, Line: line, Column: min(line, 1), Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	const form = "a line is CLASS,FILE.py"
	names := map[string]int{}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(src), "\ufeff")))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	for {
		fields, err := r.Read()
		if err == io.EOF {
			break
		}
		if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
			fail(wrong.Line, form, "%v", wrong.Err)
			break
		}
		line, _ := r.FieldPos(0)
		if len(fields) != 2 {
			fail(line, form, "the line has %d fields, not 2", len(fields))
			continue
		}
		class, path := strings.TrimSpace(fields[0]), filepath.Clean(strings.TrimSpace(fields[1]))
		base := filepath.Base(path)
		name := serviceName(path)
		switch {
		case !className.MatchString(class):
			fail(line, form, "%q is not the name of a class", yamlfile.Shorten(class, 80))
		case !moduleName.MatchString(base):
			fail(line, "name the file with letters, digits and _, and .py", "%q is not a file that Python can import", yamlfile.Shorten(fields[1], 80))
		case !functionName.MatchString(name):
			fail(line, "the name of a service is that of its file, without its _", "a service cannot be called %q", yamlfile.Shorten(name, 80))
		case names[name] > 0:
			fail(line, "the name of a service is that of its file, without its _", "service %s is in line %d already", name, names[name])
		default:
			names[name] = line
			rows = append(rows, row{class, path, line})
		}
	}
	if len(rows) == 0 && len(errs) == 0 {
		fail(0, form, "the table has no service")
	}
	return rows, errs
}

// serviceName is what the service in a file is called.
func serviceName(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".py")
	return strings.ToLower(strings.ReplaceAll(base, "_", ""))
}

// rootOf is the nearest folder, beginning with dir, in which a path leads to something.
func rootOf(dir, path string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, path)); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

// headLines are the lines of an app file before its services.
const headLines = 2

// appOfTable is the app file that says the same as a table: a service in each line.
func appOfTable(file string, rows []row) []byte {
	name := strings.TrimSuffix(filepath.Base(file), tableSuffix)
	var b strings.Builder
	fmt.Fprintf(&b, "name: %q\nservices:\n", strings.ToLower(strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(name)))
	for _, r := range rows {
		module := strings.TrimSuffix(filepath.Base(r.path), ".py")
		fmt.Fprintf(&b, "  %s: {runtime: python, source: %q, handler: %q}\n", serviceName(r.path), filepath.ToSlash(r.path), module+":"+r.class)
	}
	return []byte(b.String())
}
