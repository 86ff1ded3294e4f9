package main

import "unsafe"

//go:wasmimport weft dial
func dial(host unsafe.Pointer, length, port uint32, fd *uint32) uint32

// dialed reports whether the sandbox connects to an address.
func dialed(host string, port int) bool {
	var fd uint32
	return dial(unsafe.Pointer(unsafe.StringData(host)), uint32(len(host)), uint32(port), &fd) == 0
}
