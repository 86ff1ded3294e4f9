// Package warden is the C side of process sandboxes: what runs between the node
// and the programs of users.
//
// Linking it into a program has an effect: a constructor, which runs before the
// Go runtime starts and while the process has one thread, looks at argv[0]. When
// that is "weft-warden" the process serves one version of a function, and never
// comes to main. In any other program it does nothing.
//
//	keeper   started by the node: file tree, ids, user namespace
//	 └ warden   first process of the version's pid namespace; takes messages of the node
//	    ├ server   only for interpreters: has imported the function, and forks
//	    ├ shell    one per call: its namespaces and their init process
//	    └ program  one per call: forked into the shell's namespaces, by the warden
//	               (and then executed) or by the server
//
// The messages are in warden.h, and in Go in package process.
package warden

// #cgo CFLAGS: -Wall -Wextra -O2
// #include "warden.h"
import "C"

// ExitStatus is the exit status of a warden that could not set itself up; its
// standard error says why.
const ExitStatus = C.WARDEN_EXIT
