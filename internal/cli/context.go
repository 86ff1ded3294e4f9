package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/config"
)

// target is the server that a command line names.
type target struct {
	context string
	server  string
}

// localContext is the context of the server at this user's socket. It is always there.
const localContext = "local"

// contexts is the file of the servers that somebody uses.
type contexts struct {
	Current  string               `yaml:"current,omitempty"`
	Contexts map[string]reference `yaml:"contexts,omitempty"`
}

// reference is a server and how to get in.
type reference struct {
	Address string `yaml:"address"`
	Token   string `yaml:"token,omitempty"`
	CA      string `yaml:"ca,omitempty"`
}

// targetFlags adds --context and --server to all commands. Those that need no server refuse them.
func (sh *shell) targetFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&sh.target.context, "context", "", "server to talk to, by the name of its context (or $WEFT_CONTEXT)")
	f.StringVar(&sh.target.server, "server", "", "server to talk to: unix:///path or https://host:port (or $WEFT_SERVER)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if sh.target == (target{}) || cmd.Annotations[onServer] != "" || cmd.HasSubCommands() { // those complain of what they lack
			return nil
		}
		return usage("weft help lists the commands that talk to a server", "--context and --server go with commands that talk to a server, and this one does not")
	}
	complete := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		list, err := sh.loadContexts()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list.names(), cobra.ShellCompDirectiveNoFileComp
	}
	if err := root.RegisterFlagCompletionFunc("context", complete); err != nil {
		panic(err)
	}
}

// names lists the contexts.
func (c contexts) names() []string {
	return slices.Sorted(maps.Keys(c.with()))
}

// with is the contexts and the one that is always there.
func (c contexts) with() map[string]reference {
	all := map[string]reference{localContext: {}}
	maps.Copy(all, c.Contexts)
	return all
}

// contextsFile is where contexts are kept.
func (sh *shell) contextsFile() (string, error) {
	dir := sh.getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := sh.getenv("HOME")
		if home == "" {
			return "", usage("set HOME or XDG_CONFIG_HOME", "there is no place for contexts: HOME is not set")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "weft", "contexts.yaml"), nil
}

// loadContexts reads the contexts; a file that is not there has none.
func (sh *shell) loadContexts() (contexts, error) {
	var c contexts
	name, err := sh.contextsFile()
	if err != nil {
		return c, err
	}
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read contexts: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return c, usage("chmod 600 "+name, "others can read the tokens in %s", name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("read contexts: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		return c, usage("correct the file, or remove it and add the contexts anew", "read contexts of %s: %v", name, err)
	}
	return c, nil
}

// saveContexts replaces the file of contexts.
func (sh *shell) saveContexts(c contexts) (err error) {
	name, err := sh.contextsFile()
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(c)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".contexts-*") // 0600
	if err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write contexts: %w", err)
	}
	return nil
}

// connect returns a client of the server that was asked for: by --server, --context, WEFT_SERVER, WEFT_CONTEXT, the
// context in use, in this order, and otherwise the server at this user's socket.
func (sh *shell) connect() (*client.Client, error) {
	r, err := sh.reference()
	if err != nil {
		return nil, err
	}
	if r.Address == "" {
		r.Address = "unix://" + config.Default().SocketPath()
	}
	if token := sh.getenv("WEFT_TOKEN"); token != "" {
		r.Token = token
	}
	c, err := client.New(client.Options{Address: r.Address, Token: r.Token, CA: r.CA, UserAgent: "weft/" + version})
	switch {
	case errors.Is(err, client.ErrAddress):
		return nil, usage("write unix:///path/of/socket or https://host:port", "%v", err)
	case errors.Is(err, client.ErrPlain):
		return nil, usage("give the server a certificate, and use its https address", "%v", err)
	}
	return c, err
}

// reference finds the server that was asked for; its address is empty for that of this user.
func (sh *shell) reference() (reference, error) {
	switch {
	case sh.target.server != "" && sh.target.context != "":
		return reference{}, usage("give one of them", "--server and --context both name a server")
	case sh.target.server != "":
		return reference{Address: sh.target.server}, nil
	case sh.target.context != "":
		return sh.named(sh.target.context)
	case sh.getenv("WEFT_SERVER") != "":
		return reference{Address: sh.getenv("WEFT_SERVER")}, nil
	case sh.getenv("WEFT_CONTEXT") != "":
		return sh.named(sh.getenv("WEFT_CONTEXT"))
	}
	return sh.named("")
}

// named finds a context by its name, empty for the one in use.
func (sh *shell) named(name string) (reference, error) {
	list, err := sh.loadContexts()
	if err != nil {
		return reference{}, err
	}
	if name == "" {
		name = list.Current
	}
	if name == "" {
		name = localContext
	}
	r, ok := list.with()[name]
	if !ok {
		return r, usage(hintOf(name, list.names(), "weft context list shows them all"), "there is no context %q", name)
	}
	return r, nil
}

// shownContext is a context without its token.
type shownContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Address string `json:"address"`
	Token   bool   `json:"token"` // it has one
	CA      string `json:"ca,omitempty"`
}

func (sh *shell) contextCommand() *cobra.Command {
	return family("context", "Name servers, and choose which one the other commands talk to",
		sh.contextListCommand(), sh.contextUseCommand(), sh.contextAddCommand(), sh.contextRemoveCommand())
}

func (sh *shell) contextListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the servers that have a name", Args: atMost(0, "")}
	form := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(*cobra.Command, []string) error {
		list, err := sh.loadContexts()
		if err != nil {
			return err
		}
		var shown []shownContext
		for _, name := range list.names() {
			r := list.with()[name]
			c := shownContext{Name: name, Address: r.Address, Token: r.Token != "", CA: r.CA}
			c.Current = name == list.Current || list.Current == "" && name == localContext
			if c.Address == "" {
				c.Address = "unix://" + config.Default().SocketPath()
			}
			shown = append(shown, c)
		}
		t := table{heading: []string{"", "name", "address", "token", "certificates"}}
		for _, c := range shown {
			mark, token := "", "no"
			if c.Current {
				mark = "*"
			}
			if c.Token {
				token = "yes"
			}
			t.add(mark, c.Name, c.Address, token, c.CA)
		}
		return sh.printTable(form, shown, t)
	}
	return cmd
}

func (sh *shell) contextUseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "use NAME",
		Short:             "Choose the server that the other commands talk to",
		Long:              `Choose the server that the other commands talk to. The context local is the server at this user's socket.`,
		Args:              between(1, 1, "the name of a context"),
		ValidArgsFunction: sh.completeContexts,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if _, err := sh.named(args[0]); err != nil {
			return err
		}
		list, err := sh.loadContexts()
		if err != nil {
			return err
		}
		list.Current = args[0]
		return sh.saveContexts(list)
	}
	return cmd
}

// contextName is what a context may be called.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (sh *shell) contextAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME ADDRESS",
		Short: "Give a server a name, or another address and token",
		Long: `Give a server a name. The address is https://host:port or unix:///path. The token is read from a file, or from stdin,
and is kept with the address in $XDG_CONFIG_HOME/weft/contexts.yaml, which only its owner can read.`,
		Example: `  weft context add prod https://weft.example.org:7300 --token-file - --use`,
		Args:    between(2, 2, "a name and an address"),
	}
	token := cmd.Flags().String("token-file", "", "file of the token, or - for stdin")
	ca := cmd.Flags().String("ca", "", "file of the certificates, in PEM, that the server's may be signed by")
	use := cmd.Flags().Bool("use", false, "choose this server for the other commands too")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		name := args[0]
		switch {
		case !contextName.MatchString(name):
			return usage("letters, digits, dot, dash and underscore, at most 63", "%q is no name of a context", name)
		case name == localContext:
			return usage("choose another name", "the context local is the server at this user's socket")
		}
		r := reference{Address: args[1]}
		var err error
		if *ca != "" {
			if r.CA, err = filepath.Abs(*ca); err != nil {
				return fmt.Errorf("find certificates: %w", err)
			}
		}
		if *token != "" {
			text, err := sh.readSecret(*token, "the token")
			if err != nil {
				return err
			}
			r.Token = strings.TrimSpace(string(text))
		}
		if _, err := client.New(client.Options{Address: r.Address, Token: r.Token, CA: r.CA}); err != nil {
			return usage("write unix:///path/of/socket or https://host:port, and --ca FILE for a server's own certificate", "%v", err)
		}
		list, err := sh.loadContexts()
		if err != nil {
			return err
		}
		if list.Contexts == nil {
			list.Contexts = map[string]reference{}
		}
		list.Contexts[name] = r
		if *use {
			list.Current = name
		}
		return sh.saveContexts(list)
	}
	return cmd
}

func (sh *shell) contextRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Forget a server's name, address and token",
		Args: between(1, 1, "the name of a context"), ValidArgsFunction: sh.completeContexts,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		list, err := sh.loadContexts()
		if err != nil {
			return err
		}
		if _, ok := list.Contexts[args[0]]; !ok {
			return usage(hintOf(args[0], slices.Sorted(maps.Keys(list.Contexts)), "weft context list shows them all"), "there is no context %q that could be removed", args[0])
		}
		delete(list.Contexts, args[0])
		if list.Current == args[0] {
			list.Current = ""
		}
		return sh.saveContexts(list)
	}
	return cmd
}

// completeContexts completes the first argument with the names of contexts.
func (sh *shell) completeContexts(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list, err := sh.loadContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list.names(), cobra.ShellCompDirectiveNoFileComp
}
