// Mute is a program in Go that is no service.
package main

import "fmt"

func main() { fmt.Println("hello") }
