// weft:cflags -O3
// Reads a part of the input into the slot input-part-ID.
#include "alloystack.h"

#include "../sort/numbers.h"

WEFT_FUNCTION(file_reader) {
	char path[256], slot[96];
	int id = argument("id", 0);
	if (!input_file(path, "sort", id) && !input_file(path, "fake", id))
		return weft_fail("file_reader: no sort_data_%d.txt, fake_data_%d.txt or part-%d", id, id, id);
	return numbers_read(path, numbers_slot(slot, "/input-part-%d", id));
}
