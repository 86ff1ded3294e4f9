// Package chaos breaks a whole server, the program that people install, and
// looks at what is left; and it watches one for a long time.
//
//	report, err := chaos.Run(ctx, chaos.Options{Binary: "bin/weft", Seed: 17, For: time.Minute})
//	report, err := chaos.Soak(ctx, chaos.SoakOptions{Binary: "bin/weft", For: 10 * time.Hour})
//
// Where package sim breaks the engine between any two things that it does, in a
// world that is not real, Run breaks the real one: `weft serve` with its store on
// a disk, its sandboxes and its API is killed every other second, in its start
// and its end too, while clients deploy apps, start runs under idempotency keys,
// follow, pause, cancel, retry and signal them, and take backups. The apps are
// random workflows of package workload, so that the right output of every run is
// known.
//
// # What is checked of a life full of deaths
//
//   - A run that was accepted ends with the right output, once; its key gives
//     that run for ever. Nothing runs that nobody asked for.
//   - What somebody was told holds: an end, a cancel, a step that has finished.
//     A function that others could notice is not executed again once its step
//     was told to have finished.
//   - Every buffer that an output names can be read and holds the right bytes.
//   - A server that is told to end does so in time and in order; one that is
//     started on what a dead one has left starts.
//   - A backup, restored elsewhere, holds every run with its output.
//   - What is on disk belongs to runs; after their retention nothing is left.
//     No process, cgroup, mount, socket or temporary file outlives its server.
//
// What happens is drawn from a seed. The moments of death are as well, but what
// they hit is up to the machine: a seed gives the same apps, requests and
// schedule, not the same interleaving.
//
// process.go is a server process, apps.go makes what is deployed, chaos.go is the
// life, patron.go a client with one run, meddler.go clients without, check.go and
// remains.go look at what is left, soak.go is the long watch and sample.go what
// it measures.
package chaos
