package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
)

// spoken holds every answer that a test gets against the OpenAPI document, and
// notes which operations were asked for.
var spoken = &conversation{answered: map[string]bool{}}

type conversation struct {
	once sync.Once
	doc  document

	mu       sync.Mutex
	answered map[string]bool // operations that have succeeded, by name; guarded by mu
}

// document is the part of an OpenAPI document that is looked at.
type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID        string `json:"operationId"`
	Responses map[string]struct {
		Ref     string             `json:"$ref"`
		Content map[string]content `json:"content"`
	} `json:"responses"`
	RequestBody struct {
		Content map[string]content `json:"content"`
	} `json:"requestBody"`
}

type content struct {
	Schema *schema `json:"schema"`
}

// schema is the subset of JSON Schema that the document uses.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Description          string             `json:"description"`
	ContentEncoding      string             `json:"contentEncoding"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
}

// learn reads the document.
func (c *conversation) learn(t *testing.T, text []byte) {
	c.once.Do(func() {
		if err := json.Unmarshal(text, &c.doc); err != nil {
			t.Errorf("the OpenAPI document: %v", err)
		}
	})
}

// find is the operation that a request is for, nil if there is none.
func (c *conversation) find(method, path string) *operation {
	got := strings.Split(path, "/")
	var best *operation
	literals := -1
	for template, methods := range c.doc.Paths {
		op, ok := methods[strings.ToLower(method)]
		want := strings.Split(template, "/")
		if !ok || len(want) > len(got) || len(want) < len(got) && want[len(want)-1] != "{buffer}" {
			continue
		}
		n := 0
		for i, w := range want {
			switch {
			case w == got[i]:
				n++
			case !strings.HasPrefix(w, "{"):
				n = -len(want) - 1
			}
		}
		if n > literals {
			best, literals = &op, n
		}
	}
	return best
}

// note holds an answer against the document; body is nil if it is a stream.
func (c *conversation) note(t *testing.T, res *http.Response, body []byte) {
	t.Helper()
	r := res.Request
	if r.URL.Path == "/v1/openapi.json" && res.StatusCode == http.StatusOK && body != nil {
		c.learn(t, body)
	}
	if res.Header.Get(wire.HeaderRequestID) == "" && res.StatusCode/100 != 3 {
		t.Errorf("%s %s: the answer has no request id", r.Method, r.URL.Path)
	}
	if strings.Contains(string(body), `"type":"about:blank"`) {
		t.Errorf("%s %s: the server does not know what went wrong: %.300s", r.Method, r.URL.Path, body)
	}
	if c.doc.Paths == nil || res.Header.Get("Content-Encoding") != "" {
		return
	}
	op := c.find(r.Method, r.URL.EscapedPath())
	if op == nil {
		return
	}
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	want, ok := op.Responses[fmt.Sprint(res.StatusCode)]
	if !ok {
		if kind != wire.TypeProblem {
			t.Errorf("%s answers with status %d, which is neither in the document nor a problem", op.ID, res.StatusCode)
		}
		c.problem(t, op, body)
		return
	}
	c.mu.Lock()
	c.answered[op.ID] = true
	c.mu.Unlock()
	for media, content := range want.Content {
		if media != kind && media != "*/*" {
			t.Errorf("%s answers with %s, the document says %s", op.ID, kind, media)
		}
		if content.Schema != nil && body != nil {
			c.validate(t, op, content.Schema, body)
		}
	}
	if len(want.Content) == 0 && len(body) > 0 {
		t.Errorf("%s answers with a body, the document says there is none: %s", op.ID, body)
	}
}

func (c *conversation) problem(t *testing.T, op *operation, body []byte) {
	if len(body) > 0 {
		c.validate(t, op, &schema{Ref: "#/components/schemas/Problem"}, body)
	}
}

func (c *conversation) validate(t *testing.T, op *operation, s *schema, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s: %v: %s", op.ID, err, body)
		return
	}
	if wrong := c.differences("", s, v); len(wrong) > 0 {
		slices.Sort(wrong)
		t.Errorf("%s answers with what the document does not allow: %s: %.300s", op.ID, strings.Join(wrong, ", "), body)
	}
}

// differences lists what is wrong with a value.
func (c *conversation) differences(at string, s *schema, v any) []string {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		component, ok := c.doc.Components.Schemas[name]
		if !ok {
			return []string{at + ": the document has no schema " + name}
		}
		return c.differences(at, &component, v)
	}
	wrong := func(want string) []string { return []string{fmt.Sprintf("%s is %T, want %s", at, v, want)} }
	switch s.Type {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		var all []string
		for _, name := range s.Required {
			if _, ok := m[name]; !ok {
				all = append(all, at+"."+name+" is not there")
			}
		}
		for name, value := range m {
			switch p := s.Properties[name]; {
			case p != nil:
				all = append(all, c.differences(at+"."+name, p, value)...)
			case s.AdditionalProperties != nil:
				all = append(all, c.differences(at+"."+name, s.AdditionalProperties, value)...)
			default:
				all = append(all, at+"."+name+" is not in the document")
			}
		}
		return all
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong("a list")
		}
		var all []string
		for i, item := range list {
			all = append(all, c.differences(fmt.Sprintf("%s[%d]", at, i), s.Items, item)...)
		}
		return all
	case "string":
		if _, ok := v.(string); !ok {
			return wrong("a string")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong("true or false")
		}
	case "number", "integer":
		n, ok := v.(float64)
		if !ok || s.Type == "integer" && n != float64(int64(n)) {
			return wrong("a number")
		}
	case "":
	default:
		return []string{at + ": the document has a type " + s.Type}
	}
	return nil
}

// check reports operations that no test has asked for, once all tests have run.
func (c *conversation) check() int {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.run") || strings.HasPrefix(a, "-test.skip") }) {
		return 0
	}
	var missing []string
	for _, methods := range c.doc.Paths {
		for _, op := range methods {
			if !c.answered[op.ID] {
				missing = append(missing, op.ID)
			}
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		fmt.Fprintf(os.Stderr, "operations that no test has asked for with success: %s\n", strings.Join(missing, ", "))
		return 1
	}
	return 0
}
