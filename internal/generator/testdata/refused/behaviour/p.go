// Package p has methods that do what they may not.
package p

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/weft-run/weft/service"
)

var (
	calls  int
	table  = map[string]int{"a": 1}
	shared counter
	mu     sync.Mutex
)

type counter struct{ n int }

func (c *counter) add() { c.n++ }

// A is a service.
type A struct{ N service.Value[int] }

// Threads has goroutines.
func (a *A) Threads(ctx *service.Context) {
	go func() {}()
	c := make(chan int)
	c <- 1
	<-c
	for range c {
	}
	select {}
	mu.Lock()
	var once sync.Once
	once.Do(func() {})
}

// Globals has variables.
func (a *A) Globals(ctx *service.Context) int {
	calls++
	calls = 2
	shared.add()
	shared.n = 3
	p := &shared
	_ = p
	table["b"] = 2
	http.DefaultClient = nil
	return table["a"] + calls
}

// World uses the world, behind functions.
func (a *A) World(ctx *service.Context) {
	clock()
	f := chance
	f()
	a.effects()
	service.Tx(ctx, func() error {
		time.Sleep(1)
		return nil
	})
	service.Run(ctx, time.Now().String(), func(string) (int, error) {
		fmt.Println("this may")
		return rand.Int(), nil
	})
}

func clock() {
	_ = time.Now()
	_ = time.Since(time.Time{})
	context.WithTimeout(context.Background(), 1)
}

func chance() {
	_ = rand.IntN(3)
	crand.Read(nil)
	m := map[string]int{}
	for k := range m {
		_ = k
	}
	for range maps.Keys(m) {
	}
}

func (a *A) effects() {
	fmt.Println("x")
	os.Getenv("HOME")
	http.Get("http://localhost")
}

// Begun uses variables that begin with something else in each instance.
func (a *A) Begun(ctx *service.Context) (bool, error) {
	for calls = range 3 {
	}
	later := started.After(time.Time{}) || first > 1
	client := http.Client{}
	_, err := client.Get("http://localhost")
	return later, err
}

var (
	started       = time.Now()
	first, second = dice()
)

func dice() (int, int) { return rand.IntN(6), 0 }

// Hidden uses the world behind an interface, and keeps what an effect has found.
func (a *A) Hidden(ctx *service.Context) (string, error) {
	var s speaker = parrot{}
	var found struct{ text string }
	n := 0
	_, err := service.Run(ctx, "listen", func(string) (int, error) {
		own := s.say()
		own += "."
		found.text, n = own, 1
		n++
		return 1, nil
	})
	return s.say() + found.text, err
}

type speaker interface{ say() string }

type parrot struct{}

func (*parrot) shout() {}

func (parrot) say() string { return os.Args[0] }

// unused may do anything.
func unused() { go os.Exit(1) }
