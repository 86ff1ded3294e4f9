package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// pauseFirst and pauseMax are the shortest and the longest pause between two
	// tries, when the collector does not say how long to wait.
	pauseFirst = 500 * time.Millisecond
	pauseMax   = 15 * time.Second
	// restMax is the longest pause that a collector can ask for.
	restMax = 5 * time.Minute
	// answerMax is how much of an answer is read, in bytes.
	answerMax = 64 << 10
	// quietFor is the time between two lines of the log.
	quietFor = 30 * time.Second
)

// errUnavailable is the error of a request that the collector might have taken
// later.
var errUnavailable = errors.New("gave up")

// send sends a batch in as many requests as it takes, and counts what has become
// of its traces: one of which a part is lost has failed.
func (x *Exporter) send(batch []item) {
	lost := make([]bool, len(batch))
	var spans []span
	var owners []int // of spans, by position in the batch
	var gone error   // nobody takes the rest of the batch either
	post := func(n int) {
		if n == 0 {
			return
		}
		err := gone
		if err == nil {
			err = x.deliver(spans[:n])
		}
		if errors.Is(err, errUnavailable) {
			gone = err
		}
		if err != nil {
			for _, i := range owners[:n] {
				lost[i] = true
			}
			x.complain("traces were not exported", "error", err)
		}
		spans, owners = spans[n:], owners[n:]
	}
	for i, it := range batch {
		for _, s := range convert(it.run, it.trace, it.parent) {
			spans, owners = append(spans, s), append(owners, i)
		}
		for len(spans) >= x.o.Spans {
			post(x.o.Spans)
		}
	}
	post(len(spans))
	for _, l := range lost {
		if l {
			x.failed.Add(1)
		} else {
			x.exported.Add(1)
		}
	}
}

// deliver sends spans until the collector has taken or refused them, or patience
// is over.
func (x *Exporter) deliver(spans []span) error {
	body, err := json.Marshal(exportRequest{[]resourceSpans{{
		Resource:   x.resource(),
		ScopeSpans: []scopeSpans{{Scope: scope{Name: "github.com/weft-run/weft", Version: x.o.Version}, Spans: spans}},
	}}})
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	end := time.Now().Add(x.o.Patience)
	for pause := pauseFirst; ; pause = min(2*pause, pauseMax) {
		if err := x.sleep(time.Until(x.rest)); err != nil {
			return err
		}
		again, after, err := x.post(body)
		if err == nil {
			return nil
		}
		if !again {
			return err
		}
		wait := after
		if wait <= 0 {
			wait = pause/2 + rand.N(pause/2+1)
		}
		x.rest = time.Now().Add(min(wait, restMax)) // for the requests after this one, too
		if time.Now().Add(wait).After(end) {
			return fmt.Errorf("%w: %w", errUnavailable, err)
		}
	}
}

// resource says where spans come from.
func (x *Exporter) resource() resource {
	r := resource{[]keyValue{text("service.name", x.o.Service)}}
	if x.o.Version != "" {
		r.Attributes = append(r.Attributes, text("service.version", x.o.Version))
	}
	return r
}

// sleep waits, unless Close must not wait any longer.
func (x *Exporter) sleep(d time.Duration) error {
	if d <= 0 {
		return x.ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-x.ctx.Done():
		return x.ctx.Err()
	}
}

// post sends one request. With an error, again says that it may succeed later,
// and after how long the collector wants to wait for it, if it says so.
func (x *Exporter) post(body []byte) (again bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(x.ctx, x.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.target.String(), bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	for k, v := range x.o.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weft/"+x.o.Version)
	res, err := x.client.Do(req)
	if err != nil {
		return x.ctx.Err() == nil, 0, err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, answerMax))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		x.partly(answer)
		return false, 0, nil
	}
	again = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	return again, retryAfter(res.Header.Get("Retry-After"), time.Now()), fmt.Errorf("the collector at %s answered %s", x.target.Redacted(), res.Status)
}

// partly tells of spans that the collector has not taken, though it has taken the
// request. They are not sent again, as the specification asks.
func (x *Exporter) partly(answer []byte) {
	var r exportResponse
	if json.Unmarshal(answer, &r) == nil && (r.rejected() > 0 || r.Partial.Message != "") {
		x.complain("the collector did not take all spans", "rejected", r.rejected(), "message", shorten(r.Partial.Message))
	}
}

// retryAfter reads the header of this name: seconds, or a date. 0: it does not
// say.
func retryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.ParseInt(header, 10, 32); err == nil {
		return time.Duration(max(s, 0)) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// complain logs what is lost, but not all the time.
func (x *Exporter) complain(message string, args ...any) {
	if !x.spoke.IsZero() && time.Since(x.spoke) < quietFor {
		return
	}
	x.spoke = time.Now()
	s := x.Stats()
	x.o.Logger.Warn(message, append(args, "exported", s.Exported, "dropped", s.Dropped, "failed", s.Failed)...)
}
