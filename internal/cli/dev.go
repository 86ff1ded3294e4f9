package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/telemetry"
)

const (
	devEvery  = 500 * time.Millisecond // between two looks at the sources
	devSettle = 150 * time.Millisecond // that they have to stay as they are before they are built
	devRuns   = time.Second            // between two looks at the runs
)

func (sh *shell) devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev [app]",
		Short: "Deploy an app again whenever its sources change, and show what its runs log",
		Long: `Deploy an app (a folder or a file, by default this folder) to the server, watch its folder and the sources of its
functions, and build and deploy it again when something has changed. What goes wrong is shown, and the version that works
stays. The functions of runs that are started meanwhile log to stderr. Ctrl-C leaves; app and runs stay.`,
		Args: atMost(1, "one app"),
	}
	more := cmd.Flags().StringArray("watch", nil, "another folder or file to watch; may be repeated")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		if _, err := c.Version(ctx); err != nil {
			return err
		}
		if _, err := os.Stat(appArgument(args)); errors.Is(err, fs.ErrNotExist) { // that is mistyped rather than yet to come
			_, err := app.Load(appArgument(args))
			return err
		}
		d := &developer{sh: sh, client: c, file: appArgument(args), more: *more, begun: time.Now()}
		defer d.logs.Wait()
		return d.watch(ctx)
	})
}

// developer is somebody who works at an app.
type developer struct {
	sh     *shell
	client *client.Client
	file   string
	more   []string
	begun  time.Time

	app    string // its name, once it has been deployed
	places []string
	logs   sync.WaitGroup

	mu sync.Mutex // held over each line that is written
}

// say writes a line to stderr.
func (d *developer) say(i ink, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.sh.stderr, d.sh.errStyle.paint(i, fmt.Sprintf(format, args...)))
}

// watch deploys whenever something has changed, until ctx ends.
func (d *developer) watch(ctx context.Context) error {
	for last := ""; ; {
		if now := d.fingerprint(); now != last {
			for settled := ""; settled != now; now = d.fingerprint() { // an editor may write several files
				settled = now
				if !sleep(ctx, devSettle) {
					return nil
				}
			}
			a, err := app.Load(d.file)
			if err == nil {
				d.places = sources(a)
			}
			last = d.fingerprint() // what changes while it is built is another change
			if err == nil {
				err = d.deploy(ctx, a)
			}
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				d.complain(ctx, err)
			}
		}
		if !sleep(ctx, devEvery) {
			return nil
		}
	}
}

// sleep waits, and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// deploy builds and deploys the app, and once there is one, begins to show what its runs log.
func (d *developer) deploy(ctx context.Context, a *app.App) error {
	begun := time.Now()
	deployed, err := d.sh.deploy(ctx, d.client, a, true, false)
	if err != nil {
		return err
	}
	d.say(green, "%s, in %s", describeDeployed(deployed), telemetry.FormatDuration(time.Since(begun)))
	if d.app == "" {
		d.app = a.Name
		d.logs.Go(func() { d.followRuns(ctx) })
	}
	return nil
}

// complain shows what went wrong and goes on.
func (d *developer) complain(ctx context.Context, err error) {
	p := explain(ctx, err)
	for _, e := range p.Errors {
		d.say("", "%s\n", d.sh.paintAppError(e))
	}
	if len(p.Errors) > 0 {
		p.Message = plural(len(p.Errors), "error") + " in " + p.Errors[0].File
	}
	d.say(red, "%s", p.Message)
	if p.Hint != "" {
		d.say("", "hint: %s", p.Hint)
	}
	d.say(dim, "waiting for a change")
}

// followRuns looks for new runs of the app and follows each.
func (d *developer) followRuns(ctx context.Context) {
	var runs sync.WaitGroup
	defer runs.Wait()
	seen := map[string]bool{}
	for lost := false; ; {
		list, _, err := d.client.Runs(ctx, engine.Filter{App: d.app, Since: d.begun, Limit: 100})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !lost:
			d.say(yellow, "the runs of the server cannot be seen: %v", err)
		}
		lost = err != nil
		slices.Reverse(list)
		for _, r := range list {
			if !seen[r.ID] {
				seen[r.ID] = true
				runs.Go(func() { d.followRun(ctx, r) })
			}
		}
		if !sleep(ctx, devRuns) {
			return
		}
	}
}

// followRun shows what a run logs, and how it ends.
func (d *developer) followRun(ctx context.Context, r engine.Run) {
	d.say(dim, "run %s of workflow %s has started", r.ID, r.Workflow)
	for line, err := range d.client.Logs(ctx, r.ID, true) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.say(yellow, "the log of run %s cannot be read: %v", r.ID, err)
			break
		}
		d.say("", "%s %s", d.sh.errStyle.paint(cyan, logEvent(line).Path()+" |"), visible(line.Text))
	}
	ended, err := d.client.Follow(ctx, r.ID, 0, func(wire.Event) {})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.say(yellow, "run %s cannot be followed: %v", r.ID, err)
	case ended.Status == engine.Succeeded:
		d.say(green, "run %s of workflow %s succeeded in %s", r.ID, r.Workflow, took(ended))
	default:
		d.say(red, "run %s of workflow %s %s", r.ID, r.Workflow, describeEnd(string(ended.Status), ended.Failure))
	}
}

// sources are the files and folders of an app's functions and services.
func sources(a *app.App) []string {
	var places []string
	for _, f := range a.Units() {
		place := f.Source
		if !filepath.IsAbs(place) {
			place = filepath.Join(a.Dir, place)
		}
		places = append(places, place)
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// generated are folders that builds write, and others that hold no sources.
var generated = []string{".git", "node_modules", "target", "__pycache__", ".venv"}

// fingerprint sums up names, sizes and times of the files that are watched. What cannot be read is as if it were not
// there: it may be in the middle of being replaced.
func (d *developer) fingerprint() string {
	sum := sha256.New()
	root := d.file
	if st, err := os.Stat(root); err == nil && !st.IsDir() {
		root = filepath.Dir(root)
	}
	for _, place := range append(append([]string{root}, d.places...), d.more...) {
		if abs, err := filepath.Abs(place); err == nil {
			place = abs
		}
		// The callback gives no error, and so does the walk.
		filepath.WalkDir(place, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if e.IsDir() {
				if name != place && slices.Contains(generated, e.Name()) {
					return filepath.SkipDir
				}
				return nil
			}
			if st, err := e.Info(); err == nil && !strings.HasSuffix(name, "~") {
				fmt.Fprintf(sum, "%q %d %d\n", name, st.Size(), st.ModTime().UnixNano())
			}
			return nil
		})
	}
	return string(sum.Sum(nil))
}
