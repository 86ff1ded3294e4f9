package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
)

// requestInks are the colours of states.
var requestInks = map[string]ink{"running": cyan, "retrying": yellow, "parked": red}

func (sh *shell) requestsCommand() *cobra.Command {
	return family("requests", "Look at the requests to services that have not ended, and steer them",
		sh.requestsListCommand(), sh.requestsShowCommand(), sh.requestsCancelCommand(), sh.requestsRetryCommand(), sh.requestsRestartCommand(), sh.requestsResolveCommand())
}

func (sh *shell) requestsListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list [APP]", Aliases: []string{"ls"}, Short: "List them, the oldest first", Args: atMost(1, "an app")}
	service := cmd.Flags().String("service", "", "only requests to this service")
	state := choiceFlag(cmd, "state", "only requests in this state", "queued", "delayed", "running", "waiting", "retrying", "parked")
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.Requests(ctx, client.RequestFilter{App: only(args), Service: *service, State: state.value})
		if err == nil && len(list) == 0 && len(args) > 0 {
			err = known(ctx, c, args[0])
		}
		if err != nil {
			return err
		}
		t := table{heading: []string{"request", "method", "state", "began", "attempt", "what it waits for"}}
		for _, r := range list {
			t.rows = append(t.rows, []cell{{text: r.ID}, {text: r.Target.String()}, {r.State, requestInks[r.State]}, {text: since(r.Began)}, {text: strconv.Itoa(r.Attempt)}, {text: reasonOf(r)}})
		}
		return sh.printTable(form, list, t)
	})
}

func (sh *shell) requestsCancelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cancel REQUEST", Short: "End a request, and what it has begun and waits for; its compensations follow", Args: between(1, 1, "a request")}
	var how wire.CancelRequest
	cmd.Flags().StringVar(&how.Reason, "reason", "", "why, for those who wait for it")
	cmd.Flags().BoolVar(&how.Family, "family", false, "also all others that go back to the same request from outside, which may have ended")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		return c.CancelRequest(ctx, args[0], how)
	})
}

func (sh *shell) requestsRetryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "retry REQUEST", Short: "Have a parked request tried again", Args: between(1, 1, "a request")}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error { return c.RetryRequest(ctx, args[0]) })
}

func (sh *shell) requestsResolveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resolve REQUEST PROMISE [VALUE]", Short: "Give a promise of a request its value",
		Long: "Give a promise of a request its value, which is JSON, or else a string; null without one. The first value stands.",
		Args: between(2, 3, "a request, the name of a promise and a value"),
	}
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		value := json.RawMessage("null")
		if len(args) == 3 {
			value = jsonOf(args[2])
		}
		return c.ResolvePromise(ctx, args[0], args[1], value)
	})
}

func (sh *shell) requestsShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show REQUEST", Short: "Show a request and its journal: what its methods have asked, and been answered",
		Long: `Show a request that has not ended, and its journal: the questions that its methods have asked up to where it has waited
last, numbered, with the answers that they are given again when it goes on. A segment begins where it says so: weft requests
restart goes back to such a question. What it has asked since it last waited is in no journal.`,
		Args: between(1, 1, "a request"),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		st, err := c.Request(ctx, args[0])
		if err != nil {
			return err
		}
		if form.value != "text" {
			return sh.printData(form.value, st)
		}
		r := st.Request
		t := table{heading: []string{"request", r.ID}, facts: true}
		t.add("method", r.Target.String())
		t.add("version", r.Version)
		t.rows = append(t.rows, []cell{{text: "state"}, {r.State, requestInks[r.State]}})
		t.add("began", since(r.Began))
		if r.Parent != "" {
			t.add("begun by", r.Parent)
		}
		if why := reasonOf(r); r.Parked != "" {
			t.add("because", why)
		} else if why != "" {
			t.add("waits for", why)
		}
		if err := t.write(sh.stdout, sh.outStyle, sh.tableWidth()); err != nil {
			return err
		}
		if len(st.Journal) == 0 {
			return sh.printLine("\nIt has no journal: it has not waited yet.")
		}
		if err := sh.printLine(""); err != nil {
			return err
		}
		j := table{heading: []string{"question", "asked", "answer", "segment"}}
		for _, q := range st.Journal {
			number := strconv.FormatUint(q.Number, 10)
			if q.Path != "" {
				number = q.Path + "." + number
			}
			begins := ""
			if q.Start {
				begins = "begins"
			}
			if q.Number == 0 {
				continue // every method begins
			}
			answer := q.Answer
			if q.Text != "" {
				answer += ": " + q.Text
			}
			j.add(number, q.Asked, answer, begins)
		}
		return j.write(sh.stdout, sh.outStyle, sh.tableWidth())
	})
}

func (sh *shell) requestsRestartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restart REQUEST", Short: "Begin a request that waits or is parked anew, from a question of its journal",
		Long: `Begin a request that waits, is retried or is parked anew. With --from N it forgets what it was answered from the segment on
that question N is in (weft requests show has the numbers), and asks that again; 1 is the beginning. Without --from it goes on with the segment
that it is in.

What it has done since is NOT undone, and may be done once more: values that it has written stay written, requests that it has
begun go on, side effects have happened, promises keep their values, and compensations that it has registered follow if it fails.
What it begins now are other requests, under other IDs, and side effects have other keys.

With --on it goes on with the code of another version of its app; weft replay finds out beforehand whether that asks the
same up to there. If it does not, the request is parked, and nothing has happened.`,
		Example: `  weft requests restart shop.orders:order-17 --from 4
  weft requests restart shop.orders:order-17 --on active`,
		Args: between(1, 1, "a request"),
	}
	from := cmd.Flags().Uint64("from", 0, "the question; default: the segment that the request is in")
	on := cmd.Flags().String("on", "", "the version of the app that it goes on with, or active; default: the one that it has")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		at, err := c.RestartRequest(ctx, args[0], wire.Restart{From: *from, Version: *on})
		if err != nil {
			return err
		}
		return sh.printLine("%s goes on from question %d", args[0], at)
	})
}

// reasonOf says what a request waits for, or why it is not tried any more.
func reasonOf(r wire.Request) string {
	switch {
	case r.Parked != "":
		return r.Parked
	case r.Due != nil && r.State == "delayed":
		return "the time " + r.Due.Local().Format(time.DateTime)
	}
	if r.Waits != "" {
		return "the lock of " + r.Waits
	}
	if r.Failure != "" {
		return fmt.Sprintf("its next attempt, after %s: %s", plural(r.Failures, "failure"), r.Failure)
	}
	var all []string
	for _, a := range r.Awaits {
		switch {
		case a.Promise != "":
			all = append(all, "promise "+a.Promise)
		case a.Until != nil:
			all = append(all, "the time "+a.Until.Local().Format(time.DateTime))
		default:
			all = append(all, "request "+a.Request)
		}
	}
	return strings.Join(all, ", ")
}
