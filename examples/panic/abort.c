// weft:cflags -O1 -g
// Fails as a C program does: by abort, by a trap, or by its exit status.
#include <weft.h>

static __attribute__((noinline)) int divide(int a, int b) { return a / b; }

WEFT_FUNCTION(abort) {
	const char *how = weft_arg_str("how", "abort");
	if (strcmp(how, "exit") == 0) return weft_fail("leaving with status 1");
	if (strcmp(how, "trap") == 0) return weft_return_json("%d", divide(1000, (int)weft_arg_int("zero", 0)));
	weft_fail("giving up");
	abort();
}
