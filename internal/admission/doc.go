// Package admission decides which calls may run now, which wait, and which are
// refused, so that a node does not begin more than its memory holds and one app
// does not take another's turn.
//
//	gate := admission.New(admission.Options{Memory: 8 << 30})
//	leave, err := gate.Enter(ctx, admission.Demand{App: "shop", Function: "resize", Memory: 256 << 20, Max: 8, Queue: 100})
//	if full := (*admission.ErrFull)(nil); errors.As(err, &full) {
//		// answer 429 with Retry-After: full.RetryAfter
//	}
//	defer leave()
//
// A call enters when its function, its app and the node all have room for it.
// One that finds no room waits behind the others of its function, unless too
// many do. When room comes, apps take turns, and within an app its functions.
//
// Memory is what functions declare. A call that does not fit may be passed by
// smaller ones a few times (Options.Passes); from then on memory that becomes free
// is kept until it fits, so large calls do not starve.
//
//	policy.go  the rules: pure, single-threaded, without a clock
//	gate.go    the same for many goroutines, with time
//
// docs/admission.md says the rules with an example.
package admission
