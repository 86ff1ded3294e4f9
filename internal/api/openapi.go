package api

import (
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/api/wire"
)

// openapi answers with the document of this API.
func (h *Handler) openapi(c *call) error { return c.reply(http.StatusOK, h.document()) }

// document is the table of routes as OpenAPI 3.1 has it.
func (h *Handler) document() map[string]any {
	s := &schemas{components: map[string]any{}, names: map[reflect.Type]string{}}
	paths := map[string]map[string]any{}
	for _, r := range h.routes() {
		if r.hidden {
			continue
		}
		path := strings.ReplaceAll(r.path, "...}", "}")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(r.method)] = s.operation(r)
	}
	problem := s.of(reflect.TypeFor[wire.Problem]())
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "weft", "version": h.o.Version,
			"description": "Serverless workflows and stateful services on one's own machines. Errors are problem details (RFC 9457).",
		},
		"paths":    paths,
		"security": []any{map[string]any{"token": []any{}}},
		"components": map[string]any{
			"schemas":         s.components,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
			"responses": map[string]any{"Problem": map[string]any{
				"description": "what went wrong", "content": map[string]any{wire.TypeProblem: map[string]any{"schema": problem}},
			}},
		},
	}
}

// operation is one line of the table.
func (s *schemas) operation(r *route) map[string]any {
	op := map[string]any{"operationId": r.name, "summary": r.summary, "responses": s.responses(r)}
	if r.role == public {
		op["security"] = []any{}
	} else {
		op["description"] = "Needs the role " + r.role.String() + "."
	}
	var parameters []any
	for _, name := range r.names() {
		parameters = append(parameters, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range r.query {
		parameters = append(parameters, map[string]any{"name": p.name, "in": "query", "description": p.text, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range r.headers {
		parameters = append(parameters, map[string]any{"name": p.name, "in": "header", "description": p.text, "schema": map[string]any{"type": "string"}})
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if r.in != nil {
		bodies := s.content(r.in)
		if r.also != nil {
			maps.Copy(bodies, s.content(r.also))
		}
		op["requestBody"] = map[string]any{"content": bodies}
	}
	return op
}

// responses are the answers of a route.
func (s *schemas) responses(r *route) map[string]any {
	out := map[string]any{"default": map[string]any{"$ref": "#/components/responses/Problem"}}
	for _, status := range r.statuses() {
		answer := map[string]any{"description": http.StatusText(status)}
		if r.out != nil {
			answer["content"] = s.content(r.out)
		}
		out[strconv.Itoa(status)] = answer
	}
	return out
}

// statuses are those of success.
func (r *route) statuses() []int {
	switch {
	case r.status != 0:
		return append([]int{r.status}, r.others...)
	case r.out == nil:
		return []int{http.StatusNoContent}
	}
	return []int{http.StatusOK}
}

// content is a body.
func (s *schemas) content(v any) map[string]any {
	if m, ok := v.(media); ok {
		return map[string]any{string(m): map[string]any{}}
	}
	return map[string]any{"application/json": map[string]any{"schema": s.of(reflect.TypeOf(v))}}
}
