package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// Bounds of what Fits looks at. Code that does not fit what is beyond them says so when it reads that.
const (
	fitPlaces = 200_000 // places of a service
	fitLike   = 100     // values of a field, or entries
	fitBytes  = 1 << 20 // of a field of an object, and after which an object is asked about in parts
)

// Misfit says what is stored that code does not fit, a line for each field.
type Misfit struct{ Text string }

func (e *Misfit) Error() string { return e.Text }

// Starter makes an instance, as Instances.Start does for a version of an app.
type Starter func(receive func(frame []byte), gone func(error)) (Instance, error)

// Fits asks an instance whether its code fits the state of a service, of which it looks at up to fitLike values of
// each field. The error is a *Misfit, or says why that cannot be told: limit is how long the code may take for
// an object. Where nothing is stored no instance is started.
func (s *Services) Fits(ctx context.Context, service string, start Starter, limit time.Duration) error {
	view := s.o.Store.Snapshot()
	defer view.Close()
	f := &fitting{ctx: ctx, service: service, start: start, limit: limit, seen: map[wire.Key]int{}, told: map[string]bool{}, said: make(chan *wire.Return, 1), gone: make(chan error, 1)}
	var wrong error
	places := 0
	err := view.Scan([]byte(record.Service(service)), nil, func(i store.Item) bool {
		var object string
		var k wire.Key
		if _, object, k, wrong = record.Place(string(i.Key)); wrong == nil {
			wrong = f.place(object, k, i.Value[1:])
		}
		places++
		return wrong == nil && places < fitPlaces
	})
	if err = errors.Join(err, wrong); err == nil {
		err = f.ask()
	}
	if f.instance != nil {
		f.instance.Close()
	}
	if err == nil && len(f.found) > 0 {
		err = &Misfit{strings.Join(f.found, "\n")}
	}
	return err
}

// fitting is what Fits does.
type fitting struct {
	ctx     context.Context
	service string
	start   Starter
	limit   time.Duration

	instance Instance
	said     chan *wire.Return
	gone     chan error
	calls    uint64

	object  string
	version []wire.Known // of the object, if it has one
	values  []wire.Known // what is to be asked about
	size    int          // of them, in bytes
	field   string       // the latest one
	part    int          // bytes of the field
	item    bool         // an entry of the field is to be asked about
	worth   bool         // there is something in them that not enough is known of

	seen  map[wire.Key]int // values of a field, and entries, that were asked about
	told  map[string]bool  // fields of which something is found
	found []string
}

// place takes in a place of the state; they come in the order of objects, and in that of fields.
func (f *fitting) place(object string, k wire.Key, value []byte) error {
	if object != f.object {
		if err := f.ask(); err != nil {
			return err
		}
		f.object, f.version, f.field = object, nil, ""
	}
	known := wire.Known{Key: k, Value: wire.Value{Data: append([]byte(nil), value...)}}
	if k.Field == wire.VersionField {
		f.version = []wire.Known{known}
		return nil
	}
	if k.Field != f.field {
		if f.size > fitBytes {
			if err := f.ask(); err != nil {
				return err
			}
		}
		f.field, f.part, f.item = k.Field, 0, false
	}
	like := wire.Key{Field: k.Field, Item: k.Item}
	few := f.seen[like] < fitLike && f.part+len(value) <= fitBytes
	if !few && k.Item && f.item {
		return nil
	}
	f.seen[like]++
	f.item = f.item || k.Item
	f.worth = f.worth || few
	f.part += len(value)
	f.size += len(value)
	f.values = append(f.values, known)
	return nil
}

// ask asks about the values that have come of an object.
func (f *fitting) ask() error {
	values := f.values
	worth := f.worth
	f.values, f.size, f.worth = nil, 0, false
	if !worth {
		return nil
	}
	if f.instance == nil {
		var err error
		if f.instance, err = f.start(f.receive, f.ended); err != nil {
			return fmt.Errorf("start an instance of %s: %w", f.service, err)
		}
	}
	f.calls++
	m := &wire.Start{Call: f.calls, Request: "#fits", Attempt: 1, To: wire.Target{Service: f.service, Object: f.object, Method: wire.FitMethod}, Values: append(f.version, values...)}
	if err := f.instance.Send(wire.Encode(nil, localize(m))); err != nil {
		return err
	}
	late := time.NewTimer(f.limit)
	defer late.Stop()
	for {
		select {
		case m := <-f.said:
			if m.Call == f.calls {
				f.answered(m.Value)
				return nil
			}
		case err := <-f.gone:
			return err
		case <-late.C:
			return fmt.Errorf("its code has not said within %v whether it fits what is stored", f.limit)
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// answered takes in what does not fit, each field once.
func (f *fitting) answered(v wire.Value) {
	if v.Code != wire.OK || v.Text == "" {
		return
	}
	where := wire.Target{Service: f.service[len(app(f.service)):], Object: f.object}.String()
	for line := range strings.SplitSeq(v.Text, "\n") {
		field, _, _ := strings.Cut(strings.TrimPrefix(line, "a key of "), " ")
		field, _, _ = strings.Cut(field, "[")
		if !f.told[field] {
			f.told[field] = true
			f.found = append(f.found, strings.TrimSuffix(where, ".")+": "+line)
		}
	}
}

func (f *fitting) receive(frame []byte) {
	m, err := wire.Decode(frame)
	if err != nil {
		f.ended(err)
		return
	}
	if end, ok := m.(*wire.Return); ok {
		select {
		case f.said <- end:
		default: // it answers what was not asked
		}
	}
}

func (f *fitting) ended(err error) {
	select {
	case f.gone <- errors.Join(errors.New("the instance has ended"), err):
	default:
	}
}
