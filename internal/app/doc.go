// Package app reads app files: it turns a weft.yaml into an App, with all
// that is wrong with it at once.
//
// An app is a folder with a weft.yaml that names functions (code with one
// input and one output), workflows (graphs of steps that call functions) and
// what triggers them:
//
//	name: hello
//	functions:
//	  greet: {source: ./greet}
//	workflows:
//	  main:
//	    steps:
//	      greet: {call: greet, with: {name: "${ .input.name }"}}
//
// Load reads the file of a folder, Parse a file's bytes:
//
//	a, err := app.Load("examples/hello")
//	var errs app.Errors
//	if errors.As(err, &errs) { fmt.Fprint(os.Stderr, errs) }
//
// The work is done in three passes. The first parses YAML into nodes that
// know their place (package yamlfile). The second reads nodes by tables of
// keys (the file of each object), checks every value by itself, and goes on
// after an error. The third checks what spans several values: names,
// cycles, and what an expression may refer to (names.go, expression.go).
//
// Nothing here touches the disk but Load, and the time zones of the machine
// where a trigger names one. Nothing looks at a function's source: that is
// package build.
package app
