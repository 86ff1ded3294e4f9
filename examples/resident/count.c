// Stays in memory between the calls of a run, and counts them.
#include <weft.h>

WEFT_HANDLER(count) {
	static int calls;
	return weft_return_json("{\"call\": %d, \"item\": %d}", ++calls, weft_index());
}
