package media

import "github.com/weft-run/weft/service"

// ReviewStorage has all reviews.
type ReviewStorage struct {
	Reviews service.Map[string, Review] // by ID
}

// Store stores a review.
func (s *ReviewStorage) Store(ctx *service.Context, r Review) { s.Reviews.Set(r.ID, r) }

// Read returns reviews, of those IDs that there are.
func (s *ReviewStorage) Read(ctx *service.Context, ids []string) []Review {
	reviews := []Review{}
	for _, id := range ids {
		if r, ok := s.Reviews.Get(id); ok {
			reviews = append(reviews, r)
		}
	}
	return reviews
}

// UserReview is what a user has written; each object is one user.
type UserReview struct {
	IDs service.List[string]
}

// Add adds a review.
func (u *UserReview) Add(ctx *service.Context, id string) { u.IDs.Append(id) }

// Read returns the user's reviews.
func (u *UserReview) Read(ctx *service.Context) ([]Review, error) {
	return service.Call(ctx, ReviewStorageAt("").Read(u.IDs.Slice()))
}

// MovieReview is what was written about a movie; each object is one movie.
type MovieReview struct {
	IDs service.List[string]
}

// Add adds a review.
func (m *MovieReview) Add(ctx *service.Context, id string) { m.IDs.Append(id) }

// Read returns the reviews of the movie.
func (m *MovieReview) Read(ctx *service.Context) ([]Review, error) {
	return service.Call(ctx, ReviewStorageAt("").Read(m.IDs.Slice()))
}
