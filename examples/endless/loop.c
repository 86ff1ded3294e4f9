// weft:cflags -O1
// Never stops: the limit of its time does it.
#include <weft.h>

WEFT_FUNCTION(loop) {
	for (volatile unsigned i = 0;; i++) {
	}
	return 0;
}
