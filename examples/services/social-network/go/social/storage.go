package social

import (
	"fmt"
	"slices"

	"github.com/weft-run/weft/service"
)

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

// Filter returns those names that belong to a user, each one once.
func (u *User) Filter(ctx *service.Context, names []string) []string {
	known := []string{}
	for _, name := range names {
		if !slices.Contains(known, name) && u.IDs.Has(name) {
			known = append(known, name)
		}
	}
	return known
}

// SocialGraph knows who follows whom.
type SocialGraph struct {
	Readers service.Map[string, []string] // by whom they follow
}

// Follow has user follow others.
func (g *SocialGraph) Follow(ctx *service.Context, user string, others []string) {
	for _, other := range others {
		g.Readers.Update(other, func(readers []string) []string {
			if slices.Contains(readers, user) {
				return readers
			}
			return append(readers, user)
		})
	}
}

// Followers returns who follows user.
func (g *SocialGraph) Followers(ctx *service.Context, user string) []string {
	readers, _ := g.Readers.Get(user)
	return append([]string{}, readers...)
}

// PostStorage has all posts.
type PostStorage struct {
	Posts service.Map[string, Post] // by ID
}

// Store stores a post.
func (s *PostStorage) Store(ctx *service.Context, p Post) { s.Posts.Set(p.ID, p) }

// Read returns posts, of those IDs that there are.
func (s *PostStorage) Read(ctx *service.Context, ids []string) []Post {
	posts := []Post{}
	for _, id := range ids {
		if p, ok := s.Posts.Get(id); ok {
			posts = append(posts, p)
		}
	}
	return posts
}

// UserTimeline is what a user has posted; each object is one user.
type UserTimeline struct {
	IDs service.List[string]
}

// Add adds a post.
func (t *UserTimeline) Add(ctx *service.Context, id string) { t.IDs.Append(id) }

// Read returns the latest posts, at most n, the newest first.
func (t *UserTimeline) Read(ctx *service.Context, n int) ([]Post, error) {
	return service.Call(ctx, PostStorageAt("").Read(latest(&t.IDs, n)))
}

// HomeTimeline is what there is for a user to read; each object is one user.
type HomeTimeline struct {
	IDs service.List[string]
}

// Add adds a post.
func (t *HomeTimeline) Add(ctx *service.Context, id string) { t.IDs.Append(id) }

// Read returns the latest posts, at most n, the newest first.
func (t *HomeTimeline) Read(ctx *service.Context, n int) ([]Post, error) {
	return service.Call(ctx, PostStorageAt("").Read(latest(&t.IDs, n)))
}

// latest is the end of a list, at most n elements, backwards.
func latest(list *service.List[string], n int) []string {
	ids := []string{}
	for i := list.Len() - 1; i >= 0 && len(ids) < n; i-- {
		ids = append(ids, list.At(i))
	}
	return ids
}
