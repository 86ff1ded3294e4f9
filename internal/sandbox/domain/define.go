package domain

import (
	"fmt"
	"os"

	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// define tells a host about a function once; who uses the host calls it. listen
// opens the ports of the run.
func (p *Pool) define(h *host, f *Function, listen func(int) (*os.File, error)) (uint32, error) {
	if id, ok := h.defined[f]; ok {
		return id, nil
	}
	h.last++
	m := &wire.Function{
		ID: h.last, Name: f.Name, Args: f.Args, Env: f.Env, Memory: f.Memory, CPU: int64(f.CPU),
		Output: f.Output, MaxOutput: f.MaxOutput, Dial: len(f.Dial) > 0,
	}
	var files, listeners []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, g := range f.Files {
		file, err := p.grant(g)
		if err != nil {
			return 0, fmt.Errorf("grant %s to function %s: %w", g.Guest, f.Name, err)
		}
		files = append(files, file)
		m.Mounts = append(m.Mounts, wire.Mount{Guest: g.Guest, Form: g.Form, ReadOnly: g.ReadOnly})
	}
	for _, secret := range f.Secrets {
		file, err := secretFile(secret.Data)
		if err != nil {
			return 0, fmt.Errorf("give %s to function %s: %w", secret.Guest, f.Name, err)
		}
		files = append(files, file)
		m.Mounts = append(m.Mounts, wire.Mount{Guest: secret.Guest, Form: "file", ReadOnly: true})
	}
	for _, port := range f.Listen {
		l, err := listen(port)
		if err != nil {
			return 0, fmt.Errorf("listen for function %s: %w", f.Name, err)
		}
		listeners = append(listeners, l)
		m.Listen = append(m.Listen, uint32(port))
	}
	fds := []int{int(f.Image.file.Fd())}
	for _, f := range append(files, listeners...) {
		fds = append(fds, int(f.Fd()))
	}
	if err := h.conn.Send(m, fds...); err != nil {
		return 0, err
	}
	h.defined[f] = m.ID
	return m.ID, nil
}

func (p *Pool) grant(g File) (*os.File, error) {
	if g.Form != "dir" {
		return sandbox.OpenFile(g.Host, g.ReadOnly)
	}
	grant, err := p.spawner.OpenDir(g.Host, g.ReadOnly)
	if err != nil {
		return nil, err
	}
	return grant.File, nil
}
