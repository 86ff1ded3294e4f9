// weft:cflags -O2
// A digest of every stride-th byte of a file that is seen as memory.
#include <weft.h>

#include "pages.h"

WEFT_FUNCTION(mmap) {
	pages m;
	const char *path = weft_arg_str("path", "/data/part-0");
	int64_t stride = weft_arg_int("stride", 1);
	uint64_t digest = 0xcbf29ce484222325ull;
	if (stride < 1) return weft_fail("mmap: stride must be at least 1");
	if (pages_open(&m, path)) return weft_fail("map %s: %s", path, strerror(errno));
	for (size_t i = 0; i < m.size; i += (size_t)stride) digest = (digest ^ pages_at(&m, i)) * 0x100000001b3ull;
	if (m.failed) return weft_fail("read %s: %s", path, strerror(m.failed));
	weft_return_json("{\"bytes\": %zu, \"pages\": %zu, \"digest\": \"%016llx\"}", m.size, m.faults, (unsigned long long)digest);
	pages_close(&m);
	return 0;
}
