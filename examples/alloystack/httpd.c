// Serves one HTTP request on port 7878.
#define SERVE_PORT 7878
#include "../http-server/serve.c"
