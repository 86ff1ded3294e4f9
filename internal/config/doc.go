// Package config is what the operator of a node decides: where it keeps its
// data and listens, how much it takes on, and what apps may be granted.
//
// The settings come from a YAML file (`weft serve --config FILE`), and are all
// optional:
//
//	c, err := config.Load("/etc/weft.yaml")
//	var errs yamlfile.Errors
//	if errors.As(err, &errs) { fmt.Fprint(os.Stderr, errs) }
//	...
//	if err := c.CheckApp(a); err != nil { ... } // what the app asks for is not granted
//
// Every setting is one line of a table (settings.go), which says how it is
// read, how it is written, and what it means; Load, YAML and the test of the
// page docs/configuration.md follow from it. A file that is wrong is refused
// whole, with each error's line, column and a hint: a node that runs with
// half of its limits would be worse than one that does not start.
package config
