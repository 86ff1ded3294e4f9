package examples

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// application is services of an example on a server.
type application struct {
	*site
	example, language string
}

// call calls SERVICE[/OBJECT].METHOD, and returns the result as JSON without spaces.
func (a application) call(method string, args ...string) string {
	a.t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, a.weft(append([]string{"call", a.name() + "/" + method}, args...)...)); err != nil {
		a.t.Fatal(err)
	}
	return b.String()
}

func (a application) name() string { return a.example + "-" + a.language }

// state is what is stored in a field, or in an entry of it. Fields have the names that are usual in the language.
func (a application) state(service, field string, entry ...string) string {
	a.t.Helper()
	if a.language == "python" {
		field = strings.ToLower(field)
	}
	return strings.TrimSpace(string(a.weft(append([]string{"state", "get", a.name() + "/" + service, field}, entry...)...)))
}

// places are the places of a service that have a value.
func (a application) places(service string) int {
	a.t.Helper()
	var list []json.RawMessage
	if err := json.Unmarshal(a.weft("state", "scan", a.name()+"/"+service, "-o", "json"), &list); err != nil {
		a.t.Fatal(err)
	}
	return len(list)
}

// populate has the example's script make what requests read.
func (a application) populate(args ...string) {
	a.t.Helper()
	bin := a.t.TempDir()
	if err := os.Symlink(weft(a.t), filepath.Join(bin, "weft")); err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.CommandContext(a.t.Context(), filepath.Join("services", a.example, "populate.sh"), append([]string{a.name()}, args...)...)
	cmd.Env = append(a.command(a.t.Context()).Env, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("populate %s: %v\n%s", a.name(), err, out)
	}
}

// want calls a method, which has to return that.
func (a application) want(result, method string, args ...string) {
	a.t.Helper()
	if got := a.call(method, args...); got != result {
		a.t.Errorf("%s: %s %q: got %s, want %s", a.name(), method, args, got, result)
	}
}

// refuses calls a method, which has to fail with that text.
func (a application) refuses(text, method string, args ...string) {
	a.t.Helper()
	out, err := a.command(a.t.Context(), append([]string{"call", a.name() + "/" + method}, args...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), text) {
		a.t.Errorf("%s: %s %q: got %v, %s, want %s", a.name(), method, args, err, out, text)
	}
}

// stored wants a value in the state.
func (a application) stored(value, service, field string, entry ...string) {
	a.t.Helper()
	if got := a.state(service, field, entry...); got != value {
		a.t.Errorf("%s: %s %s %q is %s, want %s", a.name(), service, field, entry, got, value)
	}
}

// decode decodes a result.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// uses use the applications, each in the same way in all languages.
var uses = []struct {
	example string
	use     func(t *testing.T, a application)
}{
	{"counter", func(t *testing.T, a application) {
		a.want("2", "counter/visits.add", "2")
		a.want("5", "counter/visits.add", "3")
		a.want("5", "counter/visits.get")
		a.want("0", "counter/other.get")
		a.stored("5", "counter/visits", "Count")
	}},
	{"bank", func(t *testing.T, a application) {
		a.want("10", "account/ann.put", "10")
		a.want("null", "teller.move", `{"From": "ann", "To": "bob", "Amount": 4}`)
		a.want("10", "audit.total", `["ann", "bob"]`)
		a.stored("4", "account/bob", "Balance")
	}},
	{"chain", func(t *testing.T, a application) {
		a.want("1", "caller1.hit", "home")
		a.want("2", "caller1.hit", "home")
		a.stored("2", "backend", "Hits", `"home"`)
	}},
	{"tree", func(t *testing.T, a application) {
		a.want("[1,1]", "root.hit", "home")
		a.want("[2,2]", "root.hit", "home")
		a.stored("2", "left", "Hits", `"home"`)
		a.stored("2", "right", "Hits", `"home"`)
	}},
	{"transaction", func(t *testing.T, a application) {
		a.want("[[],[],[]]", "frontend.abort", "5")
		a.want("[[],[],[]]", "frontend.abort", "42")
		a.want("[[5],[5],[5]]", "frontend.compose", "5")
		a.want("[[5,42],[5,42],[5,42]]", "frontend.compose", "42")
		a.want("[[5,42],[5,42],[5,42]]", "frontend.abort", "11")
	}},
	{"fan-out", func(t *testing.T, a application) {
		a.want("[[5],[5]]", "caller.add", "5")
		a.want("[[5,42],[5,42]]", "caller.add", "42")
	}},
	{"url-shortener", func(t *testing.T, a application) {
		type answer struct {
			URL, Short string
			Known      bool
		}
		shorten := func(url string) answer {
			return decode[answer](t, a.call("url-shortener.shorten", url))
		}
		first, again, other := shorten("http://one.example"), shorten("http://one.example"), shorten("http://two.example")
		if first.Known || !again.Known || other.Known || first.Short != again.Short || first.Short == other.Short {
			t.Errorf("got %v, %v, %v", first, again, other)
		}
		links := decode[[]answer](t, a.call("url-shortener.compose", `["http://one.example", "http://three.example"]`))
		if len(links) != 2 || links[0] != first || links[1].Short == "" {
			t.Errorf("got %v", links)
		}
		a.want(`"http://three.example"`, "url-shortener.expand", strconv.Quote(links[1].Short)) // its digits may be a number
	}},
	{"social-network", func(t *testing.T, a application) {
		a.populate()
		type post struct {
			ID, User, Text string
			Mentions       []string
		}
		p := decode[post](t, a.call("compose-post.compose", "user-0", "see http://long.example @user-42 @nobody"))
		if p.User != "user-0" || strings.Contains(p.Text, "long") || strings.Join(p.Mentions, " ") != "user-42" {
			t.Errorf("got %+v", p)
		}
		for _, c := range []struct {
			timeline string
			posts    int
		}{{"user-timeline/user-0", 1}, {"home-timeline/user-1", 1}, {"home-timeline/user-5", 1}, {"home-timeline/user-6", 0}, {"home-timeline/user-42", 1}} {
			posts := decode[[]post](t, a.call(c.timeline+".read", "10"))
			if len(posts) != c.posts || c.posts > 0 && posts[0].ID != p.ID {
				t.Errorf("%s: got %+v, want post %s", c.timeline, posts, p.ID)
			}
		}
	}},
	{"media", func(t *testing.T, a application) {
		a.populate()
		type review struct {
			ID, User, Movie, Text string
			Rating                int
		}
		user := decode[string](t, a.call("user.find", "user-7"))
		movie := decode[string](t, a.call("movie-id.find", "movie-42"))
		id := decode[string](t, a.call("frontend.compose", "user-7", "movie-42", "9", strings.Repeat("x", 300)))
		want := review{id, user, movie, strings.Repeat("x", 256), 9}
		for _, of := range []string{"user-review/" + user, "movie-review/" + movie} {
			got := decode[[]review](t, a.call(of+".read"))
			if len(got) != 1 || got[0] != want {
				t.Errorf("%s: got %+v, want %+v", of, got, want)
			}
		}
		a.refuses("rating 0: a rating is a number from 1 to 10", "frontend.compose", "user-7", "movie-42", "0", "good")
		a.refuses("a review says something", "frontend.compose", "user-7", "movie-42", "9", `""`)
		a.refuses("there is no such user", "frontend.compose", "nobody", "movie-42", "9", "good")
		a.refuses("a part of a review has something in it", "compose-review.upload", "draft", "{}")
		if n := a.places("review-storage"); n != 1 {
			t.Errorf("%d reviews are stored", n)
		}
		if n := a.places("compose-review"); n != 0 {
			t.Errorf("%d drafts are left", n)
		}
	}},
	{"hotel", func(t *testing.T, a application) {
		a.populate("4", "3")
		for range 3 {
			a.want(`{"ok":true,"text":"Order Successful"}`, "frontend.reserve", "ann", "hotel-7", "flight-8")
		}
		a.want(`{"ok":false,"text":"Flight Reservation Failed"}`, "frontend.reserve", "ann", "hotel-7", "flight-8")
		a.want(`{"ok":false,"text":"Hotel Reservation Failed"}`, "frontend.reserve", "ann", "none", "flight-8")
		a.want("3", "order.count")
		a.stored("1", "hotel", "Rooms", `"hotel-7"`)
		a.stored("0", "flight", "Seats", `"flight-8"`)
	}},
}

// The applications of services do what they say, on a server that is killed and started
// again between their deployment and their use, and leave no lock.
func TestServices(t *testing.T) {
	need(t, "go")
	s := &site{t: t, home: t.TempDir()}
	s.serve()
	t.Cleanup(func() { s.kill() })
	var all []application
	for _, u := range uses {
		folders, err := filepath.Glob(filepath.Join("services", u.example, "*", "weft.yaml"))
		if err != nil || len(folders) == 0 {
			t.Fatalf("%s is in no language: %v", u.example, err)
		}
		for _, file := range folders {
			dir := filepath.Dir(file)
			s.weft("deploy", dir, "--quiet")
			all = append(all, application{s, u.example, filepath.Base(dir)})
		}
	}
	s.kill()
	s.serve()
	for _, u := range uses {
		for _, a := range all {
			if a.example == u.example {
				t.Run(a.name(), func(t *testing.T) {
					a.site = &site{t: t, home: s.home}
					u.use(t, a)
				})
			}
		}
	}
	if locks := decode[[]json.RawMessage](t, string(s.weft("locks", "-o", "json"))); len(locks) > 0 {
		t.Errorf("locks are left: %s", locks)
	}
}
