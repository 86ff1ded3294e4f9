package chaos

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/client"
)

// The apps: runs are of chaosApp, spareApp comes and goes.
const (
	chaosApp = "chaos"
	spareApp = "spare"
)

// versionsMax is how many versions of the app there are.
const versionsMax = 4

// versions makes all versions of the app and deploys the first one.
func (l *life) versions(ctx context.Context) ([]*version, error) {
	var all []*version
	for i := range uint64(versionsMax) {
		v, err := l.apps.random(chaosApp, l.o.Seed*versionsMax+i)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	c, err := l.node.Client(4)
	if err != nil {
		return nil, err
	}
	defer c.CloseIdle()
	d, err := c.Deploy(ctx, all[0].bundle, true)
	if err == nil && (d.ID != all[0].id || !d.Active) {
		l.fault("deployed version %s of content %s, active: %v", d.ID, all[0].id, d.Active)
	}
	return all, err
}

// deployer deploys versions, activates others and goes back.
func (l *life) deployer(ctx context.Context, versions []*version) {
	rng := l.random(deployerPart)
	c, err := l.node.Client(1)
	if err != nil {
		l.fault("%v", err)
		return
	}
	defer c.CloseIdle()
	for l.pause(ctx, 700*time.Millisecond) {
		v := versions[rng.IntN(len(versions))]
		if err := l.deploy(c, v); err != nil {
			l.fault("%v", err)
			return
		}
		l.count.deployments.Add(1)
		if rng.IntN(3) > 0 {
			continue
		}
		err := l.whole(func(ctx context.Context) error { _, err := c.Rollback(ctx, chaosApp); return err })
		if err != nil && problem(err) != "urn:weft:no-other" { // a rollback whose answer was lost has taken place
			l.fault("roll app %s back: %v", chaosApp, err)
			return
		}
	}
}

// deploy deploys a version, whatever happens to the server meanwhile.
func (l *life) deploy(c *client.Client, v *version) error {
	err := l.whole(func(ctx context.Context) error {
		d, err := c.Deploy(ctx, v.bundle, true)
		if err == nil && (d.ID != v.id || !d.Active) {
			l.fault("deployed app %s, version %s, and the answer is %s, active: %v", v.app.Name, v.id, d.ID, d.Active)
		}
		return err
	})
	return wrap(fmt.Sprintf("deploy app %s, version %s", v.app.Name, v.id), err)
}

// whole repeats a request until it has an answer, also when the time for
// meddling is over, so that nothing is left half done.
func (l *life) whole(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*readyTime)
	defer cancel()
	return insist(ctx, func() error {
		if l.failed() {
			return nil
		}
		return f(ctx)
	})
}

// spare deploys an app, again and again, and removes it.
func (l *life) spare(ctx context.Context) {
	c, err := l.node.Client(1)
	if err != nil {
		l.fault("%v", err)
		return
	}
	defer c.CloseIdle()
	for seed := l.o.Seed; l.pause(ctx, 500*time.Millisecond); seed++ {
		v, err := l.apps.random(spareApp, seed)
		if err == nil {
			err = l.deploy(c, v)
		}
		if err == nil {
			l.pause(ctx, 300*time.Millisecond)
			err = l.whole(func(ctx context.Context) error {
				err := c.DeleteApp(ctx, spareApp)
				if problem(err) == "urn:weft:in-use" { // a deployment whose answer was lost goes on
					return errAgain
				}
				return err
			})
		}
		if err != nil && !gone(err) { // it has gone by a request whose answer was lost
			l.fault("app %s: %v", spareApp, err)
			return
		}
	}
}

// backups takes backups, which are whole or end with an error.
func (l *life) backups(ctx context.Context) {
	c, err := l.node.Client(1)
	if err != nil {
		l.fault("%v", err)
		return
	}
	defer c.CloseIdle()
	for l.pause(ctx, 3*time.Second) {
		err := insist(ctx, func() error {
			r, err := c.Backup(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			parts := map[string]bool{}
			for tr := tar.NewReader(r); ; {
				h, err := tr.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err == nil {
					_, err = io.Copy(io.Discard, tr)
				}
				if err != nil {
					return err
				}
				part, _, _ := strings.Cut(h.Name, "/")
				parts[part] = true
			}
			for _, part := range []string{"backup.json", "store", "apps", "secret.key"} {
				if !parts[part] {
					l.fault("a backup that is whole has no %s: %v", part, parts)
				}
			}
			l.count.backups.Add(1)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			l.fault("back up: %v", err)
		}
	}
}

// pause waits, and reports whether to go on.
func (l *life) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return !l.failed()
	}
}

// gone reports whether an answer says that there is no such thing.
func gone(err error) bool { return client.Status(err) == http.StatusNotFound }
