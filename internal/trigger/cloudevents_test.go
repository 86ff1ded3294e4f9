package trigger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/trigger"
)

// headers reads lines such as "ce-id: 1".
func headers(text string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			h.Add(name, strings.TrimSpace(value))
		}
	}
	return h
}

const (
	base       = "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\n"
	structured = "Content-Type: application/cloudevents+json"
	batch      = "Content-Type: application/cloudevents-batch+json"
)

// members is the JSON of an event with the required attributes and more.
func members(more string) string {
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + more + `}`
}

func TestDecode(t *testing.T) {
	plain := trigger.Event{ID: "1", Source: "/s", SpecVersion: "1.0", Type: "t"}
	with := func(f func(e *trigger.Event)) trigger.Event { e := plain; f(&e); return e }
	when := time.Date(2018, 4, 5, 17, 31, 0, 500, time.UTC)
	for _, c := range []struct {
		name, header, body string
		want               trigger.Event
	}{
		{"binary: nothing more", base, "", plain},
		{"binary: JSON", base + "Content-Type: application/json; charset=utf-8", `{"a":[1]}`, with(func(e *trigger.Event) {
			e.DataContentType, e.Data = "application/json; charset=utf-8", map[string]any{"a": []any{1.0}}
		})},
		{"binary: another JSON", base + "Content-Type: application/Vnd.x+JSON", `"x"`, with(func(e *trigger.Event) {
			e.DataContentType, e.Data = "application/Vnd.x+JSON", "x"
		})},
		{"binary: JSON without a body", base + "Content-Type: application/json", "", with(func(e *trigger.Event) { e.DataContentType = "application/json" })},
		{"binary: bytes", base + "Content-Type: image/png", "\x89PNG", with(func(e *trigger.Event) {
			e.DataContentType, e.Bytes = "image/png", []byte("\x89PNG")
		})},
		{"binary: no content type", base, `{"a":1}`, with(func(e *trigger.Event) { e.Bytes = []byte(`{"a":1}`) })},
		{"binary: all attributes", base + "ce-subject: a b\nce-time: 2018-04-05T17:31:00.0000005Z\nce-dataschema: https://x.test/s\nce-ext1: 5", "", with(func(e *trigger.Event) {
			e.Subject, e.Time, e.DataSchema, e.Extensions = "a b", when, "https://x.test/s", map[string]any{"ext1": "5"}
		})},
		{"binary: percent-encoding", base + "ce-subject: Euro%20%E2%82%AC%20%f0%9f%98%80", "", with(func(e *trigger.Event) { e.Subject = "Euro € 😀" })},
		{"binary: decoded once", base + "ce-subject: 100%2525", "", with(func(e *trigger.Event) { e.Subject = "100%25" })},
		{"binary: quoted", base + `ce-subject: "a \"b\" \\ %41"`, "", with(func(e *trigger.Event) { e.Subject = `a "b" \ A` })},
		{"binary: UTF-8 as it is", base + "ce-subject: ä", "", with(func(e *trigger.Event) { e.Subject = "ä" })},

		{"structured: nothing more", structured, members(""), plain},
		{"structured: charset, upper case", "Content-Type: Application/CloudEvents+JSON; charset=UTF-8", members(""), plain},
		{"structured: headers do not count", structured + "\nce-id: 2\nce-x_y: z", members(""), plain},
		{"structured: JSON data", structured, members(`,"data":{"a":null}`), with(func(e *trigger.Event) {
			e.DataContentType, e.Data = "application/json", map[string]any{"a": nil}
		})},
		{"structured: a string is not decoded again", structured, members(`,"data":"{}","datacontenttype":"text/json"`), with(func(e *trigger.Event) {
			e.DataContentType, e.Data = "text/json", "{}"
		})},
		{"structured: text", structured, members(`,"data":"<a/>","datacontenttype":"application/xml"`), with(func(e *trigger.Event) {
			e.DataContentType, e.Bytes = "application/xml", []byte("<a/>")
		})},
		{"structured: base64", structured, members(`,"data_base64":"AAH/"`), with(func(e *trigger.Event) { e.Bytes = []byte{0, 1, 255} })},
		{"structured: JSON in base64", structured, members(`,"data_base64":"WzFd","datacontenttype":"application/json"`), with(func(e *trigger.Event) {
			e.DataContentType, e.Data = "application/json", []any{1.0}
		})},
		{"structured: null is absent", structured, members(`,"subject":null,"time":null,"x":null,"datacontenttype":null,"data":null,"data_base64":null`), with(func(e *trigger.Event) {
			e.DataContentType = "application/json"
		})},
		{"structured: extensions", structured, members(`,"a":"x","b":true,"c":-2147483648`), with(func(e *trigger.Event) {
			e.Extensions = map[string]any{"a": "x", "b": true, "c": -2147483648.0}
		})},
		{"batch of one", batch, "[" + members("") + "]", plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := trigger.Decode(headers(c.header), strings.NewReader(c.body), 1000)
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
	for _, n := range []int{0, 2, 1000} {
		body := "[" + strings.TrimSuffix(strings.Repeat(members("")+",", n), ",") + "]"
		if got, err := trigger.Decode(headers(batch), strings.NewReader(body), 1<<20); err != nil || len(got) != n {
			t.Errorf("batch of %d: %d, %v", n, len(got), err)
		}
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		header, body string
		kind         error
		want         string
	}{
		{"Content-Type: application/json", "{}", trigger.ErrMalformed, "neither headers such as ce-id"},
		{"ce-id: 1", "", trigger.ErrMalformed, "source is missing; specversion is missing; type is missing"},
		{strings.Replace(base, "1.0", "0.3", 1), "", trigger.ErrMalformed, `specversion: "0.3" is not 1.0`},
		{base + "ce-subject:", "", trigger.ErrMalformed, "subject is empty"},
		{base + "ce-id: 2", "", trigger.ErrMalformed, "header ce-id is not there once"},
		{base + "ce-datacontenttype: text/plain", "", trigger.ErrMalformed, "not ce-datacontenttype"},
		{base + "ce-data: x", "", trigger.ErrMalformed, "data is the body"},
		{base + "ce-my-ext: x", "", trigger.ErrMalformed, `called "my-ext"`},
		{base + "ce-: x", "", trigger.ErrMalformed, `called ""`},
		{base + "ce-subject: %C0%A0", "", trigger.ErrMalformed, "ce-subject: it is not UTF-8"},
		{base + "ce-subject: 100%", "", trigger.ErrMalformed, "% itself is %25"},
		{base + "ce-subject: %+1", "", trigger.ErrMalformed, "% itself is %25"},
		{base + `ce-subject: "a`, "", trigger.ErrMalformed, "is not closed"},
		{base + `ce-subject: "a\`, "", trigger.ErrMalformed, "is not closed"},
		{base + "ce-subject: a%00b", "", trigger.ErrMalformed, "subject has characters"},
		{base + "ce-x: a%EF%BF%BF", "", trigger.ErrMalformed, "x has characters"},
		{base + "ce-time: yesterday", "", trigger.ErrMalformed, `"yesterday" is not a time`},
		{base + "ce-dataschema: /relative", "", trigger.ErrMalformed, "is not an absolute URI"},
		{strings.Replace(base, "/s", "a%20b", 1), "", trigger.ErrMalformed, "' ' has to be percent-encoded"},
		{strings.Replace(base, "/s", "%3A", 1), "", trigger.ErrMalformed, `":" is not a URI`},
		{base + "Content-Type: ;", "", trigger.ErrMalformed, "datacontenttype: "},
		{base + "Content-Type: json", "", trigger.ErrMalformed, "datacontenttype: "},
		{base + "Content-Type: application/json", "{", trigger.ErrMalformed, "data is not JSON"},
		{base + "Content-Type: application/json", "1 2", trigger.ErrMalformed, "data is not JSON"},
		{base + "Content-Type: application/json", "\"\xff\"", trigger.ErrMalformed, "not UTF-8"},
		{base + "Content-Type: application/json; charset=utf-16", "1", trigger.ErrUnsupported, "charset"},
		{base, strings.Repeat("x", 1001), trigger.ErrTooLarge, "more than 1000 bytes"},

		{"Content-Type: application/cloudevents", "", trigger.ErrUnsupported, "application/cloudevents; send"},
		{"Content-Type: application/cloudevents+xml", "", trigger.ErrUnsupported, "application/cloudevents+xml; send"},
		{"Content-Type: application/cloudevents+json; charset=latin1", "", trigger.ErrUnsupported, "charset"},
		{"Content-Type: application/cloudevents+json; x", "", trigger.ErrMalformed, "Content-Type"},
		{structured, "", trigger.ErrMalformed, "JSON object"},
		{structured, "null", trigger.ErrMalformed, "JSON object"},
		{structured, "[]", trigger.ErrMalformed, "JSON object"},
		{structured, members("") + "x", trigger.ErrMalformed, "JSON object"},
		{structured, members(`,"x":"` + "\xff" + `"`), trigger.ErrMalformed, "not UTF-8"},
		{structured, members(`,"subject":7`), trigger.ErrMalformed, "subject is not a string"},
		{structured, members(`,"x":1.5`), trigger.ErrMalformed, "x: the number 1.5"},
		{structured, members(`,"x":1e3`), trigger.ErrMalformed, "x: the number 1e3"},
		{structured, members(`,"x":2147483648`), trigger.ErrMalformed, "x: the number 2147483648"},
		{structured, members(`,"x":{}`), trigger.ErrMalformed, "x: an attribute is a string"},
		{structured, members(`,"xY":"z"`), trigger.ErrMalformed, `called "xY"`},
		{structured, members(`,"ID":"z"`), trigger.ErrMalformed, `called "ID"`},
		{structured, members(`,"data":1,"data_base64":""`), trigger.ErrMalformed, "both data and data_base64"},
		{structured, members(`,"data_base64":1`), trigger.ErrMalformed, "data_base64 is not a string"},
		{structured, members(`,"data_base64":"*"`), trigger.ErrMalformed, "data_base64: "},
		{structured, members(`,"data":{},"datacontenttype":"text/plain"`), trigger.ErrMalformed, "data is not a string, although"},
		{structured, strings.Repeat(" ", 1001), trigger.ErrTooLarge, "more than 1000 bytes"},
		{structured, members(`,"A":1,"B":1,"C":1,"D":1,"E":1,"F":1,"G":1,"H":1,"I":1,"J":1,"K":1,"L":1`), trigger.ErrMalformed, "; and 2 more"},

		{batch, members(""), trigger.ErrMalformed, "JSON list"},
		{batch, "null", trigger.ErrMalformed, "JSON list"},
		{batch, "[" + members("") + ",{}]", trigger.ErrMalformed, "event 2 of the batch: malformed CloudEvent: id is missing"},
		{batch, "[null]", trigger.ErrMalformed, "event 1 of the batch"},
	} {
		got, err := trigger.Decode(headers(c.header), strings.NewReader(c.body), 1000)
		if got != nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %v, %v; want %q", c.header, c.body, got, err, c.want)
		}
	}
	many := "[" + strings.TrimSuffix(strings.Repeat("{},", trigger.BatchMax+1), ",") + "]"
	if _, err := trigger.Decode(headers(batch), strings.NewReader(many), 1<<20); !errors.Is(err, trigger.ErrTooLarge) {
		t.Errorf("a batch of too many: %v", err)
	}
}

func TestBodiesThatCannotBeRead(t *testing.T) {
	broken := errors.New("connection reset")
	if _, err := trigger.Decode(headers(structured), iotest.ErrReader(broken), 10); !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v", err)
	}
	limited := http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader("12345")), 3)
	if _, err := trigger.Decode(headers(structured), limited, 10); !errors.Is(err, trigger.ErrTooLarge) {
		t.Errorf("a limit of the server's: %v", err)
	}
	if e, err := trigger.Decode(headers(base), nil, 10); err != nil || len(e) != 1 {
		t.Errorf("no body: %v, %v", e, err)
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct{ header, body, want string }{
		{base, "", `{"id":"1","source":"/s","specversion":"1.0","type":"t"}`},
		{structured, members(`,"subject":"x","time":"2018-04-05T17:31:00+02:00","n":5,"b":false,"dataschema":"a:b","data":{"k":[1]}`),
			`{"b":false,"data":{"k":[1]},"datacontenttype":"application/json","dataschema":"a:b","id":"1","n":5,"source":"/s","specversion":"1.0","subject":"x","time":"2018-04-05T17:31:00+02:00","type":"t"}`},
		{base + "Content-Type: text/plain; charset=utf-8", "hällo", `{"data":"hällo","datacontenttype":"text/plain; charset=utf-8","id":"1","source":"/s","specversion":"1.0","type":"t"}`},
		{base + "Content-Type: text/plain", "\xff", `{"data_base64":"/w==","datacontenttype":"text/plain","id":"1","source":"/s","specversion":"1.0","type":"t"}`},
		{base + "Content-Type: image/png", "png", `{"data_base64":"cG5n","datacontenttype":"image/png","id":"1","source":"/s","specversion":"1.0","type":"t"}`},
	} {
		events, err := trigger.Decode(headers(c.header), strings.NewReader(c.body), 1000)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(events[0].Scope())
		if err != nil || string(got) != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
}

func TestKey(t *testing.T) {
	long := strings.Repeat("x", 200)
	events := []trigger.Event{
		{Source: "/a", ID: "b/c"}, {Source: "/a/b", ID: "c"}, {Source: "/a", ID: "b"}, {Source: "1/", ID: "2"}, {Source: "1", ID: "/2"},
		{Source: long, ID: "1"}, {Source: long + "1", ID: "1"}, {Source: long, ID: "11"}, {Source: "1", ID: long},
		{Source: "sha256", ID: "1"}, {Source: "/" + strings.Repeat("y", 100), ID: "1"},
	}
	seen := map[string]int{}
	for i, e := range events {
		k := e.Key()
		if j, twice := seen[k]; twice {
			t.Errorf("events %d and %d have the key %s", i, j, k)
		}
		seen[k] = i
		if len(k) > 128 || !strings.HasPrefix(k, "event/") {
			t.Errorf("key %q", k)
		}
		e.Type, e.Subject = "other", "other"
		if e.Key() != k {
			t.Errorf("the key of event %d depends on more than source and id", i)
		}
	}
	if k := events[0].Key(); k != "event/2//a/b/c" {
		t.Errorf("key %s", k)
	}
}

func TestMatchType(t *testing.T) {
	for _, c := range []struct {
		pattern, typ string
		want         bool
	}{
		{"order.created", "order.created", true}, {"order.created", "order.created.v2", false}, {"order.*", "order.created", true},
		{"order.*", "order.", true}, {"order.*", "order", false}, {"*", "anything", true}, {"a*c", "abc", false}, {"a*c", "a*c", true},
		{"a**", "a*x", true}, {"a**", "ax", false}, {"Order.*", "order.created", false},
	} {
		if got := trigger.MatchType(c.pattern, c.typ); got != c.want {
			t.Errorf("%s %s: %t", c.pattern, c.typ, got)
		}
	}
}

// Whatever is decoded obeys the rules, and is the same when it is sent in JSON.
func FuzzDecode(f *testing.F) {
	f.Add(base+structured, []byte(members(`,"data":{"a":[1,null]},"x":5,"b":true`)))
	f.Add(batch, []byte("["+members(`,"data_base64":"AAH/"`)+","+members(`,"data":"x","datacontenttype":"text/plain"`)+"]"))
	f.Add(base+"Content-Type: application/json\nce-subject: \"a%20\\\"b\"\nce-time: 2018-04-05T17:31:00Z", []byte(`{"a":1e400}`))
	f.Add(base+"Content-Type: text/xml\nce-x: %E2%82%AC", []byte("<a>\xff"))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		const limit = 4096
		events, err := trigger.Decode(headers(header), bytes.NewReader(body), limit)
		if err != nil {
			if events != nil {
				t.Fatalf("events and the error %v", err)
			}
			return
		}
		if len(body) > limit {
			t.Fatalf("%d bytes are not too large", len(body))
		}
		for _, e := range events {
			if e.ID == "" || e.Source == "" || e.Type == "" || e.SpecVersion != "1.0" || e.Data != nil && e.Bytes != nil || len(e.Key()) > 128 {
				t.Fatalf("%+v", e)
			}
			for name, value := range e.Extensions {
				if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || name == "data" {
					t.Fatalf("extension %q", name)
				}
				if s, ok := value.(string); ok && !utf8.ValidString(s) {
					t.Fatalf("extension %s: %q", name, s)
				}
			}
			scope := e.Scope()
			sent, err := json.Marshal(scope)
			if err != nil {
				t.Fatal(err)
			}
			again, err := trigger.Decode(headers(structured), bytes.NewReader(sent), 1<<20)
			if err != nil || len(again) != 1 {
				t.Fatalf("%s: %v", sent, err)
			}
			if got, want := fmt.Sprintf("%v", again[0].Scope()), fmt.Sprintf("%v", scope); got != want {
				t.Fatalf("sent again:\n got %s\nwant %s", got, want)
			}
		}
	})
}
