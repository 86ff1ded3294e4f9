// Package otlp sends the traces of runs that have ended to a collector of
// OpenTelemetry, as OTLP over HTTP in its JSON form, without any dependency.
//
//	x, err := otlp.New(otlp.Options{Endpoint: "http://localhost:4318"})
//	// … for each run that has ended:
//	x.Export(otlp.Run{ID: r.ID, App: r.App, Workflow: r.Workflow, Status: string(r.Status)}, trace, r.Traceparent)
//	// … at the end:
//	err = x.Close(ctx)
//
// # What becomes of a run
//
// A run is one span with its steps below it: a step holds its items, an item its
// attempts, an attempt the modules, puts and takes of its sandbox, and a step that
// calls a workflow the steps of that. The IDs of spans follow from the run, so the
// same run gives the same ones. A run that was started with a traceparent is a
// child of the caller's span, in the caller's trace; one whose caller does not
// record its trace (the sampled flag is off) is not sent, as is usual. Any other
// run has a trace of its own, whose ID follows from the run's.
//
// # What holds
//
// Export never waits: traces wait in a queue, and one that finds it full is
// dropped and counted. Requests hold as many spans as Options.Spans. What the
// collector cannot take now (429, 5xx, no answer) is sent again, after what
// Retry-After says or ever longer pauses, until Options.Patience is over. Nothing
// of this is durable: a trace is no promise of weft's, a run is.
//
// Files:
//
//	exporter.go  the queue and its goroutine
//	send.go      requests and when to repeat them
//	spans.go     spans of a run as OTLP has them
//	wire.go      the JSON form
package otlp
