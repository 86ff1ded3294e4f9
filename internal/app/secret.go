package app

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// SecretRef lets a function read a secret that is set on the node, as an
// environment variable or as a file.
type SecretRef struct {
	Name string // of the secret
	Env  string // environment variable that holds it; empty: File is set
	File string // absolute, clean path of a file that holds it
	Pos  Pos
}

var (
	secretName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
)

var secretFields = []field[SecretRef]{
	{"name", func(b *builder, n *node, s *SecretRef) {
		s.Name = b.pattern(n, secretName, "a name of a-z, 0-9, -, _ and ., at most 63 long")
	}},
	{"env", func(b *builder, n *node, s *SecretRef) {
		s.Env = b.pattern(n, envName, "the name of an environment variable, such as API_KEY")
		if strings.HasPrefix(s.Env, "WEFT_") {
			b.errorf(n.at, "choose another name", "environment variables WEFT_* are set by weft")
		}
	}},
	{"file", func(b *builder, n *node, s *SecretRef) {
		const want = "an absolute path of a file, such as /secrets/cert"
		s.File = b.noNUL(n, b.text(n, want))
		if s.File == "" {
			return
		}
		if !path.IsAbs(s.File) || path.Clean(s.File) != s.File || s.File == "/" || len(s.File) > 4096 {
			b.errorf(n.at, "write it without . and .., and without / at its end", "file: want %s; found %q", want, shorten(s.File, 80))
		}
	}},
}

// secrets reads the list of a function's secrets.
func (b *builder) secrets(n *node, f *Function) {
	b.list(n, "a list such as [{name: api-key, env: API_KEY}]", func(item *node) {
		s := SecretRef{Pos: item.at.Pos}
		if !readFields(b, item, "secret of function "+f.Name, secretFields, &s) {
			return
		}
		env, file := item.get("env"), item.get("file")
		switch {
		case item.get("name") == nil:
			b.errorf(item.at, "add `name: NAME`, as `weft secret set` knows it", "secret of function %s has no name", f.Name)
		case env == nil && file == nil:
			b.errorf(item.at, "add `env: API_KEY` or `file: /secrets/NAME`", "secret %s has neither env nor file", s.Name)
		case env != nil && file != nil:
			b.errorf(file.at, "write two secrets of one name", "secret %s has both env and file", s.Name)
		}
		f.Secrets = append(f.Secrets, s)
	})
}

// checkSecrets refuses secrets in places that something else of the function
// takes, wherever in the function's mapping that is given.
func (b *builder) checkSecrets(n *node, f *Function) {
	if n == nil || n.kind != list {
		return
	}
	envs, files := map[string]bool{}, map[string]bool{}
	for _, item := range n.items {
		env, file := stringOf(item.get("env")), stringOf(item.get("file"))
		_, given := f.Env[env]
		switch {
		case env != "" && (given || envs[env]):
			b.errorf(item.get("env").at, "set it once", "environment variable %s is set twice", shorten(env, 60))
		case file != "" && (files[file] || slices.ContainsFunc(f.Files, func(g FileGrant) bool { return g.Guest == file })):
			b.errorf(item.get("file").at, "", "guest path %s is given twice", shorten(file, 60))
		}
		envs[env], files[file] = true, true
	}
}

// stringOf returns the string that a node holds; that of nil, and of any
// other value, is empty.
func stringOf(n *node) string {
	if n == nil {
		return ""
	}
	s, _ := n.scalar.(string)
	return s
}
