package service_test

import (
	"context"
	"strings"
	"sync"
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

// hostile are instances that send frames without end as soon as they are given work.
type hostile struct{ frame func(call uint64) []byte }

func (h hostile) Start(_, _ string, receive func([]byte), gone func(error)) (service.Instance, error) {
	return &flooder{hostile: h, receive: receive, quit: make(chan struct{})}, nil
}

type flooder struct {
	hostile
	receive func([]byte)
	quit    chan struct{}
	sending sync.WaitGroup
}

func (f *flooder) Send(frame []byte) error {
	m, err := wire.Decode(frame)
	if err != nil {
		return err
	}
	if start, ok := m.(*wire.Start); ok {
		f.sending.Go(func() {
			for {
				select {
				case <-f.quit:
					return
				default:
					f.receive(f.frame(start.Call))
				}
			}
		})
	}
	return nil
}

func (f *flooder) Close() {
	close(f.quit)
	f.sending.Wait()
}

// An instance that floods the node is ended, and others are served.
func TestInstancesThatFlood(t *testing.T) {
	for words, frame := range map[string]func(call uint64) []byte{
		"executions that it does not have": func(call uint64) []byte {
			return wire.Encode(nil, &wire.Return{Question: wire.Question{Call: call + 1000, Seq: 1}})
		},
		"malformed": func(uint64) []byte { return []byte{0xff, 0xff} },
	} {
		s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: hostile{frame}, Machine: machine.Options{
			Catalog: func(string, wire.Target) error { return nil }, Backoff: time.Millisecond, Bounds: func(string, string) machine.Bounds { return machine.Bounds{Attempts: 2} },
		}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Invoke(patience(t), service.Request{To: target("a", "", "b")})
		if err != nil || v.Code != wire.Refused || !strings.Contains(v.Text, words) {
			t.Errorf("%+v, %v, want a refusal with %q", v, err, words)
		}
		if left := s.Requests(); len(left) > 0 {
			t.Errorf("requests are left: %+v", left)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// late are instances that are there when somebody says so, and counted until they are ended.
type late struct {
	servicetest.Methods
	now  chan struct{}
	left *atomic.Int64
}

func (l late) Start(name, version string, receive func([]byte), gone func(error)) (service.Instance, error) {
	<-l.now
	i, err := l.Methods.Start(name, version, receive, gone)
	l.left.Add(1)
	return lateInstance{i, l.left}, err
}

type lateInstance struct {
	service.Instance
	left *atomic.Int64
}

func (i lateInstance) Close() {
	i.Instance.Close()
	i.left.Add(-1)
}

// An instance that has come when services are closed, and that nobody has noticed yet, is ended too.
func TestInstancesThatComeAtTheEnd(t *testing.T) {
	for range 20 { // what the goroutine of the services sees first is chance
		synctest.Test(t, func(t *testing.T) {
			instances := late{servicetest.Methods{"s.m": func(*servicetest.Context) ([]byte, error) { return nil, nil }}, make(chan struct{}), &atomic.Int64{}}
			var busy atomic.Bool
			free := make(chan struct{})
			s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: instances, Now: func() time.Time {
				if busy.Load() {
					<-free
				}
				return time.Now()
			}})
			if err != nil {
				t.Fatal(err)
			}
			go s.Invoke(context.Background(), service.Request{To: target("s", "", "m")})
			synctest.Wait()
			busy.Store(true)
			s.Requests() // at the end of the turn the goroutine looks at the clock
			synctest.Wait()
			close(instances.now)
			synctest.Wait()
			busy.Store(false)
			closed := make(chan error)
			go func() { closed <- s.Close() }()
			synctest.Wait()
			close(free)
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if n := instances.left.Load(); n != 0 {
				t.Errorf("%d instances are left", n)
			}
		})
	}
}

// A method may take as long as its own service allows, whoever has called it, and no longer;
// a side effect has a time of its own.
func TestTimes(t *testing.T) {
	for _, c := range []struct {
		method string
		takes  time.Duration
		want   string
	}{
		{"ask", 5 * time.Second, ""},
		{"ask", 2 * time.Minute, "it took too long"},
		{"work", 5 * time.Second, "it took too long"},
		{"askShort", 500 * time.Millisecond, ""},
		{"askShort", 5 * time.Second, "it took too long"},
		{"askBetween", 5 * time.Second, ""},
		{"effect", 5 * time.Second, ""},
		{"effect", 2 * time.Minute, "it took too long"},
	} {
		synctest.Test(t, func(t *testing.T) {
			work := func(*servicetest.Context) ([]byte, error) { time.Sleep(c.takes); return nil, nil }
			methods := servicetest.Methods{
				"front.ask":  func(ctx *servicetest.Context) ([]byte, error) { return ctx.Call(target("slow", "", "work")) },
				"front.work": work,
				// From a service with more time one with less, which has what it calls itself.
				"front.askShort":   func(ctx *servicetest.Context) ([]byte, error) { return ctx.Call(target("slow", "", "askShort")) },
				"front.askBetween": func(ctx *servicetest.Context) ([]byte, error) { return ctx.Call(target("slow", "", "askBetween")) },
				"slow.askShort":    func(ctx *servicetest.Context) ([]byte, error) { return ctx.Call(target("front", "", "work")) },
				"slow.askBetween":  func(ctx *servicetest.Context) ([]byte, error) { return ctx.Call(target("front", "", "ask")) },
				"slow.work":        work,
				"front.effect": func(ctx *servicetest.Context) ([]byte, error) {
					return ctx.Run("work", func(string) ([]byte, error) { return work(ctx) })
				},
			}
			s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: methods, Machine: machine.Options{Attempts: 1, RunLimit: time.Minute, Bounds: func(name, _ string) machine.Bounds {
				return machine.Bounds{Limit: map[string]time.Duration{"front": time.Second, "slow": time.Minute}[name]}
			}}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			v, err := s.Invoke(context.Background(), service.Request{To: target("front", "", c.method)})
			if err != nil || (v.Code == wire.OK) != (c.want == "") || !strings.Contains(v.Text, c.want) {
				t.Errorf("%s, which takes %v: %v %s, %v", c.method, c.takes, v.Code, v.Text, err)
			}
			time.Sleep(c.takes) // until the method notices
		})
	}
}
