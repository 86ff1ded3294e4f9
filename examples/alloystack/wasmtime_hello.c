// The same function by the name of its C version.
#include "hello_world.c"
