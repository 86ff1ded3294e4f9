// Package media reviews movies. A review is put together by services that each know a part of it; whichever
// brings the last part has the review stored, for its author and for its movie.
package media

import (
	"errors"
	"fmt"

	"github.com/weft-run/weft/service"
)

// Reasons for which a review is not taken.
var (
	ErrUser   = errors.New("there is no such user")
	ErrMovie  = errors.New("there is no such movie")
	ErrRating = errors.New("a rating is a number from 1 to 10")
	ErrText   = errors.New("a review says something")
	ErrPart   = errors.New("a part of a review has something in it")
)

// Review is what somebody thinks of a movie.
type Review struct {
	ID     string `json:"id"`
	User   string `json:"user"`  // its ID
	Movie  string `json:"movie"` // its ID
	Rating int    `json:"rating"`
	Text   string `json:"text"`
}

// Frontend is what users call.
//
//weft:service
type Frontend struct{}

// Compose writes a review, and returns its ID.
func (Frontend) Compose(ctx *service.Context, user, title string, rating int, text string) (string, error) {
	draft := ctx.Request()
	id, err := service.Call(ctx, UniqueIDAt("").Upload(draft))
	if err != nil {
		return "", err
	}
	for _, part := range []service.Request[service.None]{
		UserAt("").Upload(draft, user),
		MovieIDAt("").Upload(draft, title, rating),
		TextAt("").Upload(draft, text),
	} {
		if _, err := service.Call(ctx, part); err != nil {
			return "", err // and there is no draft left
		}
	}
	return id, nil
}

// ComposeReview has drafts until they are whole.
type ComposeReview struct {
	Drafts service.Map[string, Review]
}

// Upload adds a part to a draft; the last one makes it a review.
func (c *ComposeReview) Upload(ctx *service.Context, draft string, part Review) error {
	if part == (Review{}) {
		return ErrPart // no review would come of the draft
	}
	r, _ := c.Drafts.Get(draft)
	r = r.with(part)
	if r.ID == "" || r.User == "" || r.Movie == "" || r.Rating == 0 || r.Text == "" {
		c.Drafts.Set(draft, r)
		return nil
	}
	c.Drafts.Delete(draft)
	for _, store := range []service.Request[service.None]{
		ReviewStorageAt("").Store(r),
		UserReviewAt(r.User).Add(r.ID),
		MovieReviewAt(r.Movie).Add(r.ID),
	} {
		if _, err := service.Call(ctx, store); err != nil {
			return err
		}
	}
	return nil
}

// with is the review with what part has.
func (r Review) with(part Review) Review {
	if part.ID != "" {
		r.ID = part.ID
	}
	if part.User != "" {
		r.User = part.User
	}
	if part.Movie != "" {
		r.Movie = part.Movie
	}
	if part.Rating != 0 {
		r.Rating = part.Rating
	}
	if part.Text != "" {
		r.Text = part.Text
	}
	return r
}

// UniqueID makes IDs.
//
//weft:service
type UniqueID struct{}

// Upload gives the draft an ID, and returns it.
func (UniqueID) Upload(ctx *service.Context, draft string) (string, error) {
	id := service.UUID(ctx)
	_, err := service.Call(ctx, ComposeReviewAt("").Upload(draft, Review{ID: id}))
	return id, err
}

// User knows the users.
type User struct {
	IDs service.Map[string, string] // by name
}

// Register adds users.
func (u *User) Register(ctx *service.Context, names []string) {
	for _, name := range names {
		u.IDs.Set(name, service.UUID(ctx))
	}
}

// Find returns the ID of a user.
func (u *User) Find(ctx *service.Context, name string) (string, error) {
	id, ok := u.IDs.Get(name)
	if !ok {
		return "", fmt.Errorf("user %q: %w", name, ErrUser)
	}
	return id, nil
}

// Upload gives the draft its author.
func (u *User) Upload(ctx *service.Context, draft, name string) error {
	id, err := u.Find(ctx, name)
	if err != nil {
		return err
	}
	_, err = service.Call(ctx, ComposeReviewAt("").Upload(draft, Review{User: id}))
	return err
}

// MovieID knows the movies.
type MovieID struct {
	IDs service.Map[string, string] // by title
}

// Register adds movies.
func (m *MovieID) Register(ctx *service.Context, titles []string) {
	for _, title := range titles {
		m.IDs.Set(title, service.UUID(ctx))
	}
}

// Find returns the ID of a movie.
func (m *MovieID) Find(ctx *service.Context, title string) (string, error) {
	id, ok := m.IDs.Get(title)
	if !ok {
		return "", fmt.Errorf("movie %q: %w", title, ErrMovie)
	}
	return id, nil
}

// Upload gives the draft its movie and, separately, the rating.
func (m *MovieID) Upload(ctx *service.Context, draft, title string, rating int) error {
	if rating < 1 || rating > 10 {
		return fmt.Errorf("rating %d: %w", rating, ErrRating)
	}
	id, err := m.Find(ctx, title)
	if err != nil {
		return err
	}
	for _, part := range []Review{{Movie: id}, {Rating: rating}} {
		if _, err := service.Call(ctx, ComposeReviewAt("").Upload(draft, part)); err != nil {
			return err
		}
	}
	return nil
}

// Text looks after what reviews say.
//
//weft:service
type Text struct{}

// textMax is the longest text of a review, in characters.
const textMax = 256

// Upload gives the draft its text, shortened if need be.
func (Text) Upload(ctx *service.Context, draft, text string) error {
	if text == "" {
		return ErrText
	}
	if all := []rune(text); len(all) > textMax {
		text = string(all[:textMax])
	}
	_, err := service.Call(ctx, ComposeReviewAt("").Upload(draft, Review{Text: text}))
	return err
}
