// Package yamlfile reads YAML files that people write, strictly: a key that is
// unknown, a value of the wrong kind or out of bounds is an error with its
// line, its column and a hint, and one error does not hide the next.
//
// A Reader turns a file into nodes that know their place, and tables of fields
// turn nodes into values:
//
//	type files struct{ cert, key string }
//	fields := []yamlfile.Field[*yamlfile.Reader, files]{
//		{Name: "cert", Read: func(r *yamlfile.Reader, n *yamlfile.Node, f *files) { f.cert = r.Text(n, "a path") }},
//		{Name: "key", Read: func(r *yamlfile.Reader, n *yamlfile.Node, f *files) { f.key = r.Text(n, "a path") }},
//	}
//	r := yamlfile.NewReader("tls.yaml", yamlfile.Form{Name: "a TLS file"})
//	var f files
//	if root := r.Document(source); root != nil {
//		yamlfile.ReadFields(r, root, "the TLS file", fields, &f)
//	}
//	err := r.Result()
//
// Every reader of a value (Text, Integer, Duration, ...) notes what is wrong
// with it and gives something to go on with. What a file means beyond single
// values is checked by whoever asked for it, and noted with Errorf.
//
// The YAML is what JSON can say, with anchors and aliases: no tags, merge
// keys, complex keys or directives, one document a file. Hostile files are
// refused before they cost much.
package yamlfile
