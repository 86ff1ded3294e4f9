package service_test

import (
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/store/memory"
)

// told is a meter.
type told struct {
	mu    sync.Mutex
	ended map[string]int // guarded by mu
}

func (m *told) ServiceRequest(app, service, method, outcome string, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if took < 0 {
		outcome = "before it began"
	}
	m.ended[app+"/"+service+"."+method+" "+outcome]++
}

// Each figure moves by what it is about.
func TestStatsMove(t *testing.T) {
	d := &desk{keys: map[string]int{}}
	methods := d.methods()
	for name, m := range bank() {
		methods[name] = m
		methods["shop."+name] = m
	}
	meter := &told{ended: map[string]int{}}
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: methods, Meter: meter, Machine: machine.Options{Backoff: time.Millisecond, Attempts: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	invoke(t, s, target("shop.account", "a", "put"), bytesOf(1))
	invoke(t, s, target("shop.account", "a", "take"), bytesOf(9)) // fails
	if st := s.Stats(); st.Held != 2 || st.Flushes < 1 || st.Appends != 1 || st.Busy != 0 || st.Idle == 0 || st.Journal != 0 {
		t.Errorf("after a request that has written and one that has not: %+v", st)
	}
	id, _, err := s.Accept(patience(t), service.Request{To: target("desk", "", "fail")})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s, id, machine.Parked)
	if st := s.Stats(); st.Retries != 1 || st.Parked != 1 || st.Journal == 0 || st.Requests[machine.Parked] != 1 {
		t.Errorf("after a request that is parked at its second attempt: %+v", st)
	}
	if err := s.Cancel(patience(t), id, ""); err != nil {
		t.Fatal(err)
	}
	invoke(t, s, target("account", "c", "put"), bytesOf(1000))
	for range 20 { // until two have met
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					invoke(t, s, target("teller", "", "move"), []byte("c"), []byte("d"), bytesOf(1))
					invoke(t, s, target("teller", "", "move"), []byte("d"), []byte("c"), bytesOf(1))
				}
			})
		}
		wg.Wait()
		if st := s.Stats(); st.LockWaits > 0 && st.Deaths > 0 {
			break
		}
	}
	if st := s.Stats(); st.LockWaits == 0 || st.Deaths == 0 {
		t.Errorf("requests for two keys in both orders: %+v", st)
	}
	meter.mu.Lock()
	defer meter.mu.Unlock()
	for what, n := range map[string]int{"shop/account.put ok": 1, "shop/account.take failed": 1, "/desk.fail cancelled": 1} {
		if meter.ended[what] != n {
			t.Errorf("%s: %d, want %d; all: %v", what, meter.ended[what], n, meter.ended)
		}
	}
	if n := meter.ended["/teller.move ok"]; n == 0 || n%320 != 0 {
		t.Errorf("%d moves have ended", n)
	}
}

// With tracing on, who hears of a request's end hears of the methods that it consists of.
func TestEndedTellsOfCalls(t *testing.T) {
	methods := bank()
	var mu sync.Mutex
	var ended []machine.Ended
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: methods, Machine: machine.Options{Trace: true}, Ended: func(e machine.Ended) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	invoke(t, s, target("account", "a", "put"), bytesOf(5))
	invoke(t, s, target("teller", "", "move"), []byte("a"), []byte("b"), bytesOf(2))
	invoke(t, s, target("teller", "", "move"), []byte("a"), []byte("b"), bytesOf(9))
	mu.Lock()
	defer mu.Unlock()
	if len(ended) != 3 || len(ended[0].Calls) != 0 || ended[0].Outcome != "ok" || ended[0].To != target("account", "a", "put") {
		t.Fatalf("told of %+v", ended)
	}
	moved, failed := ended[1], ended[2]
	if len(moved.Calls) != 2 || moved.Calls[0].To != target("account", "a", "take") || moved.Calls[0].Path != "2" || moved.Calls[1].Path != "3" || moved.Calls[1].From < moved.Calls[0].Until || moved.Calls[1].Until > moved.Until {
		t.Errorf("a move: %+v", moved)
	}
	if failed.Outcome != "failed" || failed.Why == "" || len(failed.Calls) != 1 || failed.Calls[0].Failed != "insufficient funds" {
		t.Errorf("a move that fails: %+v", failed)
	}
}
