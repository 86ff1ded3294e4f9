package app

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/yamlfile"
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
	secretName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
)

var secretFields = []field[SecretRef]{
	{Name: "name", Read: func(b *builder, n *node, s *SecretRef) {
		s.Name = b.Pattern(n, secretName, "a name of letters, digits, -, _ and ., at most 64 long")
	}},
	{Name: "env", Read: func(b *builder, n *node, s *SecretRef) {
		s.Env = b.Pattern(n, envName, "the name of an environment variable, such as API_KEY")
		if strings.HasPrefix(s.Env, "WEFT_") {
			b.Errorf(n.At, "choose another name", "environment variables WEFT_* are set by weft")
		}
	}},
	{Name: "file", Read: func(b *builder, n *node, s *SecretRef) {
		const want = "an absolute path of a file, such as /secrets/cert"
		s.File = b.noNUL(n, b.Text(n, want))
		if s.File == "" {
			return
		}
		if !path.IsAbs(s.File) || path.Clean(s.File) != s.File || s.File == "/" || len(s.File) > 4096 {
			b.Errorf(n.At, "write it without . and .., and without / at its end", "file: want %s; found %q", want, yamlfile.Shorten(s.File, 80))
		}
	}},
}

// secrets reads the list of a function's secrets.
func (b *builder) secrets(n *node, f *Function) {
	b.List(n, "a list such as [{name: api-key, env: API_KEY}]", func(item *node) {
		s := SecretRef{Pos: item.At.Pos}
		if !yamlfile.ReadFields(b, item, "secret of function "+f.Name, secretFields, &s) {
			return
		}
		env, file := item.Get("env"), item.Get("file")
		switch {
		case item.Get("name") == nil:
			b.Errorf(item.At, "add `name: NAME`, as `weft secret set` knows it", "secret of function %s has no name", f.Name)
		case env == nil && file == nil:
			b.Errorf(item.At, "add `env: API_KEY` or `file: /secrets/NAME`", "secret %s has neither env nor file", s.Name)
		case env != nil && file != nil:
			b.Errorf(file.At, "write two secrets of one name", "secret %s has both env and file", s.Name)
		}
		f.Secrets = append(f.Secrets, s)
	})
}

// checkSecrets refuses secrets in places that something else of the function
// takes, wherever in the function's mapping that is given.
func (b *builder) checkSecrets(n *node, f *Function) {
	if n == nil || n.Kind != yamlfile.List {
		return
	}
	envs, files := map[string]bool{}, map[string]bool{}
	for _, item := range n.Items {
		env, file := item.Get("env").Text(), item.Get("file").Text()
		_, given := f.Env[env]
		switch {
		case env != "" && (given || envs[env]):
			b.Errorf(item.Get("env").At, "set it once", "environment variable %s is set twice", yamlfile.Shorten(env, 60))
		case file != "" && (files[file] || slices.ContainsFunc(f.Files, func(g FileGrant) bool { return g.Guest == file })):
			b.Errorf(item.Get("file").At, "", "guest path %s is given twice", yamlfile.Shorten(file, 60))
		}
		envs[env], files[file] = true, true
	}
}
