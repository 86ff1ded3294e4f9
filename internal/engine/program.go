package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// Program is a version of an app that is ready to run.
type Program struct {
	App       *app.App
	Version   string // of the deployed app
	Hosts     string // changes with any function's code or grants: domain hosts are used again for the same one
	Functions map[string]*domain.Function
	Folders   []domain.File // every folder that a function may use
	// Redact hides the app's secrets in what its functions log; nil: there are none.
	Redact func(text []byte) []byte

	followers map[string]map[string][]*domain.Function // by workflow and step; made by NewProgram
	paths     *paths                                   // the same
}

// edition is the version that the program is of.
func (p *Program) edition() edition { return edition{p.App.Name, p.Version} }

// NewProgram makes the program of an app whose functions are ready.
func NewProgram(p Program) *Program {
	p.paths = &paths{of: map[string]map[string]time.Duration{}, made: map[string]time.Time{}}
	p.followers = map[string]map[string][]*domain.Function{}
	for name, w := range p.App.Workflows {
		steps := map[string][]*domain.Function{}
		for _, s := range w.Steps {
			if s.Call.Kind != flow.Function || p.Functions[s.Call.Name] == nil {
				continue
			}
			f := p.Functions[s.Call.Name]
			for _, need := range s.Needs {
				if !slices.Contains(steps[need], f) {
					steps[need] = append(steps[need], f)
				}
			}
		}
		p.followers[name] = steps
	}
	return &p
}

// next lists the functions that the steps after a step of a workflow call, those
// of sub-workflows apart.
func (p *Program) next(workflow, step string) []*domain.Function {
	if strings.Contains(step, ".") {
		return nil
	}
	return p.followers[workflow][step]
}
