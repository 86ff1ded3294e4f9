package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/sandbox/wire"
)

// version is the release; commit is set by the Makefile's -ldflags.
const version = "0.1.0"

var commit = ""

// versionInfo is what weft version prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Engine  string `json:"engine"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

// readVersion collects the versions from the linker flags and the build information.
func readVersion() versionInfo {
	v := versionInfo{Version: version, Commit: commit, Engine: wire.Engine, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && v.Commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (sh *shell) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of weft, its engine and its compiler",
		Args:  atMost(0, ""),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	cmd.RunE = func(*cobra.Command, []string) error {
		v := readVersion()
		if form.value != "text" {
			return sh.printData(form.value, v)
		}
		if _, err := fmt.Fprintf(sh.stdout, "weft %s (%s)\nengine %s\n%s %s\n", v.Version, v.Commit, v.Engine, v.Go, v.System); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	}
	return cmd
}
