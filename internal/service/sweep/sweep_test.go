package sweep_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-run/weft/examples/services/bank/go/bank"
	"github.com/weft-run/weft/examples/services/chain/go/chain"
	"github.com/weft-run/weft/examples/services/counter/go/counter"
	fanout "github.com/weft-run/weft/examples/services/fan-out/go/fanout"
	"github.com/weft-run/weft/examples/services/hotel/go/hotel"
	"github.com/weft-run/weft/examples/services/media/go/media"
	"github.com/weft-run/weft/examples/services/social-network/go/social"
	"github.com/weft-run/weft/examples/services/transaction/go/transaction"
	"github.com/weft-run/weft/examples/services/tree/go/tree"
	"github.com/weft-run/weft/examples/services/url-shortener/go/shortener"
	"github.com/weft-run/weft/internal/service/sweep"
)

var every = flag.Bool("every", false, "sweep all, not a sample")

var do = sweep.Do

// short is what a shortener makes of an address, by chance.
const short = `[0-9a-f]{10,16}`

// inSeconds writes times as Python does.
func inSeconds(c sweep.Call) sweep.Call {
	if c.To.Method == "moveLater" {
		var ns float64
		if err := json.Unmarshal(c.Args[1], &ns); err != nil {
			panic(err)
		}
		c.Args = []json.RawMessage{c.Args[0], json.RawMessage(fmt.Sprint(ns / 1e9))}
	}
	return c
}

// scripts are one for each example, named by its folder, and more.
var scripts = []sweep.Script{
	shopScript,
	{
		Name: "bank", Services: bank.Services(), InPython: inSeconds,
		Before: []sweep.Call{do("account", "ann", "put", 10), do("account", "bob", "put", 10)},
		Clients: [][]sweep.Call{
			{do("teller", "", "move", bank.Move{From: "ann", To: "bob", Amount: 7}), do("audit", "", "total", []string{"ann", "bob"})},
			{do("teller", "", "move", bank.Move{From: "bob", To: "ann", Amount: 12})},
			{do("teller", "", "moveAll", []bank.Move{{From: "ann", To: "bob", Amount: 3}, {From: "bob", To: "ann", Amount: 30}})},
			{do("account", "ann", "take", 4)},
			{do("teller", "", "moveLater", bank.Move{From: "ann", To: "bob", Amount: 1}, 3e9), do("teller", "", "count")},
		},
	},
	{
		Name: "counter", Services: counter.Services(),
		Clients: [][]sweep.Call{
			{do("counter", "a", "add", 1), do("counter", "a", "get")},
			{do("counter", "a", "add", 2), do("counter", "b", "add", 3)},
			{do("counter", "a", "add", -1), do("counter", "a", "add", 4)},
		},
	},
	{
		Name: "chain", Services: chain.Services(),
		Clients: [][]sweep.Call{
			{do("caller1", "", "hit", "a"), do("caller1", "", "hit", "b")},
			{do("caller1", "", "hit", "a"), do("caller2", "", "hit", "a")},
			{do("backend", "", "hit", "a")},
		},
	},
	{
		Name: "tree", Services: tree.Services(),
		Clients: [][]sweep.Call{
			{do("root", "", "hit", "a"), do("root", "", "hit", "b")},
			{do("root", "", "hit", "a"), do("root", "", "hit", "a")},
			{do("root", "", "hit", "a"), do("right", "", "hit", "a")},
			{do("left", "", "hit", "a")},
		},
	},
	{
		Name: "transaction", Services: transaction.Services(),
		Clients: [][]sweep.Call{
			{do("frontend", "", "compose", 1), do("frontend", "", "abort", 2)},
			{do("frontend", "", "compose", 3), do("frontend", "", "abort", 40)},
			{do("first", "", "add", 5), do("frontend", "", "read")},
		},
	},
	{
		Name: "fan-out", Services: fanout.Services(),
		Clients: [][]sweep.Call{
			{do("caller", "", "add", 1), do("caller", "", "add", 2)},
			{do("caller", "", "add", 3)},
			{do("first", "", "add", 4)},
		},
	},
	{
		Name: "url-shortener", Services: shortener.Services(), Chance: short,
		Clients: [][]sweep.Call{
			{do("url-shortener", "", "shorten", "http://a.example"), do("url-shortener", "", "shorten", "http://b.example")},
			{do("url-shortener", "", "compose", []string{"http://a.example", "http://b.example", "http://a.example"})},
			{do("url-shortener", "", "shorten", "http://a.example"), do("url-shortener", "", "expand", "none")},
		},
	},
	{
		Name: "hotel", Services: hotel.Services(),
		Before: []sweep.Call{do("hotel", "", "add", []string{"ritz", "inn"}, 2), do("flight", "", "add", []string{"LH400"}, 3)},
		Clients: [][]sweep.Call{
			{do("frontend", "", "reserve", "ann", "ritz", "LH400"), do("frontend", "", "reserve", "ann", "inn", "LH400")},
			{do("frontend", "", "reserve", "bob", "ritz", "LH400"), do("hotel", "", "free", "ritz")},
			{do("frontend", "", "reserve", "cid", "ritz", "LH400"), do("frontend", "", "reserve", "cid", "inn", "LH400")},
			{do("flight", "", "reserve", "LH400"), do("order", "", "count")},
		},
	},
	{
		Name: "media", Services: media.Services(),
		Before: []sweep.Call{do("user", "", "register", []string{"ann", "bob"}), do("movie-id", "", "register", []string{"Metropolis"})},
		Clients: [][]sweep.Call{
			{do("frontend", "", "compose", "ann", "Metropolis", 9, "long"), do("frontend", "", "compose", "eve", "Metropolis", 9, "good")},
			{do("frontend", "", "compose", "bob", "Metropolis", 3, "dull")},
			{do("frontend", "", "compose", "bob", "Nosferatu", 3, "dark")},
		},
	},
	{
		Name: "social-network", Services: social.Services(), Chance: short,
		Before: []sweep.Call{do("user", "", "register", []string{"ann", "bob", "cid"}), do("social-graph", "", "follow", "bob", []string{"ann"})},
		Clients: [][]sweep.Call{
			{do("compose-post", "", "compose", "ann", "see http://long.example/path @cid @bob"), do("compose-post", "", "compose", "eve", "hello")},
			{do("compose-post", "", "compose", "bob", "me @cid")},
			{do("social-graph", "", "follow", "cid", []string{"ann"}), do("social-graph", "", "followers", "ann")},
		},
	},
}

// Every application has a correct outcome wherever something goes wrong.
func TestSweep(t *testing.T) {
	folders, err := filepath.Glob("../../../examples/services/*/go")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no applications: %v", err)
	}
	for _, dir := range folders {
		name := filepath.Base(filepath.Dir(dir))
		if !slices.ContainsFunc(scripts, func(s sweep.Script) bool { return s.Name == name }) {
			t.Errorf("%s has no script here: what clients ask of it at the same time", dir)
		}
	}
	for _, s := range scripts {
		t.Run(s.Name, func(t *testing.T) { sweep.Run(t, s, sweep.Options{Every: *every}) })
	}
}

// A crash around the commit of a transaction over three services, at every moment,
// perhaps after a conflict: if what the others have to do were only told to them after
// the commit, or numbered by what the attempt had asked before, halves of transactions
// and locks would be left in the next life, and who asks again would get another
// answer, or none.
func TestCrashesAroundACommit(t *testing.T) {
	sweep.Run(t, sweep.Script{
		Name: "one transaction", Services: transaction.Services(),
		Clients: [][]sweep.Call{{do("frontend", "", "compose", 1)}, {do("frontend", "", "compose", 20)}},
	}, sweep.Options{Every: *every})
}
