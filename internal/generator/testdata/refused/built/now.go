//go:build !wasip1

package p

func now() int64 { return 0 }
