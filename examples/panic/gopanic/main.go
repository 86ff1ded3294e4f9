// Command gopanic panics.
package main

import "github.com/weft-run/weft"

func main() {
	weft.Handle(func(in struct{ Index int }) (int, error) {
		return []int{1, 2, 3}[in.Index+3], nil
	})
}
