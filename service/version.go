package service

import (
	"fmt"
	"strconv"

	"github.com/weft-run/weft/internal/service/wire"
)

// State is what the code of a service knows of its state: which version of it, and how that is
// made of an earlier one. A service that never had to change what is stored has none. Generated
// code makes it of //weft:state and the method Migrate.
type State[S any] struct {
	// Version is 2 or more: what was written by code without a State is version 1. An object
	// has its version as the value [wire.VersionField].
	Version int
	// Migrate changes an object whose state has an earlier version. It is called in the first
	// method of an object that uses the state, before that does, and is a part of the same
	// segment: it has happened once or not at all. It may read and write the fields of the object, and
	// others that were there once (a Value, Map or List given to [Bind]), and
	// nothing else. An object without any state is migrated too, and keeps a version only
	// if something is written.
	Migrate func(object *S, ctx *Context, from int) error
}

// incompatible unwinds a method whose code does not fit the state: its request is not tried
// again with this version of the code.
type incompatible struct{ text string }

var versionKey = wire.Key{Field: wire.VersionField}

// edition is the version of the state of the object whose method runs.
type edition struct {
	wanted  int
	migrate func(from int) error
	looked  bool
	epoch   int  // of the engine, when it was looked at
	stored  int  // what the object has
	busy    bool // Migrate runs
}

// object is the engine, for the state of the object, which is of the version that the code
// knows.
func (c *Context) object() engine {
	if d := c.edition; d == nil || d.busy {
		if c != nil && c.engine != nil && !c.effect {
			return c.engine
		}
		return c.ask() // which says what is wrong
	}
	e := c.ask()
	c.edition.look(e)
	return e
}

// look finds out which version the object has, once until what was read may not be so any
// more, and migrates it.
func (d *edition) look(e engine) {
	if d.looked && d.epoch == e.epoch() {
		return
	}
	d.stored = 1
	if v := e.read([]wire.Key{versionKey}, false)[0]; v.Code != wire.Absent {
		n, err := strconv.Atoi(string(v.Data))
		if err != nil {
			panic(incompatible{fmt.Sprintf("the state has %q as its version, which is no number", v.Data)})
		}
		d.stored = n
	}
	switch {
	case d.stored > d.wanted:
		panic(incompatible{fmt.Sprintf("the state has version %d, and this code knows version %d: it was written by a later one", d.stored, d.wanted)})
	case d.stored < d.wanted:
		d.busy = true
		defer func() { d.busy = false }()
		from := d.stored
		if err := d.migrate(from); err != nil {
			panic(incompatible{fmt.Sprintf("migrate the state from version %d to %d: %v", from, d.wanted, err)})
		}
	}
	d.looked, d.epoch = true, e.epoch()
}

// migrates reports whether Migrate runs, which writes in methods that only read too.
func (d *edition) migrates() bool { return d != nil && d.busy }

// stamp notes the version of an object that is written.
func (d *edition) stamp(e engine) {
	if d != nil && d.stored < d.wanted {
		d.stored = d.wanted
		e.write(wire.Write{Key: versionKey, Value: strconv.AppendInt(nil, int64(d.wanted), 10)})
	}
}

// ways are what there is to do where code does not fit the state.
const ways = "Give the state a version and a Migrate, or go back to code that reads it"

// unlike says what is stored where a value of another type is expected.
func unlike(k wire.Key, data []byte, v any, err error) incompatible {
	kind := "a number"
	switch (string(data) + " ")[0] {
	case '"':
		kind = "a string"
	case '{':
		kind = "an object"
	case '[':
		kind = "a list"
	case 't', 'f':
		kind = "a boolean"
	case 'n':
		kind = "null"
	}
	return incompatible{fmt.Sprintf("%v holds %s, %.40s, where this code has a %.80s: %v. %s", k, kind, data, fmt.Sprintf("%T", v)[1:], err, ways)}
}
