// Command greet greets, in Go.
package main

import "github.com/weft-run/weft"

type input struct {
	Name string `json:"name"`
}

func main() {
	weft.Handle(func(in input) (string, error) {
		if in.Name == "" {
			in.Name = "world"
		}
		return "Hello, " + in.Name + "!", nil
	})
}
