package build

import (
	"bytes"
	"io/fs"
	"strings"

	"github.com/weft-run/weft/internal/app"
)

// form is what a built function is as a file.
type form struct {
	ext     string
	mode    fs.FileMode
	inspect func([]byte) (Info, error)
	makes   string // what a source makes, for messages
}

// formOf is the form of the functions of a runtime.
func formOf(runtime string) form {
	switch runtime {
	case app.RuntimePython:
		return form{ext: ".tar", mode: 0o444, inspect: inspectArchive, makes: "makes an archive"}
	case app.RuntimeNative:
		return form{ext: ".bin", mode: 0o555, inspect: inspectExecutable, makes: "makes a program"}
	}
	return form{ext: ".wasm", mode: 0o444, inspect: inspectModule, makes: "makes a module"}
}

// verb puts an inspection error behind the source's name.
func (f form) verb(err error) string {
	if strings.HasPrefix(err.Error(), "is ") {
		return "cannot be used"
	}
	return f.makes + " that cannot be used"
}

func inspectModule(data []byte) (Info, error) {
	info, err := Inspect(bytes.NewReader(data), int64(len(data)))
	if err == nil {
		err = info.Check()
	}
	return info, err
}
