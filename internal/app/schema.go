package app

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-run/weft/internal/yamlfile"
)

//go:embed schema.json
var schemaJSON []byte

// Schema returns the JSON Schema of app files, which editors use to complete
// and check them. It knows the structure; names, cycles and expressions are
// checked by Parse alone.
func Schema() []byte { return schemaJSON }

// schemaURL stands for the schema of a workflow's input. It is never opened.
const schemaURL = "weft:input"

// noLoader keeps schemas from reading files or the network.
type noLoader struct{}

var _ jsonschema.URLLoader = noLoader{}

// Load refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("$ref leaves the app file: %s", strings.TrimPrefix(url, schemaURL))
}

// inputSchema reads a JSON Schema.
func (b *builder) inputSchema(n *node) (any, *jsonschema.Schema) {
	if n.Kind != yamlfile.Mapping && n.Kind != yamlfile.Boolean {
		b.WrongKind(n, "a JSON Schema, such as {type: object}", "")
		return nil, nil
	}
	doc := n.Plain()
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	err := c.AddResource(schemaURL, doc)
	var compiled *jsonschema.Schema
	if err == nil {
		compiled, err = c.Compile(schemaURL)
	}
	if err != nil {
		b.Errorf(n.At, "see https://json-schema.org", "input is not a JSON Schema: %s", schemaMessage(err))
		return nil, nil
	}
	return doc, compiled
}

// schemaMessage puts the library's nested messages into one line.
func schemaMessage(err error) string {
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		err = invalid.Err
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return strings.ReplaceAll(err.Error(), schemaURL, "")
	}
	_, details, ok := strings.Cut(ve.Error(), "\n")
	if !ok {
		details = ve.Error()
	}
	var parts []string
	for line := range strings.Lines(details) {
		line = strings.TrimLeft(strings.TrimSpace(line), "- ")
		// "'allOf' failed" and the like only lead to the lines that say why.
		if !strings.HasSuffix(line, "' failed") {
			parts = append(parts, strings.TrimPrefix(line, "at '': "))
		}
	}
	return strings.Join(parts, "; ")
}
