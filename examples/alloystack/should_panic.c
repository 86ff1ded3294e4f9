// Fails.
#include <weft.h>

WEFT_FUNCTION(should_panic) {
	weft_fail("should_panic: as it should");
	abort();
}
