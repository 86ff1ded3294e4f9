package app

import "github.com/weft-run/weft/internal/yamlfile"

// Bounds of limits.
const (
	maxRate  = 1e6
	minRate  = 1e-4
	maxBurst = 1_000_000
	maxQueue = 100_000
)

// Limits bound the requests from outside for a service.
type Limits struct {
	Limit
	Key Limit // those for each key, besides
}

// Limit bounds requests. What is 0 is no bound.
type Limit struct {
	Rate        float64 // a second
	Burst       int     // at once after a pause; default: Rate, rounded up
	Concurrency int     // at a time
	Queue       int     // that wait; default 100
}

// limitFields are the keys that a limit has.
var limitFields = []field[Limit]{
	{Name: "rate", Read: func(b *builder, n *node, l *Limit) { l.Rate = b.Float(n, minRate, maxRate) }},
	{Name: "burst", Read: func(b *builder, n *node, l *Limit) { l.Burst = b.Integer(n, 1, maxBurst) }},
	{Name: "concurrency", Read: func(b *builder, n *node, l *Limit) { l.Concurrency = b.Integer(n, 0, maxParallel) }},
	{Name: "queue", Read: func(b *builder, n *node, l *Limit) { l.Queue = b.Integer(n, 1, maxQueue) }},
}

// limitsFields are the keys of limits.
var limitsFields = func() []field[Limits] {
	var list []field[Limits]
	for _, f := range limitFields {
		list = append(list, field[Limits]{Name: f.Name, Read: func(b *builder, n *node, l *Limits) { f.Read(b, n, &l.Limit) }})
	}
	return append(list, field[Limits]{Name: "key", Read: func(b *builder, n *node, l *Limits) {
		yamlfile.ReadFields(b, n, "key of limits", limitFields, &l.Key)
		b.checkLimit(n, l.Key)
	}})
}()

// limits reads the limits of a service.
func (b *builder) limits(n *node, s *Service) {
	yamlfile.ReadFields(b, n, "limits of service "+s.Name, limitsFields, &s.Limits)
	b.checkLimit(n, s.Limits.Limit)
}

// checkLimit refuses what has no meaning without something else.
func (b *builder) checkLimit(n *node, l Limit) {
	if burst := n.Get("burst"); burst != nil && n.Get("rate") == nil {
		b.Errorf(burst.At, "add rate", "a burst is one of a rate")
	}
	if queue := n.Get("queue"); queue != nil && l.Rate == 0 && l.Concurrency == 0 {
		b.Errorf(queue.At, "add rate or concurrency", "nothing waits in the queue: there is neither a rate nor a concurrency")
	}
}

// checkLimits refuses limits of a service that contradict each other.
func (b *builder) checkLimits(n *node, s *Service) {
	l := n.Get("limits")
	if l == nil {
		return
	}
	if key := l.Get("key"); key != nil && !s.Keyed {
		b.Errorf(key.At, "remove it, or say `keyed: true`", "service %s has no keys", s.Name)
	}
	if c := n.Get("concurrency"); c != nil && l.Get("concurrency") != nil {
		b.Errorf(c.At, "remove one of them", "concurrency is given twice: it is the same as in limits")
	}
}
