package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/client"
)

func (sh *shell) invokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoke APP/FUNCTION",
		Short: "Call a function on a server and print what it makes",
		Long: `Call a function of a deployed app. What --input gives becomes its standard input: the text itself, @FILE, or - for
stdin. Its output goes to stdout as it is; with --stream as soon as the function makes it. A function that fails ends the
command with status 1.

A call is no run: nothing of it is kept, and nobody repeats it.`,
		Example: `  weft invoke shop/greet --input '"Ada"'
  weft invoke images/thumbnail --input @photo.jpg > small.jpg`,
		Args: between(1, 1, "APP/FUNCTION"),
	}
	input := cmd.Flags().StringP("input", "i", "", "the function's standard input: text, @FILE, or - for stdin (default empty)")
	kind := cmd.Flags().String("content-type", "", "media type of the input (default: by its name or form)")
	version := cmd.Flags().String("version", "", "version of the app (default: the active one)")
	stream := cmd.Flags().Bool("stream", false, "print output as it comes")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		app, function, err := split(args[0], ofFunction)
		if err != nil {
			return err
		}
		if function == "" {
			list, err := c.Functions(ctx, app)
			if err != nil {
				return unknownApp(ctx, c, err, app)
			}
			var names []string
			for _, f := range list {
				names = append(names, f.Name)
			}
			if function, err = pick(ofFunction, app, names); err != nil {
				return err
			}
		}
		body, found, err := sh.openInput(*input)
		if err != nil {
			return err
		}
		defer body.Close()
		if *kind != "" {
			found = *kind
		}
		out, err := c.Invoke(ctx, client.InvokeRequest{App: app, Function: function, Version: *version, Body: body, ContentType: found, Stream: *stream})
		if err == nil {
			defer out.Close()
			_, err = io.Copy(sh.stdout, out)
		}
		var answer *client.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &answer) && answer.Kind != "":
			// The server says which function it is as well.
			named := "function " + function
			answer.Detail = strings.TrimPrefix(strings.TrimPrefix(answer.Detail, named+" "), named+": ")
			return fmt.Errorf("function %s of app %s: %w", function, app, err)
		case *version != "" && vague(err):
			err = unknownVersion(ctx, c, err, app, *version)
		}
		return unknownPart(ctx, c, err, ofFunction, app, function)
	})
}

// openInput opens what --input of weft invoke names, and guesses its media type.
func (sh *shell) openInput(text string) (io.ReadCloser, string, error) {
	switch {
	case text == "-":
		return io.NopCloser(sh.stdin), "application/octet-stream", nil
	case strings.HasPrefix(text, "@"):
		f, err := os.Open(text[1:])
		if err != nil {
			return nil, "", usage("--input takes text, @FILE or - for stdin", "read the input: %v", err)
		}
		kind := mime.TypeByExtension(filepath.Ext(text))
		if kind == "" {
			kind = "application/octet-stream"
		}
		return f, kind, nil
	}
	kind := "text/plain; charset=utf-8"
	if text != "" && json.Valid([]byte(text)) {
		kind = "application/json"
	}
	return io.NopCloser(strings.NewReader(text)), kind, nil
}
