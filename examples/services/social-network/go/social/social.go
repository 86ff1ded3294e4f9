// Package social is a social network: users follow each other, and what one of them posts is in the home timelines of
// those who follow, and of those who are mentioned.
package social

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/weft-run/weft/service"
)

// ErrUser is returned for who is not registered.
var ErrUser = errors.New("there is no such user")

// Post is what somebody has posted.
type Post struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	At       time.Time `json:"at"`
	Text     string    `json:"text"` // with short names of its addresses
	Mentions []string  `json:"mentions"`
	Links    []Link    `json:"links"`
}

// ComposePost is what users call.
//
//weft:service
type ComposePost struct{}

// Compose posts a text: it is stored, and in all timelines, when the call returns.
func (ComposePost) Compose(ctx *service.Context, user, text string) (Post, error) {
	p := Post{User: user, At: service.Now(ctx).UTC()}
	if _, err := service.Call(ctx, UserAt("").Find(user)); err != nil {
		return p, err
	}
	t, err := service.Call(ctx, TextAt("").Process(text))
	if err != nil {
		return p, err
	}
	p.Text, p.Mentions, p.Links = t.Text, t.Mentions, t.Links
	if p.ID, err = service.Call(ctx, UniqueIDAt("").Next()); err != nil {
		return p, err
	}
	if _, err := service.Call(ctx, PostStorageAt("").Store(p)); err != nil {
		return p, err
	}
	if _, err := service.Call(ctx, UserTimelineAt(user).Add(p.ID)); err != nil {
		return p, err
	}
	readers, err := service.Call(ctx, SocialGraphAt("").Followers(user))
	if err != nil {
		return p, err
	}
	told := map[string]bool{user: true}
	for _, reader := range append(readers, p.Mentions...) {
		if told[reader] {
			continue
		}
		told[reader] = true
		if _, err := service.Call(ctx, HomeTimelineAt(reader).Add(p.ID)); err != nil {
			return p, err
		}
	}
	return p, nil
}

// UniqueID makes IDs.
//
//weft:service
type UniqueID struct{}

// Next makes one.
func (UniqueID) Next(ctx *service.Context) string { return service.UUID(ctx) }

// Text finds out what a text refers to.
//
//weft:service
type Text struct{}

// Processed is a text with what it refers to.
type Processed struct {
	Text     string   `json:"text"`
	Mentions []string `json:"mentions"` // users, each one once
	Links    []Link   `json:"links"`
}

var (
	mention = regexp.MustCompile(`@([A-Za-z0-9_-]+)`)
	address = regexp.MustCompile(`https?://[^\s]+`)
)

// Process finds the users whom a text mentions, those of them that there are, and shortens its
// addresses.
func (Text) Process(ctx *service.Context, text string) (Processed, error) {
	p := Processed{Mentions: []string{}, Links: []Link{}}
	var names []string
	for _, m := range mention.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	var err error
	if names != nil {
		if p.Mentions, err = service.Call(ctx, UserAt("").Filter(names)); err != nil {
			return p, err
		}
	}
	if urls := address.FindAllString(text, -1); urls != nil {
		if p.Links, err = service.Call(ctx, URLShortenerAt("").Compose(urls)); err != nil {
			return p, err
		}
	}
	next := -1
	p.Text = address.ReplaceAllStringFunc(text, func(string) string {
		next++
		return p.Links[next].Short
	})
	return p, nil
}

// Link is an address with its short name.
type Link struct {
	URL   string `json:"url"`
	Short string `json:"short"`
}

// URLShortener gives addresses short names.
type URLShortener struct {
	URLs service.Map[string, string] // by short name
}

// Compose gives each address a short name, a new one each time.
func (s *URLShortener) Compose(ctx *service.Context, urls []string) []Link {
	links := []Link{}
	for _, url := range urls {
		short := "http://short/" + fmt.Sprintf("%016x", service.Rand(ctx).Uint64())
		s.URLs.Set(short, url)
		links = append(links, Link{url, short})
	}
	return links
}

// Expand returns the address that has a short name, "" if there is none.
func (s *URLShortener) Expand(ctx *service.Context, short string) string {
	url, _ := s.URLs.Get(short)
	return url
}
