package wire

import "github.com/weft-run/weft/internal/codec"

// Compile turns a module into an image. Beside it come the descriptors of the
// module and of an empty file for the image.
type Compile struct{}

func (*Compile) kind() byte        { return kindCompile }
func (*Compile) code(*codec.Coder) {}

// Compiled answers Compile.
type Compiled struct {
	Size  int64
	Error string
}

func (*Compiled) kind() byte { return kindCompiled }
func (m *Compiled) code(c *codec.Coder) {
	c.Int(&m.Size)
	c.String(&m.Error)
}

// Locate asks for the source lines of positions in a module, whose descriptor
// comes beside it.
type Locate struct{ Offsets []uint64 }

func (*Locate) kind() byte { return kindLocate }
func (m *Locate) code(c *codec.Coder) {
	codec.List(c, &m.Offsets, func(c *codec.Coder, o *uint64) { c.Uint(o) })
}

// Located answers Locate: "file.c:12", or "" where the module does not tell.
type Located struct{ Lines []string }

func (*Located) kind() byte { return kindLocated }
func (m *Located) code(c *codec.Coder) {
	codec.Strings(c, &m.Lines)
}

// Evaluate asks for the values of jq expressions over one scope.
type Evaluate struct {
	ID          uint64
	Expressions []string
	Scope       []byte // JSON, at most InlineMax; longer: in the descriptor beside the message
}

func (*Evaluate) kind() byte { return kindEvaluate }
func (m *Evaluate) code(c *codec.Coder) {
	c.Uint(&m.ID)
	codec.Strings(c, &m.Expressions)
	c.Bytes(&m.Scope)
}

// Evaluated answers Evaluate.
type Evaluated struct {
	ID     uint64
	Values []byte // a JSON list, one value an expression
	Error  string
}

func (*Evaluated) kind() byte { return kindEvaluated }
func (m *Evaluated) code(c *codec.Coder) {
	c.Uint(&m.ID)
	c.Bytes(&m.Values)
	c.String(&m.Error)
}
