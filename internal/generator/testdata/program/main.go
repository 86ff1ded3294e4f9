// Program is services in package main.
package main

import "github.com/weft-run/weft/service"

// Greeter has no state.
//
//weft:service hello
type Greeter struct{}

// Greet greets.
func (Greeter) Greet(ctx *service.Context, name string) string { return "Hello, " + name }
