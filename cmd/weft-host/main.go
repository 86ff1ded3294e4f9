// Command weft-host is the domain host: the confined process in which
// WebAssembly functions run. Under another name it is the warden of a function
// whose calls are processes. It is embedded in weft and started by it alone.
package main

import (
	"fmt"
	"os"
	"runtime"

	_ "github.com/weft-run/weft/internal/sandbox/process/warden" // a process started as a warden never comes to main
	"github.com/weft-run/weft/internal/sandbox/wasm"
	"github.com/weft-run/weft/internal/sandbox/wasm/confine"
)

// The first thread stays the main goroutine's: threads are named after the calls that they
// carry out, and the first one's name is the process's.
func init() { runtime.LockOSThread() }

func main() {
	applied := confine.Applied()
	if !applied.Host {
		fmt.Fprintln(os.Stderr, "weft-host is started by weft and not by hand")
		os.Exit(2)
	}
	os.Exit(wasm.Main(applied, os.NewFile(3, "control")))
}
