// weft:cflags -O2
// Greets.
#include <weft.h>

WEFT_FUNCTION(hello) {
	char text[256];
	int n = snprintf(text, sizeof text, "Hello, %.200s!", weft_arg_str("name", "world"));
	return weft_return_string(text, (size_t)n);
}
