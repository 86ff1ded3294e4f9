package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"testing"
)

// bareFiles are groups whose limits nobody keeps.
type bareFiles struct{ kernelFiles }

func (b bareFiles) Write(file, value string) error {
	if err := b.kernelFiles.Write(file, value); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// UseUnified moves what a spawner starts from now on into groups of version 2,
// which can be had without controllers where version 1 has those.
func UseUnified(t *testing.T, s *Spawner, mount string) {
	self, err := findCgroups()
	if err != nil {
		t.Fatal(err)
	}
	dir := path.Join(mount, self.name()+"-unified")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip(err)
	}
	before := s.cgroups
	s.cgroups = &cgroups{files: bareFiles{}, version: 2, node: map[string]string{"memory": dir}}
	t.Cleanup(func() {
		if err := s.cgroups.close(); err != nil {
			t.Error(err)
		}
		s.cgroups = before
	})
}
