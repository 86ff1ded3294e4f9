// Package unused may do anything.
package unused

import "time"

// Started is used by nobody.
var Started = time.Now()
