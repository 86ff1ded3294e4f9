package wire

// Compile turns a module into an image. Beside it come the descriptors of the
// module and of an empty file for the image.
type Compile struct{}

func (*Compile) kind() byte  { return kindCompile }
func (*Compile) code(*coder) {}

// Compiled answers Compile.
type Compiled struct {
	Size  int64
	Error string
}

func (*Compiled) kind() byte { return kindCompiled }
func (m *Compiled) code(c *coder) {
	c.int(&m.Size)
	c.string(&m.Error)
}

// Locate asks for the source lines of positions in a module, whose descriptor
// comes beside it.
type Locate struct{ Offsets []uint64 }

func (*Locate) kind() byte { return kindLocate }
func (m *Locate) code(c *coder) {
	list(c, &m.Offsets, func(c *coder, o *uint64) { c.uint(o) })
}

// Located answers Locate: "file.c:12", or "" where the module does not tell.
type Located struct{ Lines []string }

func (*Located) kind() byte { return kindLocated }
func (m *Located) code(c *coder) {
	strings(c, &m.Lines)
}

// Evaluate asks for the values of jq expressions over one scope.
type Evaluate struct {
	ID          uint64
	Expressions []string
	Scope       []byte // JSON, at most InlineMax; longer: in the descriptor beside the message
}

func (*Evaluate) kind() byte { return kindEvaluate }
func (m *Evaluate) code(c *coder) {
	c.uint(&m.ID)
	strings(c, &m.Expressions)
	c.bytes(&m.Scope)
}

// Evaluated answers Evaluate.
type Evaluated struct {
	ID     uint64
	Values []byte // a JSON list, one value an expression
	Error  string
}

func (*Evaluated) kind() byte { return kindEvaluated }
func (m *Evaluated) code(c *coder) {
	c.uint(&m.ID)
	c.bytes(&m.Values)
	c.string(&m.Error)
}
