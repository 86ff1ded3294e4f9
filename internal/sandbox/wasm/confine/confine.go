// Package confine puts the domain host into its sandbox.
//
// Linking it into a program has an effect: a C constructor, which runs before
// the Go runtime has started any thread, looks at argv[0]. When that is
// "weft-host" the process is a host that a node has started; the constructor
// reads its configuration from descriptor 0, leaves the file system, gives up
// every privilege and closes every descriptor but those it was given, or ends
// the process with status 96. In any other program it does nothing.
//
// main then starts the engine and calls Seccomp, which puts the filter on every
// thread. Nothing that came from a user may be touched before that.
//
//	func main() {
//		applied := confine.Applied() // for the Ready message
//		startEngine()
//		if err := confine.Seccomp(applied.Role); err != nil { … }
//		serve(os.NewFile(3, "control"))
//	}
package confine

// #cgo CFLAGS: -Wall -Wextra -O2
// #include "enter.h"
import "C"

// ExitStatus is the exit status of a host that could not confine itself. Its
// standard error says which step failed.
const ExitStatus = C.ENTER_EXIT

// Report is what the constructor did. It is part of the host's Ready message.
type Report struct {
	Host    bool   `json:"host"`    // started as a host; otherwise nothing below is set
	Role    string `json:"role"`    // "run", "compile" or "expr"
	Grants  int    `json:"grants"`  // folders that were granted at the start: descriptors 4, 5, …
	Pagemap int    `json:"pagemap"` // descriptor of /proc/self/pagemap, for PAGEMAP_SCAN; -1: none
	Steps   []Step `json:"steps"`   // in the order in which they were done
}

// Step is one step of the confinement.
type Step struct {
	Name  string `json:"name"`
	State string `json:"state"`           // "done", "skipped" (not asked for) or "failed" (and not required)
	Errno int    `json:"errno,omitempty"` // when failed
	Value int    `json:"value,omitempty"` // of landlock: the ABI that is used
}

// Applied returns what the constructor did to this process.
func Applied() Report {
	r := &C.weft_enter_result
	report := Report{
		Host:    r.host != 0,
		Role:    C.GoString(&r.role[0]),
		Grants:  int(r.grants),
		Pagemap: int(r.pagemap),
	}
	states := map[C.int]string{C.STEP_DONE: "done", C.STEP_SKIPPED: "skipped", C.STEP_FAILED: "failed"}
	for _, s := range r.step[:r.steps] {
		report.Steps = append(report.Steps, Step{
			Name:  C.GoString(s.name),
			State: states[s.state],
			Errno: int(s.err),
			Value: int(s.value),
		})
	}
	return report
}
