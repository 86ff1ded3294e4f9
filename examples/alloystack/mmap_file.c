// Sees two input files as memory, page by page.
#include "alloystack.h"

#include "../mmap/pages.h"

WEFT_FUNCTION(mmap_file) {
	weft_return_json("[");
	for (int id = 0; id < 2; id++) {
		char path[256];
		pages m;
		uint64_t digest = 0xcbf29ce484222325ull;
		if (!input_file(path, "fake", id) && !input_file(path, "sort", id)) return weft_fail("mmap_file: no fake_data_%d.txt, sort_data_%d.txt or part-%d", id, id, id);
		if (pages_open(&m, path)) return weft_fail("mmap_file: %s: %s", path, strerror(errno));
		for (size_t i = 0; i < m.size; i++) digest = (digest ^ pages_at(&m, i)) * 0x100000001b3ull;
		if (m.failed) return weft_fail("mmap_file: %s: %s", path, strerror(m.failed));
		weft_return_json("%s{\"bytes\": %zu, \"pages\": %zu, \"digest\": \"%016llx\"}", id ? ", " : "", m.size, m.faults, (unsigned long long)digest);
		pages_close(&m);
	}
	return weft_return_json("]");
}
