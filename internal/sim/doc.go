// Package sim runs the engine of a node, the very code that runs in production,
// in one event loop with a simulated clock, simulated sandboxes and a disk that
// forgets what was not synced, and breaks it wherever a seed says: the node is
// killed between any two things that it does, appends and writes fail, functions
// fail, hosts are lost.
//
//	err := sim.Run(sim.Options{Seed: 17})
//
// Everything that happens follows from the seed, so a seed that fails does so
// again:
//
//	go test ./internal/sim -run TestSeeds -v -args -seed 17
//
// # What is checked
//
//   - a run that was accepted ends, with the output that a failure-free execution
//     of its workflow has (workload.Reference), however often the node died;
//   - a call whose end is on disk is never made again;
//   - a call that somebody outside could notice is made only when everything that
//     it follows from is on disk;
//   - an answer that was given (accepted, ended, changed) holds after a crash;
//   - a request that is repeated under its idempotency key gives the same run;
//   - nothing is left: no domain, no blob but those that outputs name, and after
//     the retention nothing at all.
//
// loop.go is time and concurrency, sandbox.go where functions run, disk.go the blobs,
// workload.go has package workload make the app, sim.go is the life
// and death of a node.
package sim
