package service_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store/memory"
)

// Requests that wait keep their instances until memory is short; then they go on without.
func TestWaitingWhereMemoryIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		methods := servicetest.Methods{"s.wait": func(c *servicetest.Context) ([]byte, error) {
			values, err := c.Await(c.Promise("go"))
			if err != nil {
				return nil, err
			}
			return values[0].Data, nil
		}}
		var short atomic.Bool
		s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: methods, Keep: func(string) bool { return !short.Load() }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		keys := []string{"a", "b", "c"}
		for _, key := range keys {
			if _, v, err := s.Accept(t.Context(), service.Request{To: target("s", "", "wait"), Key: key}); err != nil || v.Code != wire.OK {
				t.Fatal(v, err)
			}
		}
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Busy != 3 || st.Requests[machine.Waiting] != 3 {
			t.Errorf("%d instances, %v", st.Busy, st.Requests)
		}
		short.Store(true)
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Busy+st.Idle != 0 || st.Requests[machine.Waiting] != 3 {
			t.Errorf("memory is short: %d instances with a request, %d without, %v", st.Busy, st.Idle, st.Requests)
		}
		for _, key := range keys {
			if err := s.Resolve(t.Context(), "s:"+key, "go", wire.Value{Data: []byte(key)}); err != nil {
				t.Error(err)
			}
			if v, err := s.Invoke(t.Context(), service.Request{To: target("s", "", "wait"), Key: key}); err != nil || string(v.Data) != key {
				t.Errorf("%s: %+v, %v", key, v, err)
			}
		}
	})
}

// The result of what a request has begun is there when it is asked for, though its own retention is over
// and the node was opened again in between; later it is forgotten.
func TestResultsThatAreAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		methods := servicetest.Methods{
			"s.part": func(c *servicetest.Context) ([]byte, error) { return []byte("part"), c.Sleep(time.Second) },
			"s.all": func(c *servicetest.Context) ([]byte, error) {
				part := c.Go(target("s", "", "part"))
				values, err := c.Await(part, c.Promise("go"))
				if err != nil {
					return nil, err
				}
				return values[0].Data, nil
			},
		}
		db := memory.New(memory.Options{})
		open := func() *service.Services {
			s, err := service.Open(service.Options{Store: db, Instances: methods, Machine: machine.Options{Retention: time.Minute}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open()
		r := service.Request{To: target("s", "", "all"), Key: "k"}
		if _, _, err := s.Accept(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(24 * time.Hour)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
		}
		defer func() { s.Close() }()
		if err := s.Resolve(t.Context(), "s:k", "go", wire.Value{}); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Invoke(context.Background(), r); err != nil || string(v.Data) != "part" {
			t.Errorf("%+v, %v", v, err)
		}
		time.Sleep(3 * time.Hour)
		if n := count(t, db, "svc/"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
}
