package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/config"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/store/pebble"
)

// tool is a compiler or interpreter that some functions are built with.
type tool struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"` // empty: not found
	Version string `json:"version,omitempty"`
	Use     string `json:"use"`
}

// checkup is what weft doctor prints as data.
type checkup struct {
	Version versionInfo       `json:"weft"`
	Machine sandbox.Report    `json:"machine"`
	Disk    disk              `json:"disk"`
	CPU     []sandbox.Feature `json:"cpu"`         // what schedules calls
	Backend string            `json:"cpu_backend"` // the one that auto is
	Tools   []tool            `json:"tools"`
	Works   bool              `json:"works"` // weft can run functions here
}

// disk is how fast the disk of the data folder keeps something for good.
type disk struct {
	Folder string           `json:"folder"` // where it was measured: the data folder, or what is there of its path
	State  sandbox.State    `json:"state"`
	Flush  pebble.FlushTime `json:"flush"`
	Error  string           `json:"error,omitempty"` // why it was not measured
}

// slowFlush is the median from which on the disk is what durable runs wait for most.
const slowFlush = 10 * time.Millisecond

// measureDisk measures where a folder is or will be.
func measureDisk(data string) disk {
	d := disk{Folder: data, State: sandbox.StateOK}
	if abs, err := filepath.Abs(data); err == nil {
		d.Folder = abs
	}
	for {
		if st, err := os.Stat(d.Folder); err == nil && st.IsDir() || d.Folder == filepath.Dir(d.Folder) {
			break
		}
		d.Folder = filepath.Dir(d.Folder)
	}
	var err error
	if d.Flush, err = pebble.MeasureFlush(d.Folder); err != nil {
		d.State, d.Error = sandbox.StateMissing, err.Error()
	} else if d.Flush.Median > slowFlush {
		d.State = sandbox.StateDegraded
	}
	return d
}

// text says what the time means.
func (d disk) text() string {
	const use = "a durable run waits for a flush at each of its steps; runs at the same time share flushes"
	if d.Error != "" {
		return d.Error + ": " + use + "; to measure: --data with a folder that you may write to"
	}
	ms := func(t time.Duration) float64 { return float64(t) / float64(time.Millisecond) }
	text := fmt.Sprintf("%.2f ms, 1 of 100 %.2f ms, in %s: %s", ms(d.Flush.Median), ms(d.Flush.P99), d.Folder, use)
	if d.State == sandbox.StateDegraded {
		text += "; so slow, ten steps that do nothing take " + (10 * d.Flush.Median).Round(10*time.Millisecond).String() +
			" and more: put the data folder on an SSD or a disk with a battery, or give runs that may be lost durability: none"
	}
	return text
}

// tools looks for the compilers, and for what installs packages.
func tools(ctx context.Context) []tool {
	found := []tool{
		{Name: "go", Use: "functions in Go"},
		{Name: "clang", Use: "functions in C"},
		{Name: "wasm-ld", Use: "functions in C"},
		{Name: "rustc", Use: "functions in Rust"},
		{Name: "node", Use: "fetching the JavaScript engine with npm"},
		{Name: "pip", Use: "requirements of functions in Python, where their wheels are chosen"},
	}
	for i := range found {
		t := &found[i]
		program, ask := t.Name, []string{"--version"}
		switch t.Name {
		case "go":
			ask = []string{"version"}
		case "pip": // as weft calls it
			program, ask = config.Default().Python, []string{"-m", "pip", "--version"}
		}
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		out, err := exec.CommandContext(ctx, path, ask...).Output()
		cancel()
		if t.Name != "pip" || err == nil {
			t.Path = path
		}
		if err == nil {
			t.Version, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
		}
	}
	return found
}

func (sh *shell) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine gives to weft, and what weft does without",
		Long: `Try out what this kernel and these privileges allow, and print for each feature what weft uses it for and what it
does instead where it is missing. Exit status 3 says that weft cannot run functions on this machine.`,
		Args: atMost(0, ""),
	}
	form := outputFlag(cmd, "text", "json", "yaml")
	data := cmd.Flags().String("data", config.Default().Data, "data folder of the server whose disk is measured")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := checkup{Version: readVersion(), Machine: sandbox.Probe(cmd.Context()), Disk: measureDisk(*data), Tools: tools(cmd.Context()), Works: true}
		c.Machine.Features = append(c.Machine.Features, node.ProbeProcesses(cmd.Context(), config.Default().Python)...)
		c.CPU, c.Backend = backend.Probe(), autoBackend()
		blocked := blockers(c.Machine)
		c.Works = len(blocked) == 0
		if form.value != "text" {
			if err := sh.printData(form.value, c); err != nil {
				return err
			}
		} else if err := sh.printCheckup(c); err != nil {
			return err
		}
		if !c.Works {
			if form.value != "text" {
				return silent(exitRefused)
			}
			return &exitError{code: exitRefused, err: fmt.Errorf("weft cannot run functions here: it needs %s", strings.Join(blocked, ", ")), hint: "the table says how to enable it"}
		}
		return nil
	}
	return cmd
}

// autoBackend is the CPU backend that a node takes unless it is told another one.
func autoBackend() string {
	b, _, err := backend.New(backend.Auto, backend.Options{NodeStays: true})
	if err != nil {
		return backend.NameNone
	}
	defer b.Close() // it has nothing to put back
	return b.Name()
}

// blockers names the features that are missing and have no fallback.
func blockers(r sandbox.Report) []string {
	var names []string
	for _, f := range r.Features {
		if f.State == sandbox.StateMissing && f.Fallback == "" {
			names = append(names, f.Name)
		}
	}
	return names
}

// printCheckup draws the machine's table and the tools' table.
func (sh *shell) printCheckup(c checkup) error {
	user := "an ordinary user"
	if c.Machine.UID == 0 {
		user = "root"
	}
	fmt.Fprintf(sh.stdout, "weft %s, engine %s\nkernel %s %s, %s, %.1f GiB, as %s\n\n", c.Version.Version, c.Version.Engine, c.Machine.Kernel,
		c.Machine.Arch, plural(c.Machine.Cores, "core"), float64(c.Machine.Memory)/(1<<30), user)
	inks := map[sandbox.State]ink{sandbox.StateOK: green, sandbox.StateDegraded: yellow, sandbox.StateMissing: red}
	features := table{heading: []string{"feature", "state", "used for"}}
	for _, f := range slices.Concat(c.Machine.Features, c.CPU) {
		text := f.Use
		if f.Detail != "" {
			text = f.Detail + ": " + text
		}
		if f.Fallback != "" && f.State != sandbox.StateOK {
			text += "; without it: " + f.Fallback
		}
		if f.Enable != "" && f.State != sandbox.StateOK {
			text += "; to enable: " + f.Enable
		}
		features.rows = append(features.rows, []cell{{text: f.Name}, {string(f.State), inks[f.State]}, {text: text}})
	}
	features.rows = append(features.rows, []cell{{text: "disk flushes"}, {string(c.Disk.State), inks[c.Disk.State]}, {text: c.Disk.text()}})
	if err := features.write(sh.stdout, sh.outStyle, sh.tableWidth()); err != nil {
		return err
	}
	fmt.Fprintf(sh.stdout, "\ncalls are scheduled by the backend %s; docs/cpu.md tells what each one does\n\n", c.Backend)
	list := table{heading: []string{"tool", "state", "version", "used for"}}
	for _, t := range c.Tools {
		state := cell{"ok", green}
		if t.Path == "" {
			state = cell{"missing", yellow}
		}
		list.rows = append(list.rows, []cell{{text: t.Name}, state, {text: t.Version}, {text: t.Use}})
	}
	return list.write(sh.stdout, sh.outStyle, sh.tableWidth())
}
