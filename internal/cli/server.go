package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// onServer is the annotation of the commands that talk to a server.
const onServer = "server"

// server makes cmd one that talks to a server: f gets a client of the one that flags, environment and contexts name.
func (sh *shell) server(cmd *cobra.Command, f func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[onServer] = "yes"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := sh.connect()
		if err != nil {
			return err
		}
		defer c.CloseIdle()
		return f(cmd.Context(), c, args)
	}
	return cmd
}

// family is a command that only has others below it.
func family(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		hint := strings.TrimSpace(flow.Nearest(args[0], names) + " " + cmd.CommandPath() + " has " + strings.Join(names, ", "))
		return usage(hint, "there is no command %q of %s", args[0], cmd.CommandPath())
	}
	cmd.AddCommand(commands...)
	return cmd
}

// serverStatus is the exit status for an answer of a server.
func serverStatus(status int) int {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return exitBusy
	case http.StatusConflict, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitFailed
	}
	if status >= 400 && status < 500 {
		return exitUsage
	}
	return exitFailed
}

// explainServer finds out what err means if it comes of talking to a server.
func explainServer(err error, p *problem) bool {
	var answer *client.Error
	var none *client.NoServerError
	var broken *client.BrokenError
	switch {
	case errors.As(err, &answer):
		p.Status, p.Hint, p.Request, p.Errors = serverStatus(answer.Problem.Status), answer.Hint, answer.Request, answer.Errors
		if answer.Type == wire.ProblemMethod { // the call was as it should be
			p.Status = exitFailed
		}
		if p.Hint == "" {
			p.Hint = answerHints[answer.Problem.Status]
		}
		if p.Hint == "" {
			p.Hint = callHints[answer.Kind]
		}
	case errors.As(err, &none):
		p.Status, p.Hint = exitNoServer, none.Hint()
	case certificateFault(err):
		p.Status, p.Hint = exitNoServer, "weft context add NAME ADDRESS --ca FILE names who vouches for the server's certificate"
	case errors.As(err, &broken):
		p.Status = exitNoServer
	default:
		return false
	}
	return true
}

// answerHints say what can be done about an answer that has no hint of its own.
var answerHints = map[int]string{
	http.StatusUnauthorized:       "give a token: weft context add NAME ADDRESS --token-file FILE, or WEFT_TOKEN",
	http.StatusForbidden:          "this needs a token with a greater role: weft tokens create",
	http.StatusTooManyRequests:    "the server has as much to do as it may; try again later",
	http.StatusServiceUnavailable: "the server is starting, or about to end; try again later",
}

// callHints say what can be done about the failure of a function that was called by itself.
var callHints = map[string]string{
	flow.KindTimeout:  "raise timeout of the function in the app file",
	domain.KindLimit:  failureHints[domain.KindLimit],
	domain.KindOutput: failureHints[domain.KindOutput],
}

// certificateFault reports whether a server's certificate was not accepted.
func certificateFault(err error) bool {
	var fault *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &fault) || errors.As(err, &unknown)
}

// What a name can be of.
const (
	ofFunction = "function"
	ofWorkflow = "workflow"
)

// unknownApp adds the nearest name to an error that may be that there is no such app.
func unknownApp(ctx context.Context, c *client.Client, err error, app string) error {
	if !vague(err) {
		return err
	}
	apps, listErr := c.Apps(ctx)
	if listErr != nil || slices.ContainsFunc(apps, func(a registry.App) bool { return a.Name == app }) {
		return err
	}
	if len(apps) == 0 {
		return usage("weft deploy brings one", "there is no app %q: nothing is deployed", app)
	}
	var names []string
	for _, a := range apps {
		names = append(names, a.Name)
	}
	return usage(hintOf(app, names, "weft apps list shows them all"), "there is no app %q", app)
}

// known fails if there is no such app.
func known(ctx context.Context, c *client.Client, app string) error {
	_, err := c.App(ctx, app)
	return unknownApp(ctx, c, err, app)
}

// unknownPart does the same for the functions or workflows of an app.
func unknownPart(ctx context.Context, c *client.Client, err error, kind, app, name string) error {
	if !vague(err) {
		return err
	}
	var names []string
	var listErr error
	if kind == ofFunction {
		var list []wire.Function
		list, listErr = c.Functions(ctx, app)
		for _, f := range list {
			names = append(names, f.Name)
		}
	} else {
		var list []wire.Workflow
		list, listErr = c.Workflows(ctx, app)
		for _, w := range list {
			names = append(names, w.Name)
		}
	}
	if listErr != nil {
		return unknownApp(ctx, c, err, app)
	}
	if slices.Contains(names, name) {
		return err
	}
	return usage(hintOf(name, names, "app "+app+" has "+orNone(names)), "app %s has no %s %q", app, kind, name)
}

// unknownVersion does the same for the versions of an app.
func unknownVersion(ctx context.Context, c *client.Client, err error, app, version string) error {
	if !vague(err) {
		return err
	}
	list, listErr := c.Versions(ctx, app)
	if listErr != nil {
		return unknownApp(ctx, c, err, app)
	}
	var names []string
	for _, v := range list {
		names = append(names, v.ID)
	}
	if slices.Contains(names, version) {
		return err
	}
	return usage(hintOf(version, names, "weft apps versions "+app+" shows them"), "app %s has no version %q", app, version)
}

// unknownRun does the same for runs, of which it looks at the latest.
func unknownRun(ctx context.Context, c *client.Client, err error, id string) error {
	if !vague(err) {
		return err
	}
	runs, _, listErr := c.Runs(ctx, engine.Filter{Limit: 200})
	if listErr != nil {
		return err
	}
	var names []string
	for _, r := range runs {
		names = append(names, r.ID)
	}
	if slices.Contains(names, id) {
		return err
	}
	return usage(hintOf(id, names, "weft runs list shows the latest"), "there is no run %q", id)
}

// vague reports whether err is that something is not there, for which the server does not know what was meant.
func vague(err error) bool { return client.Status(err) == http.StatusNotFound }

// hintOf proposes the nearest of names.
func hintOf(name string, names []string, more string) string {
	return strings.TrimSpace(flow.Nearest(name, slices.Clone(names)) + " " + more)
}

// orNone lists names.
func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// split takes APP/NAME apart; the name may be missing.
func split(arg, what string) (app, name string, err error) {
	app, name, more := strings.Cut(arg, "/")
	if app == "" || more && name == "" || strings.Contains(name, "/") {
		return "", "", usage("write APP/"+strings.ToUpper(what)+", such as shop/main", "%q names no %s of an app", arg, what)
	}
	return app, name, nil
}

// pick chooses the workflow or function that was not named: main, or the only one.
func pick(kind, app string, names []string) (string, error) {
	slices.Sort(names)
	switch {
	case kind == ofWorkflow && slices.Contains(names, "main"):
		return "main", nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", usage("the app file has none", "app %s has no %s", app, kind)
	}
	return "", usage("it has "+strings.Join(names, ", ")+": write "+app+"/"+names[0], "app %s has several %ss", app, kind)
}
