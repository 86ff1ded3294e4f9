package flow_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/weft-run/weft/internal/flow"
)

// decodeWorkflow reads the YAML of one workflow as it stands in golden files.
// Like the app file, but it takes every call for a function unless workflows
// has the name.
func decodeWorkflow(name, src string, workflows map[string]*flow.Workflow) (*flow.Workflow, error) {
	var doc struct {
		Steps   yaml.MapSlice
		Output  any
		Timeout string
	}
	if err := yaml.UnmarshalWithOptions([]byte(src), &doc, yaml.Strict()); err != nil {
		return nil, err
	}
	w := &flow.Workflow{Name: name}
	d := decoder{workflows: workflows}
	w.Output, w.Timeout = d.template(doc.Output), d.duration(doc.Timeout)
	for _, entry := range doc.Steps {
		var s struct {
			Call        string
			Needs       []string
			With        any
			Stdin       any
			When        any
			Foreach     any
			Concurrency int
			Timeout     string
			Wait        any
			Retry       *struct {
				Max        int
				Backoff    string
				Factor     float64
				MaxBackoff string `yaml:"max_backoff"`
				Jitter     float64
			}
			Catch *struct {
				Value any
				Call  string
				With  any
			}
		}
		text, err := yaml.Marshal(entry.Value)
		if err != nil {
			return nil, err
		}
		if err := yaml.UnmarshalWithOptions(text, &s, yaml.Strict()); err != nil {
			return nil, err
		}
		step := flow.Step{
			Name: fmt.Sprint(entry.Key), Call: d.target(s.Call), Needs: s.Needs, With: d.template(s.With), Stdin: d.template(s.Stdin),
			When: d.template(s.When), Foreach: d.template(s.Foreach), Concurrency: s.Concurrency, Timeout: d.duration(s.Timeout), Wait: d.template(s.Wait),
		}
		if r := s.Retry; r != nil {
			step.Retry = flow.Retry{Max: r.Max, Backoff: d.duration(r.Backoff), Factor: r.Factor, MaxBackoff: d.duration(r.MaxBackoff), Jitter: r.Jitter}
		}
		if c := s.Catch; c != nil {
			step.Catch = &flow.Catch{Value: d.template(c.Value), Call: d.target(c.Call), With: d.template(c.With)}
		}
		w.Steps = append(w.Steps, step)
	}
	return w, d.err
}

type decoder struct {
	workflows map[string]*flow.Workflow
	err       error
}

func (d *decoder) fail(err error) {
	if err != nil && d.err == nil {
		d.err = err
	}
}

// template takes the word null for an absent value, and the text "null" for null.
func (d *decoder) template(v any) flow.Template {
	if v == nil {
		return flow.Template{}
	}
	if v == "null" {
		return flow.Literal(nil)
	}
	t, err := flow.Parse(v)
	d.fail(err)
	return t
}

func (d *decoder) duration(s string) time.Duration {
	if s == "" {
		return 0
	}
	v, err := time.ParseDuration(s)
	d.fail(err)
	return v
}

func (d *decoder) target(name string) flow.Target {
	switch {
	case name == "":
		return flow.Target{}
	case d.workflows[name] != nil:
		return flow.Target{Kind: flow.SubWorkflow, Name: name}
	}
	return flow.Target{Kind: flow.Function, Name: name}
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func fromJSON(s string) (v any) {
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		panic(fmt.Sprintf("%s: %v", s, err))
	}
	return v
}
