package flow

// An Expression is one ${ } of a template: a jq program.
type Expression struct {
	Source string // without ${ and }, and without space around it
	Path   string // where in the template's value it is, such as ".parts[2]"
}

func parseExpression(source, path string) Expression { return Expression{Source: source, Path: path} }
