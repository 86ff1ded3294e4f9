// Package wasi is the operating-system interface of a WebAssembly sandbox: all
// of WASI preview 1, and the two network calls of the import module "weft".
//
// It knows no engine. An engine binds the entries of [Functions] (and
// [NetFunctions]) to a module's imports, makes one [System] per instance, and
// calls
//
//	errno := wasi.Functions[i].Call(system, memory, args)
//
// where memory is the instance's linear memory as it is at that moment. The
// memory may move or grow between calls, so nothing here keeps it. Whatever the
// guest passes is checked: a pointer outside memory is FAULT, a descriptor that
// is not open is BADF, a right that the descriptor lacks is NOTCAPABLE. No call
// panics, none allocates by a number that the guest chose, and none reports
// success without having done what was asked.
//
// # One descriptor table
//
// Everything a guest can name by number lives in one table: the standard
// streams (0, 1, 2), the granted folders, archives and disk images (from 3, in
// the order of [Config].Mounts), the granted listening sockets (after them), and
// whatever the guest opens. Behind a descriptor is a small object: a host file,
// a host directory, a file or directory of an image, a stream, a socket.
//
// # Modules on demand
//
// Standard streams, arguments, clocks and randomness cost nothing to provide.
// The modules "fs" and "net" are set up when the guest first uses them, or at
// once when [Config].Eager is set; [Config].Loaded hears of it. Archives and
// disk images are opened at the first touch of their mount.
//
// # Boundary
//
// A path is resolved beneath the descriptor it is relative to, by the kernel
// (openat2 with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS), or component by
// component where openat2 is missing. A path that would leave, by "..", by an
// absolute path or through a symbolic link, is refused with PERM.
//
// A System serves one instance and, [System.Interrupt] apart, is not safe for
// concurrent use. Systems share nothing that a read would wait for.
package wasi
