package data

// Faulty has a folder ask before everything that it does with files. An error is
// that of the operation, which does not happen.
func (o Options) Faulty(fault func(op, path string) error) Options {
	o.disk.fault = fault
	return o
}

// File is what a name is called on disk.
var File = file
