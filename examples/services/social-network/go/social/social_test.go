package social_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-run/weft/examples/services/social-network/go/social"
	"github.com/weft-run/weft/service"
)

// network is where Bob and Cid follow Ann.
func network(t *testing.T) *service.Memory {
	m := service.NewMemory(social.Services()...)
	for _, r := range []service.Request[service.None]{
		social.UserAt("").Register([]string{"ann", "bob", "cid", "dan"}),
		social.SocialGraphAt("").Follow("bob", []string{"ann"}),
		social.SocialGraphAt("").Follow("cid", []string{"ann", "bob"}),
		social.SocialGraphAt("").Follow("cid", []string{"ann"}),
	} {
		if _, err := service.Call(m, r); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestCompose(t *testing.T) {
	m := network(t)
	const url = "http://long.example/path"
	p, err := service.Call(m, social.ComposePostAt("").Compose("ann", "see "+url+" @dan @bob @nobody"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.Text, url) || len(p.Links) != 1 || p.Links[0].URL != url || !strings.Contains(p.Text, p.Links[0].Short) {
		t.Errorf("got %+v", p)
	}
	if long, err := service.Call(m, social.URLShortenerAt("").Expand(p.Links[0].Short)); long != url || err != nil {
		t.Errorf("got %q, %v", long, err)
	}
	if strings.Join(p.Mentions, " ") != "dan bob" {
		t.Errorf("mentions are %q", p.Mentions)
	}
	second, err := service.Call(m, social.ComposePostAt("").Compose("ann", "again"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		timeline service.Request[[]social.Post]
		want     []string
	}{
		{"ann's own", social.UserTimelineAt("ann").Read(10), []string{second.ID, p.ID}},
		{"ann's own, the latest", social.UserTimelineAt("ann").Read(1), []string{second.ID}},
		{"a follower", social.HomeTimelineAt("cid").Read(10), []string{second.ID, p.ID}},
		{"a follower who is mentioned", social.HomeTimelineAt("bob").Read(10), []string{second.ID, p.ID}},
		{"who is mentioned", social.HomeTimelineAt("dan").Read(10), []string{p.ID}},
		{"nobody", social.HomeTimelineAt("ann").Read(10), nil},
	} {
		posts, err := service.Call(m, c.timeline)
		var got []string
		for _, p := range posts {
			got = append(got, p.ID)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") || err != nil {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if _, err := service.Call(m, social.ComposePostAt("").Compose("nobody", "hello")); !errors.Is(err, social.ErrUser) {
		t.Errorf("got %v", err)
	}
}
