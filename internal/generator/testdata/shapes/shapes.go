// Package shapes has a service with all that can be written.
package shapes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/generator/testdata/shapes/words"
	"github.com/weft-run/weft/service"
)

// All that is allowed outside of functions.
var (
	errNone = fmt.Errorf("none")
	word    = regexp.MustCompile("^[a-z]+$")
	limit   = 10
)

// URLShortener has every kind of field.
//
//weft:state 2
type URLShortener struct {
	Count   service.Value[int]
	targets service.Map[ID, Target]
	hits    service.List[time.Time]
}

// ID is the key of a target.
type ID string

// Target is a type of the package.
type Target struct {
	URL    string
	Tags   map[string][]*int
	Any    any
	Secret func() `json:"-"`
}

// Migrate makes state of what there was before.
func (s *URLShortener) Migrate(ctx *service.Context, from int) error {
	var total service.Value[string]
	service.Bind(ctx, "Total", &total)
	if text, ok := total.Lookup(); ok {
		s.Count.Set(len(text))
		total.Delete()
	}
	return nil
}

// Nothing has no arguments and no results.
func (s *URLShortener) Nothing(ctx *service.Context) {}

// Fails has an error only.
func (s *URLShortener) Fails(ctx *service.Context, _ int, Target string, service bool) error {
	return errNone
}

// Get has types of other packages.
func (s *URLShortener) Get(ctx *service.Context, id ID, after time.Duration, status http.ConnState, rand map[string]time.Time) (*Target, error) {
	if !word.MatchString(string(id)) || int(status) > limit {
		return nil, errNone
	}
	t, ok := s.targets.Get(id)
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		_ = k
	}
	if !ok {
		return nil, errNone
	}
	s.hits.Append(service.Now(ctx))
	return &t, s.tell(ctx, t)
}

// tell may do anything where it is a side effect.
func (s *URLShortener) tell(ctx *service.Context, t Target) error {
	_, err := service.Run(ctx, "tell", func(key string) (int, error) {
		return post(t.URL, key)
	})
	return err
}

func post(url, key string) (int, error) {
	r, err := http.Get(url + key)
	if err != nil {
		return 0, err
	}
	words.Watch()
	done := make(chan bool, 1)
	go func() { done <- true }()
	<-done
	return r.StatusCode, r.Body.Close()
}

// Shuffle has results without an error.
func (s *URLShortener) Shuffle(ctx *service.Context, list []string) []string {
	list = append(list, words.Clean(ctx.Object()))
	service.Rand(ctx).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	own := rand.New(rand.NewPCG(1, 2))
	_ = own.IntN(3)
	later, _ := service.Call(ctx, URLShortenerAt("other").Shuffle(list))
	return later
}

// Size only reads.
//
//weft:shared
func (s *URLShortener) Size(ctx *service.Context) int { return s.Count.Get() }

// List reads all as of one moment.
//
//weft:snapshot
func (s *URLShortener) List(ctx *service.Context) ([]ID, error) {
	var ids []ID
	for id := range s.targets.All() {
		ids = append(ids, id)
	}
	_, err := service.Call(ctx, URLShortenerAt(ctx.Object()).Size())
	return ids, err
}
