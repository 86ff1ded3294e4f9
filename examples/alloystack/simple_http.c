// Gets http://example.com/.
#define GET_HOST "example.com"
#define GET_PORT 80
#include "../http-client/get.c"
