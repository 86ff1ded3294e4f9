// weft:cflags -O3 -msimd128
// Sorts a part of the input, from the slot input-part-ID or, where no file_reader ran, from its file, into the slot
// sorter-resp-part-ID, and publishes a sample of it as pivots-ID.
#include "alloystack.h"

#include "../sort/numbers.h"

WEFT_FUNCTION(sorter) {
	char path[256], input[96], sorted[96], pivots[96];
	int id = argument("id", 0);
	numbers_slot(input, "/input-part-%d", id);
	if (weft_len(input, NULL, NULL) == WEFT_ENOTFOUND) {
		if (!input_file(path, "sort", id)) return weft_fail("sorter: neither slot %s nor sort_data_%d.txt nor part-%d", input, id, id);
		if (numbers_load(path, input)) return 1;
	}
	return numbers_sort(input, numbers_slot(sorted, "/sorter-resp-part-%d", id), numbers_slot(pivots, "/pivots-%d", id),
		argument("sorter_num", 1), argument("merger_num", 1));
}
