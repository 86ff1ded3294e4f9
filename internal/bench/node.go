package bench

import "context"

// StartNode starts a node in this process.
func StartNode(context.Context, string) (Weft, error) { return nil, errNoWeft }
