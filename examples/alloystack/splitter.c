// weft:cflags -O3 -msimd128
// Publishes where sorted part ID is to be cut as the slot splitter-ID-resp.
#include "alloystack.h"

#include "../sort/numbers.h"

WEFT_FUNCTION(splitter) {
	char sorted[96], bounds[96];
	int id = argument("id", 0);
	return numbers_split(numbers_slot(sorted, "/sorter-resp-part-%d", id), "/pivots-%d", numbers_slot(bounds, "/splitter-%d-resp", id), id);
}
