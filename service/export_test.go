package service

import "github.com/weft-run/weft/internal/service/wire"

// Encode is encode.
func Encode(v any) ([]byte, error) { return encode(v) }

// Parts are what a request consists of.
func (r Request[R]) Parts() (wire.Target, [][]byte) { return r.to, r.args }
