// Greets, with the number of the instance.
#include "alloystack.h"

WEFT_FUNCTION(hello_world) {
	return weft_return_json("Hello, world! id: %d\n", argument("id", 0));
}
