package journal

import (
	"slices"
	"testing"
)

func TestCut(t *testing.T) {
	e := func(path string, seq uint64, what string, answered bool) Entry {
		return Entry{Path: path, Seq: seq, What: what, Answered: answered}
	}
	entries := []Entry{
		e("", 0, "", false), e("", 1, "read a", true), e("", 2, "run pay", false),
		e("", 2, "run pay", true),
		e("", 3, "timer 1s", true), e("", 4, "wait for [3]", false),
		e("", 4, "wait for [3]", true), e("", 5, "call s.m", false), e("5", 0, "", false), e("5", 1, "run x", false),
		e("5", 1, "run x", true),
		e("", 5, "call s.m", true), e("", 6, "start s.m", true), e("", 7, "wait for [6]", false), e("6", 0, "", false), e("6", 1, "promise p", true), e("6", 2, "wait for [1]", false),
		e("6", 2, "wait for [1]", true), e("", 7, "wait for [6]", true), e("", 8, "start s.n", true), e("", 9, "start s.n", true), e("", 10, "wait for [8 9]", false),
		e("", 10, "wait for [8 9]", true), e("", 11, "read b", true), e("", 12, "promise q", true), e("", 13, "wait for [12]", false),
	}
	s := Tell(entries)
	if want := []uint64{1, 3, 5, 11, 14}; !slices.Equal(s.Starts, want) {
		t.Errorf("segments begin at %v, want %v", s.Starts, want)
	}
	for from, want := range map[uint64]uint64{0: 14, 1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 10: 5, 11: 11, 13: 11, 14: 14, 99: 14} {
		left, at := s.Cut(from)
		again := Tell(left)
		if n := len(again.Paths[""]); at != want || at == 1 && left != nil || at > 1 && (n != int(at) || !slices.Equal(again.Starts, s.Starts[:slices.Index(s.Starts, at)+1])) {
			t.Errorf("cut at %d: from %d on, %v, with segments at %v", from, at, left, again.Starts)
		}
	}
	if s := Tell(nil); len(s.Starts) != 1 || len(s.Paths) != 0 {
		t.Errorf("the story of nothing is %+v", s)
	}
}
