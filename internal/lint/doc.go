// Package lint holds the rules of the code base that a compiler does not check, as tests: go test ./internal/lint.
//
// Every rule reads parsed files and says, for each offence, where it is and why the rule exists. A rule is a function
// from a tree of files to complaints, so each has a test of its own that feeds it an offence: a rule that cannot fail
// is worth nothing.
//
// The rules: the pure packages stay pure; cgo stays where the engine is; imports run downwards; packages are named
// after a noun; nothing is left to do in comments; files have one subject and at most 600 lines.
package lint
