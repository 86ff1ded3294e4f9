package cli

import (
	"errors"
	"fmt"
)

// openNode starts the node of this process.
func openNode(cacheDir string) (node, error) {
	return nil, fmt.Errorf("this weft was built without a node: %w", errors.ErrUnsupported)
}
