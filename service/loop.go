package service

import (
	"iter"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/wire"
)

// scanMax is how many entries are asked for at a time.
const scanMax = 200

// All gives the entries in the order of their keys' JSON, byte by byte: numbers as
// text. Who uses it has the map for itself until it waits: others who write entries, or
// use it too, wait.
//
// An entry comes as it is when the loop comes to it. One that the method, or what it calls, has deleted before
// does not come, one that was set has its new value, and one that was added comes if its key is after the one at which
// the loop is. No key comes twice. Where the loop waits, that goes for what others do meanwhile.
func (f *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		l := &loop{field: f.name}
		f.ctx.object() // outside of a method there is no loop
		f.ctx.loops = append(f.ctx.loops, l)
		defer func() {
			f.ctx.loops = slices.DeleteFunc(f.ctx.loops, func(other *loop) bool { return other == l })
		}()
		for {
			e, ok := l.next(f.ctx.object())
			if !ok {
				return
			}
			var k K
			var v V
			at := wire.Key{Field: f.name, Item: true, Entry: e.Text}
			f.decode(at, wire.Value{Data: []byte(e.Text)}, &k)
			f.decode(at, e, &v)
			if !yield(k, v) {
				return
			}
		}
	}
}

// loop is a loop over a map, which has read ahead.
type loop struct {
	field string
	at    string       // the entry that was given last
	ahead []wire.Value // entries behind it, in order
	whole bool         // there are no others behind those
	end   string       // otherwise: the last one that was read
	epoch int          // of the engine, when it read
}

// next is the next entry.
func (l *loop) next(e engine) (wire.Value, bool) {
	if l.epoch != e.epoch() { // something else may be there
		l.ahead, l.whole = nil, false
	}
	if len(l.ahead) == 0 && !l.whole {
		l.ahead = e.scan(l.field, l.at, scanMax)
		if l.whole = len(l.ahead) < scanMax; !l.whole {
			l.end = l.ahead[scanMax-1].Text
		}
		l.epoch = e.epoch()
	}
	if len(l.ahead) == 0 {
		return wire.Value{}, false
	}
	v := l.ahead[0]
	l.at, l.ahead = v.Text, l.ahead[1:]
	return v, true
}

// wrote takes in what the method writes.
func (l *loop) wrote(w wire.Write) {
	k := w.Key
	if k.Field != l.field || !k.Item || k.Entry <= l.at || !l.whole && k.Entry > l.end {
		return
	}
	i, found := slices.BinarySearchFunc(l.ahead, k.Entry, func(v wire.Value, entry string) int { return strings.Compare(v.Text, entry) })
	switch v := (wire.Value{Text: k.Entry, Data: w.Value}); {
	case w.Deleted && found:
		l.ahead = slices.Delete(l.ahead, i, i+1)
	case w.Deleted:
	case found:
		l.ahead[i] = v
	default:
		l.ahead = slices.Insert(l.ahead, i, v)
	}
}
