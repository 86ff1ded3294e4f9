// Package machine is the rules of services: exactly once, and in transactions. It is
// told what happens (Event) and says what to do (Effect), in order. It has no clock,
// goroutine, disk, socket or source of randomness.
//
//	m := machine.New(machine.Options{Catalog: apps.Method})
//	for ev := range events {
//		for _, e := range m.Apply(now(), ev) {
//			switch e := e.(type) {
//			case machine.Append: // to the store; later effects see it
//			case machine.Load:   // Loaded follows
//			case machine.Send:   // to the instance that has the execution
//			…
//			}
//		}
//	}
//
// # Words
//
// A request is a method with arguments, under an ID. It has one effect, however
// often it is sent, tried, and interrupted. Its methods run as executions (call): its
// own one, on top of that the one that this has called and waits for, and so on:
// one stack, one of which runs. Each is in an instance of its service. What it asks
// there (package wire) is carried out here.
//
// # Segments
//
// What a request does between two moments at which it waits (the result of a side
// effect, time, a promise, another request) is a segment. All executions of the
// stack share it. Its writes are in a buffer of the request, its reads see them,
// and its locks (package lock) are held to its end. At its end it is appended to the
// store as one batch:
//
//   - the values that it has written;
//   - the requests that it has begun (asynchronous, one-way, delayed), which are
//     thereby accepted: the store is the outbox;
//   - if the request goes on: its record, and its journal: what its executions have
//     asked and been answered so far;
//   - if it has ended: its result, for those who ask again, and that its record and
//     journal are gone.
//
// A request that never waits is so one append, and until then the store knows
// nothing of it: who sent it repeats it. What begins within the node does so as
// soon as the batch is appended; only what leaves the node waits for the disk:
// replies (Reply) and side effects (Send with Durable). All is in one log, so what
// was built upon something that was lost is lost with it, before anybody has seen
// it. That is why locks can be given up when a segment is appended, not when it is
// on disk, and why a chain of services costs one flush.
//
// # When an execution comes to nothing
//
// A panic, a dead instance, a time-out, and an order of waiting that could be a
// deadlock (lock.Dies) all end in unwind: the segment is forgotten, its locks
// are free, and the request's executions are given up: their numbers are never
// used again, so whatever their instances still say is about nothing. Then the
// request begins its segment again: its methods run from their beginning, and what
// they ask is answered from the journal until they are where the segment began. A
// method that asks something else than the first time is parked with the difference.
// A request that died for a lock first waits for that one, holding nothing; one that
// failed waits longer each time, and is parked after some attempts. Parked requests
// hold no lock.
//
// After a crash the machine is told of the requests in the store (Recovered) and
// does the same with them.
//
// # Transactions
//
// The segment is atomic anyway. A transaction is a part of it that can come to
// nothing while the method goes on: the buffer is cut back to where it began. It
// keeps its locks, since what it has read may have been the reason for what
// follows. Within it nothing waits, calls that are started run at once, and
// whatever fails, in whatever service, ends it as a whole: from then on every
// answer is a refusal, whether the code looks at errors or not.
//
// A method that returns an error is cut back in the same way, to where its call
// began.
//
// # Why it is right
//
// Take the segments in the order of their appends (one that has written nothing:
// when it ended). A segment reads only keys that it has locked, and its locks are
// held until it is appended: strict two-phase locking. So if two segments touch a
// key, and one writes it, the one that is appended first had given its lock up
// before the other one got it. Each segment therefore has read what the segments before it in that order
// have written, and nothing else: the outcome is that of running them one at a time
// in that order. A scan locks the shape of a map, which every writer of an entry
// shares, so nothing appears in it that was not there. A crash leaves a beginning
// of the log, thus of that order. What is not in it has not left the node, and what
// has left the node is in it: replies and side effects have waited. A snapshot (mode.go)
// stands where its view was taken. An ID is
// in the store from the batch on that has its effect, with its result or its
// journal, so the effect does not happen again while the result is kept.
//
// Every request ends: locks are granted without deadlock or starvation (package
// lock), a place among the running requests is never waited for by who holds a lock,
// a segment that takes too long is given up, and attempts are bounded.
//
// # Reading the code
//
// event.go is the vocabulary, machine.go takes events in. request.go has the life
// of a request, call.go that of an execution with its journal, question.go and
// await.go what is asked, segment.go buffers and locks, mode.go methods that only
// read, habit.go what a method is given before it asks, family.go how many requests there may
// be, cancel.go how they end before they are done, shelf.go what is not kept in memory of those
// that wait, watch.go how long methods take.
package machine
