package wasi

// Kind is the type of a parameter or result.
type Kind uint8

// The kinds that WASI functions use.
const (
	I32 Kind = iota
	I64
)

// Function is one import of a guest.
type Function struct {
	Name    string
	Params  []Kind
	Results []Kind // one I32, the error number; none for a call that does not return
	// Call does it. mem is the linear memory as it is now, args has one element
	// a parameter, an I32 in the low 32 bits. [ErrnoExit] means that the guest
	// is to end.
	Call func(s *System, mem []byte, args []uint64) Errno
}

// Functions are the imports of module "wasi_snapshot_preview1".
var Functions = []Function{
	define("args_get", "ii", argsGet),
	define("args_sizes_get", "ii", argsSizesGet),
	define("environ_get", "ii", environGet),
	define("environ_sizes_get", "ii", environSizesGet),
	define("clock_res_get", "ii", clockResGet),
	define("clock_time_get", "iIi", clockTimeGet),
	define("fd_advise", "iIIi", fdAdvise),
	define("fd_allocate", "iII", fdAllocate),
	define("fd_close", "i", fdClose),
	define("fd_datasync", "i", fdDatasync),
	define("fd_fdstat_get", "ii", fdFdstatGet),
	define("fd_fdstat_set_flags", "ii", fdFdstatSetFlags),
	define("fd_fdstat_set_rights", "iII", fdFdstatSetRights),
	define("fd_filestat_get", "ii", fdFilestatGet),
	define("fd_filestat_set_size", "iI", fdFilestatSetSize),
	define("fd_filestat_set_times", "iIIi", fdFilestatSetTimes),
	define("fd_pread", "iiiIi", fdPread),
	define("fd_prestat_get", "ii", fdPrestatGet),
	define("fd_prestat_dir_name", "iii", fdPrestatDirName),
	define("fd_pwrite", "iiiIi", fdPwrite),
	define("fd_read", "iiii", fdRead),
	define("fd_readdir", "iiiIi", fdReaddir),
	define("fd_renumber", "ii", fdRenumber),
	define("fd_seek", "iIii", fdSeek),
	define("fd_sync", "i", fdSyncAll),
	define("fd_tell", "ii", fdTell),
	define("fd_write", "iiii", fdWrite),
	define("path_create_directory", "iii", pathCreateDirectory),
	define("path_filestat_get", "iiiii", pathFilestatGet),
	define("path_filestat_set_times", "iiiiIIi", pathFilestatSetTimes),
	define("path_link", "iiiiiii", pathLink),
	define("path_open", "iiiiiIIii", pathOpen),
	define("path_readlink", "iiiiii", pathReadlink),
	define("path_remove_directory", "iii", pathRemoveDirectory),
	define("path_rename", "iiiiii", pathRename),
	define("path_symlink", "iiiii", pathSymlink),
	define("path_unlink_file", "iii", pathUnlinkFile),
	define("poll_oneoff", "iiii", pollOneoff),
	{Name: "proc_exit", Params: []Kind{I32}, Call: procExit},
	define("proc_raise", "i", procRaise),
	define("sched_yield", "", schedYield),
	define("random_get", "ii", randomGet),
	define("sock_accept", "iii", sockAccept),
	define("sock_recv", "iiiiii", sockRecv),
	define("sock_send", "iiiii", sockSend),
	define("sock_shutdown", "ii", sockShutdown),
}

// NetFunctions are the network imports of module "weft":
//
//	dial(host_ptr, host_len, port, out_fd) -> errno    a connected stream descriptor
//	listen(port, out_fd) -> errno                      the descriptor of a granted port, for sock_accept
var NetFunctions = []Function{
	define("dial", "iiii", netDial),
	define("listen", "ii", netListen),
}

// define makes a Function that returns an error number; params has a letter a
// parameter, i for I32 and I for I64.
func define(name, params string, call func(*System, []byte, []uint64) Errno) Function {
	f := Function{Name: name, Results: []Kind{I32}, Call: call}
	for _, c := range params {
		k := I32
		if c == 'I' {
			k = I64
		}
		f.Params = append(f.Params, k)
	}
	return f
}
