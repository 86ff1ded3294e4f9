// Package buffer holds the values that the steps of a run hand to each other, and hands them over without copying.
//
// A value lives in a [Segment]: one memfd of a fixed size. The node makes every segment, ahead of need ([Supply]),
// and sends its descriptor to a domain host, which checks it ([Adopt]) and places it in a sandbox's linear memory
// as a window:
//
//	MapWritable   the producer fills it in place
//	Freeze        the producer publishes: its range becomes a private view of the same pages
//	MapView       a consumer sees the same pages; what it writes goes to private copies
//	Clear         the range becomes ordinary zero memory again
//
// Inside one host segments stay resident and are used again after the last release ([Arena]). A segment that is to
// leave its producer's host is sealed first ([Segment.Seal]): from then on nobody can write to it, so a reader need
// not trust the producer.
//
// A [Table] says which values a run has: names, types, who published what, who consumed what, what a failed attempt
// takes back, who waits for whom, and how many bytes the run holds. It is pure: no clock, no goroutine, no
// descriptor is touched by it. It counts holders of bytes and tells its caller which of them can be let go.
//
//	t := buffer.NewTable(quota)
//	mapper := buffer.Attempt{Path: "map[2]", Number: 1}
//	err := t.Put(mapper, "part-0", buffer.Value{Holder: segment, Len: n})
//	ready, err := t.Commit(mapper)                       // now others see "map[2]/part-0"
//	v, err := t.Take(reducer, "map[2]/part-0", 0)
//	for _, h := range t.Released() { ... }               // bytes that nobody holds any longer
//
// [Folder] holds the same values as files: the baseline that passing by reference is measured against.
package buffer
