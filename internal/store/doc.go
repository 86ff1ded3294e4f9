// Package store is what weft keeps on disk: a transactional, ordered key-value
// store with one log.
//
//	var b store.Batch
//	b.IfAbsent(key)
//	b.Put(key, value)
//	v, err := s.Append(ctx, &b)    // all or nothing; others see it from now on
//	err = s.Durable(ctx, v)        // it survives the machine's death from now on
//
// Append and Durable are two steps so that many callers share one flush: an
// append costs microseconds, a flush of the disk milliseconds. Whoever answers
// somebody outside, a read included, first waits for the highest version that it
// has seen to be durable. A flush that fails ends the store (ErrFailed): nothing
// after it can be trusted.
//
//	store.go    the interface
//	batch.go    what is appended, and on what conditions
//	pebble/     the driver of one node: embedded, group commit
//	memory/     the driver of tests and the simulator: it can lose what was not synced
//	driver/     what drivers share: the feed of writes, leases
//	storetest/  the suite that every driver passes
package store
