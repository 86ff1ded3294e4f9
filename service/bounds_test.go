package service_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/service"
)

// shelf is an object with texts.
type shelf struct {
	Text  service.Value[string]
	Texts service.Map[string, string]
}

// shelves makes a service of a method that is a function, and of one that returns a text.
func shelves(run func(ctx *service.Context, s *shelf) (any, error)) service.Service {
	return service.Define("shelf", func(ctx *service.Context, s *shelf) {
		service.Bind(ctx, "Text", &s.Text)
		service.Bind(ctx, "Texts", &s.Texts)
	}, map[string]service.Method[shelf]{
		"run": func(ctx *service.Context, s *shelf, args service.Args) (any, error) { return run(ctx, s) },
		"text": func(_ *service.Context, _ *shelf, args service.Args) (any, error) {
			var n int
			err := args.Decode(&n)
			return strings.Repeat("x", n), err
		},
		"take": func(_ *service.Context, _ *shelf, args service.Args) (any, error) {
			var text string
			return nil, args.Decode(&text)
		},
	})
}

func text(n int) service.Request[string] { return service.NewRequest[string]("shelf", "", "text", n) }

func take(n int) service.Request[service.None] {
	return service.NewRequest[service.None]("shelf", "", "take", strings.Repeat("x", n))
}

var numbers = regexp.MustCompile(`\d{7,}`)

// The memory has the bounds of a node, and says the same about them.
func TestBounds(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	most := large[2:] // with its quotes
	for _, c := range []struct {
		name string
		want string // "": nothing is wrong
		run  func(ctx *service.Context, s *shelf) (any, error)
	}{
		{"a value as large as it may be", "", func(_ *service.Context, s *shelf) (any, error) {
			s.Text.Set(most)
			return len(s.Text.Get()), nil
		}},
		{"a value that is too large", "write Text: a value of 1048578 bytes, at most 1048576", func(_ *service.Context, s *shelf) (any, error) {
			s.Text.Set(large)
			return nil, nil
		}},
		{"an entry that is too large", `write Texts["a"]: a value of 1048578 bytes`, func(_ *service.Context, s *shelf) (any, error) {
			s.Texts.Set("a", large)
			s.Texts.Get("b")
			return nil, errChosen
		}},
		{"one that does not matter, since the method fails", errChosen.Error(), func(_ *service.Context, s *shelf) (any, error) {
			s.Texts.Set(large[:199], "")
			return nil, errChosen
		}},
		{"one in a part that comes to nothing", "", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Tx(ctx, func() error {
				s.Texts.Set(large[:199], "")
				return errChosen
			}).Error(), nil
		}},
		{"one in a part that does not", "write Text: a value of 1048578 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return nil, service.Tx(ctx, func() error {
				s.Text.Set(large)
				return nil
			})
		}},
		{"a key as long as it may be", "", func(_ *service.Context, s *shelf) (any, error) {
			s.Texts.Set(large[:198], "")
			return s.Texts.Has(large[:198]), nil
		}},
		{"a key that is too long", "a key of more than 200 bytes", func(_ *service.Context, s *shelf) (any, error) {
			s.Texts.Set(large[:199], "")
			return nil, nil
		}},
		{"a key that is too long, read", `read Texts["xxxxx`, func(_ *service.Context, s *shelf) (any, error) {
			return s.Texts.Has(large[:199]), nil
		}},
		{"too much at a time", "bytes are written at a time, at most N", func(_ *service.Context, s *shelf) (any, error) {
			for i := range 5 {
				s.Texts.Set(fmt.Sprint(i), large[:900<<10])
			}
			return nil, nil
		}},
		{"as much at two times", "", func(ctx *service.Context, s *shelf) (any, error) {
			for i := range 5 {
				s.Texts.Set(fmt.Sprint(i), large[:900<<10])
				service.Run(ctx, "x", func(string) (int, error) { return 0, nil })
			}
			return nil, nil
		}},
		{"arguments", "call shelf.take: arguments of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Call(ctx, take(1<<20-1))
		}},
		{"arguments of what is started", "call shelf.take: arguments of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			_, err := service.Go(ctx, take(1<<20-1)).Wait()
			return nil, err
		}},
		{"arguments of what is sent", "call shelf.take: arguments of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			service.Send(ctx, take(1<<20-1))
			return nil, errChosen
		}},
		{"arguments of what compensates", "call shelf.take: arguments of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			service.Compensate(ctx, take(1<<20-1))
			return nil, nil
		}},
		{"a call of a service with a long name", "a name of 201 bytes, at most 200", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Call(ctx, service.NewRequest[int]("shelf", large[:201], "run"))
		}},
		{"a result", "shelf.run: a result of 1048577 bytes, at most 1048576", func(ctx *service.Context, s *shelf) (any, error) {
			return large[1:], nil
		}},
		{"a result of a call", "shelf.text: a result of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Call(ctx, text(1<<20-1))
		}},
		{"the text of an error", "shelf.run: a result of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return nil, fmt.Errorf("%sx", large)
		}},
		{"a result of a side effect", "a result of 1048577 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Run(ctx, "x", func(string) (string, error) { return large[1:], nil })
		}},
		{"the name of a promise", `promise "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": a name has 1 to 200 bytes`, func(ctx *service.Context, s *shelf) (any, error) {
			service.Promise[int](ctx, large[:201])
			return nil, nil
		}},
		{"results together", "3 results of N bytes together, at most N: wait for fewer at a time", func(ctx *service.Context, s *shelf) (any, error) {
			return service.All(ctx, service.Go(ctx, text(900<<10)), service.Go(ctx, text(900<<10)), service.Go(ctx, text(900<<10)))
		}},
		{"questions", "has asked 65536 questions: let it continue with a new journal", func(ctx *service.Context, s *shelf) (any, error) {
			for range 1<<16 + 1 {
				service.After(ctx, time.Hour)
			}
			return s.Text.Get(), nil
		}},
		{"a journal", "shelf.run: its journal has N bytes, at most N: let the method continue with a new one", func(ctx *service.Context, s *shelf) (any, error) {
			for range 5 {
				if _, err := service.Call(ctx, text(900<<10)); err != nil {
					return nil, err
				}
			}
			service.Sleep(ctx, time.Millisecond)
			return nil, nil
		}},
		{"a journal of several times", "is parked: its journal has N bytes, at most N: let the method continue with a new one", func(ctx *service.Context, s *shelf) (any, error) {
			for range 9 {
				if _, err := service.Call(ctx, text(500<<10)); err != nil {
					return nil, err
				}
				service.Sleep(ctx, time.Millisecond)
			}
			return nil, nil
		}},
		{"arguments with which it continues", "call shelf.run: arguments of 1048578 bytes", func(ctx *service.Context, s *shelf) (any, error) {
			return service.Continue(ctx, service.NewRequest[string]("shelf", "", "run", large))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := shelves(c.run)
			_, inMemory := service.Call(service.NewMemory(all), service.NewRequest[any]("shelf", "", "run"))
			_, onNode := on(t, open(t, all), service.NewRequest[any]("shelf", "", "run"))
			for where, err := range map[string]error{"in memory": inMemory, "on a node": onNode} {
				text := fmt.Sprint(err)
				if !strings.Contains(text, c.want) && !strings.Contains(numbers.ReplaceAllString(text, "N"), c.want) || (err == nil) != (c.want == "") {
					t.Errorf("%s: %.300s, want %q", where, text, c.want)
				}
			}
		})
	}
	m := service.NewMemory(shelves(nil))
	if _, err := service.Call(m, take(1<<20-1)); err == nil || !strings.Contains(err.Error(), "call shelf.take: arguments of 1048577 bytes") {
		t.Errorf("from outside: %v", err)
	}
	if _, err := service.Accept(m, take(1<<20-1)); err == nil || !strings.Contains(err.Error(), "call shelf.take: arguments of 1048577 bytes") {
		t.Errorf("accepted: %v", err)
	}
}
