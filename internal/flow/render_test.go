package flow_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/weft-run/weft/internal/flow"
)

func TestRenderOutsideARun(t *testing.T) {
	failed := errors.New("no jq here")
	scope := map[string]any{"body": map[string]any{"n": 3.0}, "path": map[string]any{"id": "a7"}}
	tests := []struct {
		name     string
		template any
		evaluate func([]string) ([]any, error)
		want     any
		fails    bool
	}{
		{"constant", map[string]any{"a": 1.0}, nil, map[string]any{"a": 1.0}, false},
		{"plain", map[string]any{"id": "${ .path.id }", "text": "n is ${ .body.n }"}, nil, map[string]any{"id": "a7", "text": "n is 3"}, false},
		{"jq", []any{"${ .body.n + 1 }", "${ .path.id }", "${ .body | keys }"}, func(x []string) ([]any, error) {
			return []any{len(x), x[1]}, nil
		}, []any{2, "a7", ".body | keys"}, false},
		{"failing jq", "${ .body.n + 1 }", func([]string) ([]any, error) { return nil, failed }, nil, true},
		{"wrong number of values", "${ .body.n + 1 }", func([]string) ([]any, error) { return nil, nil }, nil, true},
		{"path into a number", "${ .body.n.x }", nil, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template, err := flow.Parse(test.template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Render(scope, test.evaluate)
			if (err != nil) != test.fails || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, test.want)
			}
		})
	}
	if got, err := (flow.Template{}).Render(scope, nil); got != nil || err != nil {
		t.Errorf("an absent template gives %v, %v", got, err)
	}
}
