// Package engine keeps the runs of a node: it accepts them, drives their state
// machines (flow.Machine), has their calls carried out in sandboxes, and makes
// them survive the node's death.
//
//	e := engine.New(engine.Options{World: engine.Real, Store: db, Blobs: folder, Catalog: apps, Sandboxes: pool, Speculate: true})
//	err := e.Recover()                       // the runs of an earlier life go on
//	run, existed, err := e.Start(ctx, engine.StartRequest{App: "shop", Workflow: "order", Input: in, Key: "order-17"})
//	run, err = e.Wait(ctx, run.ID)
//	err = e.Close()
//
// # How a run survives
//
// Every event of a run (flow.Event) is a line of its journal. Lines are
// appended to the store in the order in which they happened, those of one turn
// as one batch, and many runs share one flush. After a crash the journal is
// applied to a new machine, and the commands without an answer are carried out
// again, under the same idempotency keys.
//
// Nothing leaves before what explains it is on disk: not the answer that a run
// was accepted, not its end, not a notice to who watches it, and not the start
// of a call that somebody outside could notice. A function without connections
// and writable files cannot be noticed, so it starts at once (Speculate): if the
// node dies before the cause is on disk, nobody has seen that it ran.
//
// What a call has published is on disk before the line that says so, in a blob
// if it is large, so a step that counts as finished has its buffers.
//
// Lines that nobody waits for are flushed a few milliseconds later (Options.Lag),
// together with those of other runs: that much of its latest work a run may do once
// more after a kill.
//
// A store that fails ends the engine: nothing after it can be trusted.
//
// # How it is built
//
// A run is an actor. What happens to it (a call has ended, a timer has fired,
// somebody asks) is posted to its mailbox and handled one at a time, so its
// state needs no lock. Time, chance and concurrency come from World, sandboxes,
// store and disk from interfaces: package sim runs this package in one event
// loop, kills it at any point, and looks at what is left.
//
//	world.go    what an engine needs of the world
//	engine.go   accepting runs, starting and stopping the engine
//	mailbox.go  one thing at a time
//	run.go      a run: events in, commands out, its end
//	call.go     a call on its way to a sandbox and back
//	park.go     runs that wait do without sandboxes
//	output.go   what a function has written becomes a value
//	journal.go  lines on their way to the store
//	keep.go     buffers that have to outlive the node
//	record.go   what is in the store
//	revive.go   runs of an earlier life
//	control.go  cancel, pause, resume, signal, retry
//	read.go     get, list, wait, open a buffer
//	watch.go    notices and traces from journals
//	spans.go    traces and observers of runs under way
//	expire.go   forgetting
//	execute.go  a run for a caller in this process
package engine
