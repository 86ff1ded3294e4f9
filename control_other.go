//go:build !linux

package weft

// control is a connection with the node, which only processes on Linux have.
type control struct{}

func connected() *control { return nil }

func (*control) alloc(int) (*window, errno)                         { return nil, errnoIO }
func (*control) read(string, uint64, bool) ([]byte, *window, errno) { return nil, nil, errnoIO }
func (*control) put(string, uint64, []byte) errno                   { return errnoIO }
func (*control) wait(string, int64) errno                           { return errnoIO }
func (*control) length(string) (size, typ uint64, e errno)          { return 0, 0, errnoIO }

// serveCalls does nothing: only processes on Linux are workers.
func serveCalls(func() error) {}

// mapped is what a window of a native function shows.
type mapped struct{}

func (*mapped) release(*window) {}
