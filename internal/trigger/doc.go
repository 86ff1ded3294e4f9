// Package trigger decides what starts a run: a request of HTTP, a time, or an
// event.
//
//	routes, err := trigger.NewRoutes([]trigger.Route{{Method: "POST", Path: "/orders/{id}", Index: 0}})
//	index, params, ok, allowed := routes.Match("POST", "/orders/17")   // 0, {"id": "17"}, true
//
//	cron, err := trigger.NewCron(trigger.Options{Store: s, Start: start, Running: running})
//	err = cron.Set(ctx, "shop", []trigger.Job{{Name: "nightly", Schedule: trigger.Schedule{Expr: "0 3 * * *", Zone: berlin}}})
//	err = cron.Run(ctx)                                                // until ctx ends
//
//	events, err := trigger.Decode(req.Header, req.Body, 1<<20)         // CloudEvents 1.0
//	if trigger.MatchType("order.*", events[0].Type) { … }
//
// What it starts is its caller's business: the package knows neither workflows
// nor the app file.
//
//	routes.go      methods and paths
//	schedule.go    when an expression is due, in a time zone
//	job.go         jobs, and which of the times that are due start a run: pure
//	cron.go        the jobs that are set, by app
//	run.go         jobs started at their times, through crashes
//	record.go      what is stored of a job
//	cloudevents.go events, and how they come in a request
//	attribute.go   the rules for what describes an event
//
// docs/triggers.md says the rules with examples.
package trigger
