// Package metrics counts what a node does and shows it to Prometheus.
//
// A node makes one Metrics. Engines tell it what happens in runs (it is an
// engine.Meter), the API tells it of requests, and what other parts count
// themselves is read from them when somebody scrapes, never in between:
//
//	m := metrics.New(metrics.Sources{Gate: gate.Stats, Pool: pool.Stats, Store: store.Stats, Runs: engine.Active})
//	mux.Handle("GET /metrics", m.Handler())
//	m.Invocation("shop", "resize", "200", took)
//
// # Cost
//
// The end of a call is two look-ups in maps that nobody writes to, two
// observations and one addition, without a lock or an allocation. A scrape measures
// a few sandbox processes, about a millisecond each.
//
// # Bound
//
// The values of labels are names of deployed apps, of their functions and
// workflows, routes of the API, and words of closed sets (statuses, kinds of
// failures, HTTP codes). A family of metrics knows at most NamesMax pairs of app
// and function, or app and workflow; whatever comes beyond is counted together
// under the name Other. Forget gives back the place of an app that was deleted. So
// a node shows at most
//
//	NamesMax × (buckets + what has a code or an outcome)
//
// series of each family, whatever is thrown at it; docs/metrics.md lists them.
package metrics
