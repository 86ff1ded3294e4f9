package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	words []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.words, "|") }

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want %s", strings.Join(c.words, ", "))
	}
	c.value = s
	return nil
}

// outputFlag adds -o to a command; the first word is the default.
func outputFlag(cmd *cobra.Command, words ...string) *choice {
	c := &choice{words: words, value: words[0]}
	cmd.Flags().VarP(c, "output", "o", "form of the data on stdout")
	fixed(cmd, "output", words)
	return c
}

// choiceFlag adds a flag that takes one of words, or nothing by default.
func choiceFlag(cmd *cobra.Command, name, text string, words ...string) *choice {
	c := &choice{words: words}
	cmd.Flags().Var(c, name, text)
	fixed(cmd, name, words)
	return c
}

// fixed completes a flag with words. It fails only for a flag that does not exist.
func fixed(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// printData writes v to stdout as json or yaml. Both have the same keys, those of the JSON form.
func (sh *shell) printData(form string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	out := b.Bytes()
	if form == "yaml" {
		var err error
		if out, err = yaml.JSONToYAML(out); err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
	}
	if _, err := sh.stdout.Write(out); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// printTable writes a list: as a table, or v as data.
func (sh *shell) printTable(form *choice, v any, t table) error {
	if form.value != "table" {
		return sh.printData(form.value, v)
	}
	return t.write(sh.stdout, sh.outStyle, sh.tableWidth())
}

// printLine writes a line to stdout.
func (sh *shell) printLine(format string, args ...any) error {
	if _, err := fmt.Fprintf(sh.stdout, format+"\n", args...); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
