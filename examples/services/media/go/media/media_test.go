package media_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-run/weft/examples/services/media/go/media"
	"github.com/weft-run/weft/service"
)

// A review is there, whole, for its author and for its movie; one that fails leaves nothing.
func TestCompose(t *testing.T) {
	m := service.NewMemory(media.Services()...)
	if _, err := service.Call(m, media.UserAt("").Register([]string{"ann"})); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Call(m, media.MovieIDAt("").Register([]string{"Metropolis"})); err != nil {
		t.Fatal(err)
	}
	compose := media.FrontendAt("").Compose
	id, err := service.Call(m, compose("ann", "Metropolis", 9, strings.Repeat("long ", 100)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, title, text string
		rating            int
		want              error
	}{
		{"bob", "Metropolis", "good", 9, media.ErrUser},
		{"ann", "Nosferatu", "good", 9, media.ErrMovie},
		{"ann", "Metropolis", "", 9, media.ErrText},
		{"ann", "Metropolis", "good", 0, media.ErrRating},
		{"ann", "Metropolis", "good", -1, media.ErrRating},
		{"ann", "Metropolis", "good", 11, media.ErrRating},
	} {
		if id, err := service.Call(m, compose(c.user, c.title, c.rating, c.text)); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %q, %v", c, id, err)
		}
	}
	if _, err := service.Call(m, media.ComposeReviewAt("").Upload("draft", media.Review{})); !errors.Is(err, media.ErrPart) {
		t.Errorf("a part without anything: %v", err)
	}
	ann, _ := service.Call(m, media.UserAt("").Find("ann"))
	movie, _ := service.Call(m, media.MovieIDAt("").Find("Metropolis"))
	for _, list := range []service.Request[[]media.Review]{media.UserReviewAt(ann).Read(), media.MovieReviewAt(movie).Read()} {
		reviews, err := service.Call(m, list)
		if err != nil || len(reviews) != 1 {
			t.Fatalf("%v: got %v, %v", list, reviews, err)
		}
		if r := reviews[0]; r.ID != id || r.User != ann || r.Movie != movie || r.Rating != 9 || len(r.Text) != 256 {
			t.Errorf("%v: got %+v", list, r)
		}
	}
	for _, place := range m.State() {
		if strings.Contains(place, "Drafts") {
			t.Errorf("%s is left", place)
		}
	}
}
