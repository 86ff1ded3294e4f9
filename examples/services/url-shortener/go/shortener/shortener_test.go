package shortener_test

import (
	"errors"
	"testing"

	"github.com/weft-run/weft/examples/services/url-shortener/go/shortener"
	"github.com/weft-run/weft/service"
)

func TestShorten(t *testing.T) {
	m := service.NewMemory(shortener.Services()...)
	s := shortener.URLShortenerAt("")
	shorten := func(url string) shortener.Answer {
		t.Helper()
		a, err := service.Call(m, s.Shorten(url))
		if err != nil || a.URL != url {
			t.Fatalf("got %v, %v", a, err)
		}
		return a
	}
	first, again, other := shorten("http://one.example"), shorten("http://one.example"), shorten("http://two.example")
	if first.Known || !again.Known || other.Known {
		t.Errorf("known: %t, %t, %t", first.Known, again.Known, other.Known)
	}
	if first.Short != again.Short || first.Short == other.Short {
		t.Errorf("short names: %s, %s, %s", first.Short, again.Short, other.Short)
	}
	links, err := service.Call(m, s.Compose([]string{"http://two.example", "http://one.example"}))
	if err != nil || len(links) != 2 || links[0] != other.Link || links[1] != first.Link {
		t.Errorf("got %v, %v", links, err)
	}
	if url, err := service.Call(m, s.Expand(other.Short)); url != other.URL || err != nil {
		t.Errorf("got %q, %v", url, err)
	}
	if _, err := service.Call(m, s.Expand("none")); !errors.Is(err, shortener.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}
