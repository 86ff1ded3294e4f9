package services

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/report"
	"github.com/weft-run/weft/internal/client"
)

// application is an application of services: what clients ask of it, and what shows that it has happened.
type application struct {
	name  string    // its folder in examples/services
	rates []float64 // of the open loop, if the options have none

	populate func(ctx context.Context, a *served) error                   // makes what requests read; nil: there is nothing
	ask      func(r *rand.Rand) (method, args string)                     // a request: SERVICE[/OBJECT]/METHOD, and a JSON list
	right    func(body []byte) bool                                       // whether an answer is one
	effects  func(ctx context.Context, a *served) (map[string]int, error) // how many requests each trace of them tells of
	onOneKey func(r *rand.Rand) (method, args string)                     // a request whose lock all others want too; nil: it is not asked
}

// As many as the load scripts of mu2sls have: keys, users, titles and places.
const (
	keyCount   = 1000
	userCount  = 100
	titleCount = 1000
	placeCount = 100
	// capacity is how many rooms and seats there are of each: more than requests.
	capacity = 1_000_000
)

// applications are the applications of the experiments on services.
func applications() []application {
	key := func(r *rand.Rand) string { return "key-" + strconv.Itoa(r.IntN(keyCount)) }
	isNumber := func(body []byte) bool { return len(body) > 0 && body[0] >= '1' && body[0] <= '9' }
	return []application{
		{
			name: "counter", rates: []float64{250, 500, 1000, 2000, 4000},
			ask:      func(r *rand.Rand) (string, string) { return "counter/" + key(r) + "/add", "[1]" },
			right:    isNumber,
			effects:  sums("counter"),
			onOneKey: func(*rand.Rand) (string, string) { return "counter/one/add", "[1]" },
		}, {
			name: "chain", rates: []float64{250, 500, 1000, 2000},
			ask:     func(r *rand.Rand) (string, string) { return "caller1/hit", `["` + key(r) + `"]` },
			right:   isNumber,
			effects: sums("backend"),
		}, {
			name: "tree", rates: []float64{250, 500, 1000, 2000},
			ask:      func(r *rand.Rand) (string, string) { return "root/hit", `["` + key(r) + `"]` },
			right:    func(body []byte) bool { return len(body) > 0 && body[0] == '[' },
			effects:  sums("left", "right"),
			onOneKey: func(*rand.Rand) (string, string) { return "root/hit", `["one"]` },
		}, {
			name: "media", rates: []float64{100, 200, 400, 800},
			populate: func(ctx context.Context, a *served) error {
				if err := a.call(ctx, "user", "register", names("user", userCount)); err != nil {
					return err
				}
				return a.call(ctx, "movie-id", "register", names("movie", titleCount))
			},
			ask: func(r *rand.Rand) (string, string) {
				return "frontend/compose", fmt.Sprintf(`["user-%d", "movie-%d", %d, %q]`, r.IntN(userCount), r.IntN(titleCount), 1+r.IntN(10), reviewText)
			},
			right:   func(body []byte) bool { return len(body) == 38 && body[0] == '"' }, // a UUID
			effects: reviews,
		}, {
			name: "hotel", rates: []float64{125, 250, 500, 1000},
			populate: func(ctx context.Context, a *served) error {
				if err := a.call(ctx, "hotel", "add", names("hotel", placeCount), capacity); err != nil {
					return err
				}
				return a.call(ctx, "flight", "add", names("flight", placeCount), capacity)
			},
			ask: func(r *rand.Rand) (string, string) {
				return "frontend/reserve", fmt.Sprintf(`["user-%d", "hotel-%d", "flight-%d"]`, r.IntN(userCount), r.IntN(placeCount), r.IntN(placeCount))
			},
			right:   func(body []byte) bool { return strings.Contains(string(body), "Order Successful") },
			effects: bookings,
		},
	}
}

// reviewText is what every review says: 256 characters, as those of mu2sls have.
var reviewText = strings.Repeat("It is a classic of its kind. ", 9)[:256]

// names are NAME-0, NAME-1, …
func names(name string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = name + "-" + strconv.Itoa(i)
	}
	return out
}

// sums are the sums of all values of services that count.
func sums(services ...string) func(context.Context, *served) (map[string]int, error) {
	return func(ctx context.Context, a *served) (map[string]int, error) {
		out := map[string]int{}
		for _, s := range services {
			n := 0
			if err := a.state(ctx, s, func(p wire.Place) error {
				one, err := strconv.Atoi(string(p.Value))
				n += one
				return err
			}); err != nil {
				return nil, err
			}
			out["counted by "+s] = n
		}
		return out, nil
	}
}

// reviews are those that are stored; drafts that are left are missing ones.
func reviews(ctx context.Context, a *served) (map[string]int, error) {
	out := map[string]int{}
	for _, c := range []struct {
		service string
		add     int
	}{{"review-storage", 1}, {"compose-review", -1}} {
		if err := a.state(ctx, c.service, func(p wire.Place) error {
			if p.Entry != nil {
				out["reviews"] += c.add
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, service := range []string{"user-review", "movie-review"} {
		if err := a.state(ctx, service, func(p wire.Place) error {
			var id string
			if json.Unmarshal(p.Value, &id) == nil {
				out["reviews by "+service]++
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// bookings are the orders, and the rooms and seats that are gone.
func bookings(ctx context.Context, a *served) (map[string]int, error) {
	left, err := sums("hotel", "flight")(ctx, a)
	if err != nil {
		return nil, err
	}
	out := map[string]int{"orders": 0}
	for name, n := range left {
		out["gone, "+name] = placeCount*capacity - n
	}
	return out, a.state(ctx, "order", func(p wire.Place) error {
		if p.Entry != nil {
			out["orders"]++
		}
		return nil
	})
}

// served is an application on a server, in one language and configuration.
type served struct {
	application
	variant string
	changed bool   // it is not as the example has it
	deploys string // the app's name there
	server  *lab.Server
	random  *rand.Rand
	noise   *disturbances
	curve   *report.Curve

	answered int // requests that have had an answer which is right
	refused  int // and that the server had no room for
	buffer   []byte
}

// call calls a method.
func (a *served) call(ctx context.Context, service, method string, args ...any) error {
	q := client.ServiceCall{Target: wire.Target{App: a.deploys, Service: service, Method: method}}
	for _, v := range args {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		q.Args = append(q.Args, text)
	}
	_, err := a.server.Client.CallService(ctx, q)
	return err
}

// state visits all of a service's state.
func (a *served) state(ctx context.Context, service string, visit func(wire.Place) error) error {
	q := client.StateQuery{App: a.deploys, Service: service, Limit: 1000}
	for {
		page, err := a.server.Client.State(ctx, q)
		if err != nil {
			return err
		}
		for _, p := range page.Items {
			if err := visit(p); err != nil {
				return fmt.Errorf("state of %s at %s: %w", service, p.Field, err)
			}
		}
		if page.Next == "" {
			return nil
		}
		q.After = page.Next
	}
}
