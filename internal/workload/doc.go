// Package workload makes apps of random workflows whose results are known, for
// tests that break what runs them.
//
//	file := workload.File(rng, workload.Options{App: "chaos", Functions: attributes})   // a weft.yaml
//	a, err := app.Parse("weft.yaml", file)
//	want, err := workload.Reference(a, "w0", id, input, evaluate)
//
// What a function gives follows from its input, the step that calls it and the
// attempt alone (Compute), so the output of a run follows from its workflow and
// its input, however often calls were interrupted. The simulator computes its
// functions here; programs that do the same are in the tests of package chaos.
//
// generate.go makes workflows, function.go is what functions do, reference.go
// what a run gives when nothing goes wrong.
package workload
