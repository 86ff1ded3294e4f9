// Package domain is the node's side of running functions in sandboxes: it keeps
// domain hosts ready, compiles modules into images, gives a run its domain, and
// decides what becomes of the buffers that pass between the run's calls.
//
//	pool, err := domain.NewPool(ctx, domain.PoolOptions{Executable: exe, CacheDir: dir})
//	image, err := pool.Image(ctx, "hello.wasm")
//	d := pool.Domain(domain.Options{Run: "r-1", Done: func(r domain.Result) { … }})
//	d.Start(domain.Call{ID: 1, Function: &domain.Function{Name: "hello", Image: image}, Path: "hello"})
//
// A domain normally has one host, and then the host itself decides who gets a
// slot: a hand-over costs no message. When a second host joins (a call that has
// to run alone, the successor of a host that died), every host asks the node.
// The node made every memory file and keeps a descriptor of each, so what a
// finished call published outlives the host it was made in.
//
// Single invocations of functions, which are no part of a run, go through a Lane
// of their app version: they share its hosts, each with an instance of its own.
//
//	lane := pool.Lane(domain.LaneOptions{Version: "3f2a"})
//	reply, err := lane.Invoke(ctx, domain.Invocation{Function: f, Input: body})
//
//	pool.go      hosts: clean ones kept ready, taking and giving back
//	keep.go      how long used hosts are kept, preparation ahead of need, figures
//	host.go      one host: process and connection
//	define.go    making functions known to hosts
//	image.go     modules to images, the image cache
//	domain.go    a run's domain: what it is, its end
//	start.go     starting calls
//	calls.go     what hosts say of calls: their end, a lost host, stopping
//	slots.go     the run's buffers: supply, shared slots, reading results
//	durable.go   what outlives a call: effects, held slots, slots from outside
//	restore.go   slots of an earlier life of the run
//	memory.go    values from outside
//	lane.go      single invocations
//	instance.go  instances of services
//	expr.go      expressions
package domain
