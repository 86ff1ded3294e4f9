package cli

import (
	"errors"
	"fmt"

	"github.com/weft-run/weft/internal/app"
)

// loadAlloyStack makes an app of a workflow file of AlloyStack's and a folder with its functions.
func loadAlloyStack(path, functions string) (*app.App, error) {
	return nil, fmt.Errorf("read workflow %s: %w", path, errors.ErrUnsupported)
}
