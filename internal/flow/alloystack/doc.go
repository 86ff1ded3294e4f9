// Package alloystack reads the workflow files of AlloyStack (You et al.,
// EuroSys 2025) and makes weft workflows of them.
//
// Such a file names services (the parts of AlloyStack's library operating
// system that functions may load), apps (functions, each in a shared library)
// and groups: stages that run strictly one after the other, each with one
// instance of an app for every entry of its list, all at once.
//
//	{
//	  "services": [["fdtab", "libfdtab.so"], ["stdio", "libstdio.so"], ["mm", "libmm.so"]],
//	  "apps": [["mapper", "libmapper.so"], ["reducer", "libreducer.so"]],
//	  "fs_image": "fs_images/fatfs.img",
//	  "groups": [
//	    {"list": ["mapper", "mapper", "mapper"], "args": {"reducer_num": "2"}},
//	    {"list": ["reducer", {"name": "reducer", "args": {"mapper_num": "3"}}], "args": {}}
//	  ]
//	}
//
// [Read] checks all of it and reports everything that is wrong at once, with
// line and column; AlloyStack itself ignores unknown keys and finds a missing
// name only when a run gets there. [File.Workflow] gives the workflow: every
// step of a stage needs all steps of the stage before (a barrier), instances
// of one app are the items of a foreach, and the input of each is an object of
// strings: the stage's args, overridden by the entry's, and "id", the entry's
// place in its list, which overrides both. Without groups every app runs once,
// in the order of the file, with id "0".
package alloystack
