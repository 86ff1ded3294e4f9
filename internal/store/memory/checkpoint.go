package memory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/driver"
)

// checkpointFile is what Checkpoint writes.
const checkpointFile = "store.json"

// content is a state in a file.
type content struct {
	Version store.Version `json:"version"`
	Items   []store.Item  `json:"items"`
}

func (t *state) encode() ([]byte, error) { return json.Marshal(content{t.version, t.items}) }

// Open reads a checkpoint.
func Open(dir string, o Options) (*Store, error) {
	data, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var c content
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := New(o)
	s.state = state{version: c.Version, items: c.Items, shared: true}
	s.synced = s.state
	s.feed = driver.NewFeed(c.Version)
	return s, nil
}
