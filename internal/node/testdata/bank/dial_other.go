//go:build !wasip1

package main

// dialed reports whether the sandbox connects to an address: processes have no call for that.
func dialed(string, int) bool { return false }
