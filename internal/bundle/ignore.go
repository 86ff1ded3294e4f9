package bundle

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// IgnoreName is the file of an app's folder that says what is not deployed: one
// pattern a line, as path.Match has them. One with a slash is matched against
// the whole path, others against every name; one that ends in a slash matches
// folders only. Empty lines and those that begin with # say nothing.
const IgnoreName = ".weftignore"

// ignore is what such a file says.
type ignore []string

// always is what no app wants to bring along.
var always = ignore{".git/", ".DS_Store"}

func readIgnore(dir string) (ignore, error) {
	f, err := os.Open(filepath.Join(dir, IgnoreName))
	if errors.Is(err, fs.ErrNotExist) {
		return always, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := always[:len(always):len(always)]
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := path.Match(line, ""); err != nil {
			return nil, fmt.Errorf("%s:%d: %q is not a pattern: %w", IgnoreName, n, line, err)
		}
		list = append(list, line)
	}
	return list, sc.Err()
}

// match reports whether a file or folder is left out, by its path in the app's
// folder.
func (i ignore) match(name string, dir bool) bool {
	for _, p := range i {
		p, folder := strings.CutSuffix(p, "/")
		if folder && !dir {
			continue
		}
		against := path.Base(name)
		if strings.Contains(p, "/") {
			p, against = strings.TrimPrefix(p, "/"), name
		}
		if ok, _ := path.Match(p, against); ok { // readIgnore has tried the pattern
			return true
		}
	}
	return false
}
