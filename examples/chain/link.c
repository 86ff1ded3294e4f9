// weft:cflags -O3 -msimd128
// One link of a chain. The first makes size bytes of words 0, 1, 2, ...; every other one takes the buffer of the one before
// and either publishes it as it is, or (touch) reads every word and publishes new ones, each one more.
#include <weft.h>

WEFT_HANDLER(link) {
	const char *from = weft_arg_str("from", NULL);
	weft_view in = {NULL, 0, 0}, out;
	uint64_t sum = 0;
	int e;
	if (!from) {
		int64_t size = weft_arg_int("size", 0);
		if (size < 8) return weft_fail("link: size must be at least 8 bytes");
		if ((e = weft_alloc(&out, (size_t)size))) return weft_fail("allocate: %s", weft_error(e));
		uint64_t *to = (uint64_t *)out.data;
		for (size_t i = 0; i < out.size / 8; i++) sum += to[i] = i;
	} else {
		if ((e = weft_take(from, WEFT_TYPE("[]uint64"), &in))) return weft_fail("take %s: %s", from, weft_error(e));
		if (strcmp(weft_arg_str("touch", "false"), "true") != 0) {
			out = in;
			in.data = NULL;
		} else {
			if ((e = weft_alloc(&out, in.size))) return weft_fail("allocate: %s", weft_error(e));
			const uint64_t *words = (const uint64_t *)in.data;
			uint64_t *to = (uint64_t *)out.data;
			for (size_t i = 0; i < out.size / 8; i++) sum += to[i] = words[i] + 1;
		}
	}
	if ((e = weft_put("data", WEFT_TYPE("[]uint64"), out.data, out.size))) return weft_fail("publish data: %s", weft_error(e));
	const uint64_t *words = (const uint64_t *)out.data;
	weft_return_json("{\"bytes\": %zu, \"first\": %llu, \"last\": %llu, \"sum\": \"%016llx\"}", out.size,
		(unsigned long long)words[0], (unsigned long long)words[out.size / 8 - 1], (unsigned long long)sum);
	weft_release(&in);
	return weft_release(&out);
}
