// Sleeps for longer than it is allowed to.
#include <weft.h>

WEFT_FUNCTION(never_stop) {
	sleep(100000);
	return 0;
}
