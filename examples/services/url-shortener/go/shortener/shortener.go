// Package shortener gives addresses short names.
package shortener

import (
	"errors"
	"fmt"

	"github.com/weft-run/weft/service"
)

// ErrUnknown is returned for what is no short name.
var ErrUnknown = errors.New("there is no such short name")

// URLShortener knows short names by address, and addresses by short name.
type URLShortener struct {
	Shorts service.Map[string, string]
	URLs   service.Map[string, string]
}

// Link is an address with its short name.
type Link struct {
	URL   string `json:"url"`
	Short string `json:"short"`
}

// Answer says how an address was found.
type Answer struct {
	Link
	Known bool `json:"known"` // it had its short name before
}

// Shorten returns the short name of an address, a new one if it has none.
func (s *URLShortener) Shorten(ctx *service.Context, url string) Answer {
	if short, ok := s.Shorts.Get(url); ok {
		return Answer{Link{url, short}, true}
	}
	short := fmt.Sprintf("%010x", service.Rand(ctx).Uint64N(1<<40))
	for s.URLs.Has(short) {
		short = fmt.Sprintf("%010x", service.Rand(ctx).Uint64N(1<<40))
	}
	s.Shorts.Set(url, short)
	s.URLs.Set(short, url)
	return Answer{Link{url, short}, false}
}

// Compose shortens several addresses.
func (s *URLShortener) Compose(ctx *service.Context, urls []string) []Link {
	links := []Link{}
	for _, url := range urls {
		links = append(links, s.Shorten(ctx, url).Link)
	}
	return links
}

// Expand returns the address that has a short name.
func (s *URLShortener) Expand(ctx *service.Context, short string) (string, error) {
	url, ok := s.URLs.Get(short)
	if !ok {
		return "", ErrUnknown
	}
	return url, nil
}
