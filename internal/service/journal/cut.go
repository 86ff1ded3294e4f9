package journal

import (
	"slices"
	"strconv"
	"strings"
)

// Story is what a request's journal has, with later entries in the places of those
// that they replace.
type Story struct {
	Paths  map[string][]Entry // by path; entry 0 is the start
	Starts []uint64           // questions of the request's own method at which a segment begins, in order; the first one is 1
}

// Tell makes a story of entries in the order in which they were written.
//
// A segment begins after a question of the request's own method that was written down
// before it had an answer, since the request has waited there, or does so, unless it was for a
// method that is part of the request: then the segment has begun within that one.
func Tell(entries []Entry) Story {
	s := Story{Paths: map[string][]Entry{}}
	waited := map[uint64]bool{}
	for _, e := range entries {
		if e.Path == "" && e.Seq > 0 && !e.Answered {
			waited[e.Seq] = true
		}
		list := s.Paths[e.Path]
		switch at := int(e.Seq); {
		case at == 0:
			list = []Entry{e}
		case at < len(list):
			list[at] = e
		case at == len(list):
			list = append(list, e)
		}
		s.Paths[e.Path] = list
	}
	s.Starts = []uint64{1}
	for _, e := range s.Paths[""] {
		if waited[e.Seq] && !s.within(e) {
			s.Starts = append(s.Starts, e.Seq+1)
		}
	}
	return s
}

// within reports whether a question was answered by a method that was part of the request.
func (s *Story) within(e Entry) bool {
	called := e.Seq
	if handles, waits := strings.CutPrefix(e.What, "wait for ["); waits {
		n, err := strconv.ParseUint(strings.TrimSuffix(handles, "]"), 10, 64)
		if err != nil { // for several: none of them is
			return false
		}
		called = n
	}
	return s.Paths[strconv.FormatUint(called, 10)] != nil
}

// Cut leaves out all from a question of the request's own method on, and, so that no
// segment is left of which a part is missing, from the beginning of the segment that
// the question is in: at. 0 is the latest segment. What is left is as Tell takes it.
func (s *Story) Cut(from uint64) (left []Entry, at uint64) {
	i, found := slices.BinarySearch(s.Starts, from)
	switch {
	case from == 0:
		i = len(s.Starts) - 1
	case !found:
		i--
	}
	if at = s.Starts[i]; at == 1 {
		return nil, 1
	}
	for _, e := range s.Paths[""][:at] { // what these have called has answered
		if e.Answered && slices.Contains(s.Starts, e.Seq+1) && e.Seq > 0 {
			left = append(left, Entry{Seq: e.Seq, What: e.What, Hash: e.Hash})
		}
		left = append(left, e)
	}
	return left, at
}
