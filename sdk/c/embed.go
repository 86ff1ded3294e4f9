// Package c holds the C SDK, one header, for the builder to put on the include path of functions written in C.
package c

import _ "embed"

// Header is the text of weft.h.
//
//go:embed weft.h
var Header []byte
