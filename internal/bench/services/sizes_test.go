package services

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/replay"
)

// full are sizes as those of a run that is not quick.
var full = sizes{alone: 200, clients: 64, window: 2 * time.Second, rounds: 3, ladder: []int{1, 2, 4, 8, 16, 32, 64}, peaks: 3, repeats: repeatsMax}

// fiveApps are applications on no server, each in four variants.
func fiveApps(noise *disturbances) [][]*served {
	var out [][]*served
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		app := application{name: name, rates: []float64{1, 2, 3, 4}}
		if i < 2 {
			app.onOneKey = func(*rand.Rand) (string, string) { return "", "" }
		}
		var of []*served
		for _, v := range []string{"v", "w", "x", "y"} {
			of = append(of, &served{application: app, variant: v, noise: noise})
		}
		out = append(out, of)
	}
	return out
}

func TestSizesFitTheTimeThatIsLeft(t *testing.T) {
	apps := fiveApps(nil)
	whole := time.Duration(full.windows(apps) * float64(full.window))
	for _, c := range []struct {
		name string
		left time.Duration
		said string // "": nothing was cut
		fits bool
	}{
		{"more than enough", 2 * whole, "", true},
		{"half of it", whole / 2, "windows are of", true},
		{"a twentieth", whole / 20, "rounds are at least 1 instead of 3", true},
		{"hardly any", time.Second, "windows are of 100ms", false},
		{"none", -time.Second, "windows are of 100ms", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := full.fit(apps, c.left)
			least := time.Duration(z.windows(apps) * float64(z.window))
			if fits := least <= c.left; fits != c.fits {
				t.Errorf("%v of %v: the least of %+v takes %v", c.name, c.left, z, least)
			}
			said := strings.Join(full.cut(z), "; ")
			if !strings.Contains(said, c.said) || (said == "") != (c.said == "") {
				t.Errorf("said %q, want %q", said, c.said)
			}
		})
	}
	short := sizes{window: 20 * time.Millisecond, rounds: 1, ladder: []int{1, 2}, peaks: 1}
	if z := short.fit(apps, 0); z.window != short.window || !slices.Equal(z.ladder, []int{1}) {
		t.Errorf("%+v: windows became longer", z)
	}
}

// An experiment whose windows are all disturbed, and measured again where they may be, keeps to its budget, or says that it cannot.
func TestBudgetIsKept(t *testing.T) {
	for _, c := range []struct {
		budget time.Duration
		tight  bool // that it is too small
	}{{20 * time.Second, true}, {time.Minute, false}, {5 * time.Minute, false}, {30 * time.Minute, false}} {
		t.Run(c.budget.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lab.Experiment{Name: "windows", Serves: true, Setup: func(_ context.Context, l *lab.Lab) error {
					time.Sleep(10 * time.Second)
					noise := &disturbances{repeats: full.repeats, until: func() time.Time { return l.Until }}
					apps := fiveApps(noise)
					z := full.fit(apps, time.Until(l.Until))
					for _, variants := range apps {
						for _, s := range z.steps(variants[0].application) {
							s.sample = func(a *served, _ context.Context) (lab.Sample, error) {
								for n := 0.0; n < s.windows; n++ {
									for again := 0; ; again++ {
										time.Sleep(z.window)
										if a.noise.counts(replay.Noise{Foreign: 0.5}, again) {
											break
										}
									}
								}
								return lab.Sample{Values: []lab.Value{lab.Millis(a.name+s.what, 1)}}, nil
							}
							s.add(l, variants)
						}
					}
					return nil
				}}
				r, err := lab.Run(t.Context(), e, lab.Options{Budget: c.budget})
				if err != nil {
					t.Fatal(err)
				}
				said := strings.Contains(strings.Join(r.Notes, "\n"), "was not enough")
				if c.tight && !said {
					t.Errorf("took %v of %v, and does not say so", r.Took, c.budget)
				}
				if !c.tight && r.Took > c.budget*3/2 {
					t.Errorf("took %v of %v", r.Took, c.budget)
				}
			})
		})
	}
}
