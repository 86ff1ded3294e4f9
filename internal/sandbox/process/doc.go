// Package process runs functions that are ordinary programs: executables
// ("native") and Python, each call in a process of its own.
//
//	pool, err := process.New(process.Options{Spawner: spawner})
//	f := &process.Function{Name: "hello", Version: "3f2a", Runtime: process.Python, Dir: dir, Module: "hello"}
//	if err := pool.Prepare(ctx, f); err != nil { … }      // optional: the first Start does it too
//	p, err := pool.Start(ctx, process.Call{Function: f, Input: []byte(`{"n": 1}`)})
//	r := p.Wait()                                         // r.Output, r.Failure
//
// A version of a function has a fork server: a confined process tree whose file
// tree is the function's folder, its layers and what it was granted, read-only,
// beside the host's libraries or a root folder of its own. For Python it has
// imported the function's module already. A call is a fork of it, in fresh pid,
// mount, ipc and network namespaces, in a cgroup of its own, without any
// capability and behind a list of allowed system calls. When Wait returns,
// nothing of the call is left.
//
// Functions in Python of one family, such as an app, have a parent: a process
// that has imported what several of them import, from which their fork servers
// are forked, each into its own namespaces.
//
// A function may be resident: workers, which are processes like those of calls,
// serve its calls one after another, or as an ASGI application many at a time.
// Then its calls share memory, and take 0.1 ms instead of 2. Native workers are
// programs with the Go or C SDK, which speak the same protocol (resident.go).
//
// The C part is in package warden, which the host executable links; the Python
// part is the folder python and the module weft of sdk/python.
//
// What is trusted: the kernel, the node, the warden. Code of users is not, and
// the walls around a version hold whatever it does. What a call does cannot
// reach other calls; what the module does while it is imported, before it has
// seen any input, can shape all calls of its version, as code can anyway.
//
//	function.go  what a function and its limits are
//	pool.go      fork servers: kept, reused, ended
//	server.go    one fork server and its connection
//	parent.go    what fork servers of one family have in common
//	call.go      starting calls
//	process.go   a call that runs, and how it ended
//	resident.go  workers: processes that serve many calls
//	http.go      requests for applications
//	slots.go     the control socket of a call: buffers without a copy
//	tree.go      the file tree of a version, its configuration
//	python.go    the interpreter
//	filter.go    allowed system calls
//	wire.go      messages to and from the warden
package process
