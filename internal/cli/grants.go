package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-run/weft/internal/app"
)

// grants are what the command line lets a program or the functions of an AlloyStack workflow see of this machine.
type grants struct {
	dirs   []string
	files  []app.FileGrant // of dirs, from check
	dial   []string
	listen []int
}

// grantFlags adds the flags --dir, --dial and --listen to cmd; notes, such as " (AlloyStack)", end their descriptions.
func grantFlags(cmd *cobra.Command, note string) *grants {
	g := &grants{}
	f := cmd.Flags()
	f.StringArrayVar(&g.dirs, "dir", nil, "grant a folder, file, .zip or FAT .img: HOST::GUEST[:ro]; may be repeated"+note)
	f.StringArrayVar(&g.dial, "dial", nil, "grant connections to HOST:PORT; may be repeated"+note)
	f.IntSliceVar(&g.listen, "listen", nil, "grant accepting on a loopback PORT; may be repeated"+note)
	return g
}

// check reads the values of the flags.
func (g *grants) check() error {
	g.files = nil
	for _, d := range g.dirs {
		f, err := parseDir(d)
		if err != nil {
			return usage("write --dir HOST::GUEST or HOST::GUEST:ro, such as --dir .::/data:ro", "--dir %s: %v", d, err)
		}
		for _, other := range g.files {
			if other.Guest == f.Guest {
				return usage("give each grant a path of its own", "--dir %s: %s is granted twice", d, f.Guest)
			}
		}
		g.files = append(g.files, f)
	}
	for _, d := range g.dial {
		if err := app.CheckAddress(d); err != nil {
			return usage("write --dial HOST:PORT", "--dial: %v", err)
		}
	}
	for _, p := range g.listen {
		if p < 1 || p > 65535 {
			return usage("ports are 1 to 65535", "--listen %d is no port", p)
		}
	}
	return nil
}

// given names the flags that are set.
func (g *grants) given() (flags []string) {
	if len(g.dirs) > 0 {
		flags = append(flags, "--dir")
	}
	if len(g.dial) > 0 {
		flags = append(flags, "--dial")
	}
	if len(g.listen) > 0 {
		flags = append(flags, "--listen")
	}
	return flags
}

// parseDir reads a grant as --dir has it. Unlike in an app file, what is granted on the command line may be written
// unless it ends in :ro.
func parseDir(s string) (app.FileGrant, error) {
	g, err := app.ParseFileGrant(s)
	if err != nil || strings.HasSuffix(s, ":ro") {
		return g, err
	}
	g.Write = g.Kind != app.GrantZip
	return g, nil
}
