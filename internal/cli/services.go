package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/yamlfile"
)

func (sh *shell) callCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call APP/SERVICE[/KEY].METHOD [ARGUMENT...]",
		Short: "Call a method of a service",
		Long: `Call a method of a service and print its result. Arguments are JSON; what is none is a string, and a string that is JSON by chance has
quotes of its own: '"42"'. With --key the call has its effect once, however often it is repeated; without one a new key is
made, so that a connection that breaks is no reason to do it twice.`,
		Example: `  weft call shop/bank/ann.deposit 100
  weft call shop/orders.place '{"item": "tea", "count": 2}' --key order-17
  weft call shop/orders.remind ann --send --delay 24h`,
		Args: between(1, -1, "a method"),
	}
	f := cmd.Flags()
	key := f.String("key", "", "idempotency key: the same call under the same key happens once")
	sendIt := f.Bool("send", false, "do not wait for the result: print the request's ID as soon as it is certain to happen")
	delay := f.String("delay", "", "with --send: it happens that much later, such as 24h")
	timeout := f.String("timeout", "", "a time such as 30s after which the call is ended if it has not ended by itself: nothing of it happens, or its compensations follow")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) (err error) {
		q := client.ServiceCall{Key: *key}
		if q.Target, err = parseTarget(args[0]); err != nil {
			return err
		}
		if q.Delay, err = spanFlag("delay", *delay); err != nil {
			return err
		}
		if q.Timeout, err = spanFlag("timeout", *timeout); err != nil {
			return err
		}
		for _, a := range args[1:] {
			q.Args = append(q.Args, jsonOf(a))
		}
		if *sendIt || q.Delay > 0 {
			id, err := c.SendService(ctx, q)
			if err != nil {
				return unknownApp(ctx, c, err, q.App)
			}
			return sh.printLine("%s", id)
		}
		result, err := c.CallService(ctx, q)
		if err != nil {
			return unknownApp(ctx, c, err, q.App)
		}
		return sh.printLine("%s", result)
	})
}

// jsonOf is an argument: JSON, or a string.
func jsonOf(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // strings can be
	return quoted
}

// spanFlag reads a flag that is a duration.
func spanFlag(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := yamlfile.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, usage("write --"+name+" 30s, or 24h", "--%s %s is no duration", name, text)
	}
	return d, nil
}

// parseTarget reads APP/SERVICE[/KEY].METHOD. A key may have slashes and dots.
func parseTarget(text string) (t wire.Target, err error) {
	const hint = "write APP/SERVICE.METHOD, or APP/SERVICE/KEY.METHOD, such as shop/bank/ann.deposit"
	app, rest, _ := strings.Cut(text, "/")
	dot := strings.LastIndexByte(rest, '.')
	if app == "" || dot <= 0 || dot == len(rest)-1 {
		return t, usage(hint, "%q names no method of a service", text)
	}
	t.App, t.Method = app, rest[dot+1:]
	var keyed bool
	t.Service, t.Object, keyed = strings.Cut(rest[:dot], "/")
	if t.Service == "" || keyed && t.Object == "" {
		return t, usage(hint, "%q names no method of a service", text)
	}
	return t, nil
}

// only is the app that a command was given, "" for all.
func only(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (sh *shell) servicesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "services [APP]", Short: "List the services on a server, and how many requests they have", Args: atMost(1, "an app")}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Services(ctx, only(args))
		if err != nil {
			return unknownApp(ctx, c, err, only(args))
		}
		t := table{heading: []string{"service", "runtime", "keyed", "open", "parked", "methods"}}
		for _, s := range list {
			keyed := "no"
			if s.Keyed {
				keyed = "yes"
			}
			parked := cell{text: strconv.Itoa(s.Parked)}
			if s.Parked > 0 {
				parked.ink = red
			}
			methods := make([]string, len(s.Methods))
			for i, m := range s.Methods {
				if methods[i] = m; s.Modes[m] != "" {
					methods[i] += " (" + s.Modes[m] + ")"
				}
			}
			if len(methods) == 0 {
				methods = []string{"as its code says"}
			}
			if len(s.Switches) > 0 {
				methods[len(methods)-1] += "; " + strings.Join(s.Switches, ", ")
			}
			t.rows = append(t.rows, []cell{{text: s.App + "/" + s.Service}, {text: s.Runtime}, {text: keyed}, {text: strconv.Itoa(s.Open)}, parked, {text: strings.Join(methods, ", ")}})
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) txnsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "txns [APP]", Short: "List the requests whose segment is under way: the locks that it has, what it has written",
		Long: `List the requests that are in the middle of a segment, which is atomic with all that it calls: the methods that run, the
locks that it has and the writes that nobody sees yet. docs/services.md says what segments and transactions are.`,
		Args: atMost(1, "an app"),
	}
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Requests(ctx, client.RequestFilter{App: only(args), State: "running"})
		if err == nil && len(list) == 0 && len(args) > 0 {
			err = known(ctx, c, args[0])
		}
		if err != nil {
			return err
		}
		t := table{heading: []string{"request", "transaction", "locks", "writes", "waits for", "methods"}}
		for _, r := range list {
			within := "no"
			if r.Transaction {
				within = "open"
			}
			var calls []string
			for _, c := range r.Calls {
				calls = append(calls, c.String())
			}
			t.add(r.ID, within, strconv.Itoa(r.Held), strconv.Itoa(r.Writes), r.Waits, strings.Join(calls, " → "))
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) stateCommand() *cobra.Command {
	return family("state", "Read the state of services", sh.stateGetCommand(), sh.stateScanCommand())
}

// parseObject reads APP/SERVICE[/KEY].
func parseObject(text string) (q client.StateQuery, err error) {
	parts := strings.SplitN(text, "/", 3)
	if len(parts) < 2 || slices.Contains(parts, "") {
		return q, usage("write APP/SERVICE, or APP/SERVICE/KEY, such as shop/bank/ann", "%q names no service", text)
	}
	q.App, q.Service = parts[0], parts[1]
	if len(parts) == 3 {
		q.Object = parts[2]
	}
	return q, nil
}

func (sh *shell) stateGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get APP/SERVICE[/KEY] FIELD [ENTRY]", Short: "Print a value of the state of a service",
		Example: "  weft state get shop/bank/ann balance",
		Args:    between(2, 3, "a service, a field and, of a map, an entry"),
	}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		q, err := parseObject(args[0])
		if err != nil {
			return err
		}
		if q.Field = args[1]; len(args) == 3 {
			q.Entry = &args[2]
		}
		p, err := c.State(ctx, q)
		if err != nil {
			return unknownApp(ctx, c, err, q.App)
		}
		if len(p.Items) == 0 {
			return fmt.Errorf("%s has no value at %s; weft state scan %s lists what it has", args[0], strings.Join(args[1:], " "), args[0])
		}
		return sh.printLine("%s", valueOf(p.Items[0]))
	})
}

// valueOf is a value of the state, for people.
func valueOf(p wire.Place) string {
	if p.Value != nil {
		return string(p.Value)
	}
	return strconv.QuoteToASCII(string(p.Bytes))
}

func (sh *shell) stateScanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "scan APP/SERVICE[/KEY]", Short: "List the state of a service, or of one of its objects",
		Args: between(1, 1, "a service"),
	}
	limit := cmd.Flags().Int("limit", 1000, "at most so many values; 0: all")
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		q, err := parseObject(args[0])
		if err != nil {
			return err
		}
		list := []wire.Place{}
		for {
			q.Limit = pageMost
			if *limit > 0 {
				q.Limit = min(pageMost, *limit-len(list))
			}
			p, err := c.State(ctx, q)
			if err != nil {
				return unknownApp(ctx, c, err, q.App)
			}
			list = append(list, p.Items...)
			if q.After = p.Next; p.Next == "" || *limit > 0 && len(list) >= *limit {
				break
			}
		}
		t := table{heading: []string{"object", "field", "value"}}
		for _, p := range list {
			field := p.Field
			if p.Entry != nil {
				field += "[" + *p.Entry + "]"
			}
			t.add(p.Object, field, valueOf(p))
		}
		return sh.printTable(form, list, t)
	})
}
