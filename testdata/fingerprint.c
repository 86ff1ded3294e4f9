/* Checks what the C SDK shares with the Go SDK: fingerprints, and the reading of arguments. */
#include <weft.h>

static int failed;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			failed = 1; \
		} \
	} while (0)

WEFT_FUNCTION(arguments) {
	CHECK(weft_arg_int("number", 0) == 42);
	CHECK(weft_arg_int("text_number", 0) == -7);
	CHECK(weft_arg_int("text", 5) == 5);
	CHECK(weft_arg_int("huge", 5) == 5);
	CHECK(weft_arg_int("missing", 5) == 5);
	CHECK(weft_arg_int("null", 5) == 5);
	CHECK(strcmp(weft_arg_str("text", ""), "a\"\xc3\xa9\n\xf0\x9f\x98\x80") == 0);
	CHECK(strcmp(weft_arg_str("nested", ""), "{\"text\": [1, \"]}\"]}") == 0);
	CHECK(strcmp(weft_arg_buffer("part"), "map[2]/words") == 0);
	CHECK(weft_arg_buffer("text") == NULL);
	CHECK(weft_arg_buffer("") == NULL);
	return weft_return_string("a\"\x01\xff\xc3\xa9", 6);
}

WEFT_FUNCTION(broken) {
	CHECK(weft_arg_str("a", NULL) == NULL);
	return 0;
}

WEFT_FUNCTION(producer) {
	weft_view v;
	CHECK(weft_alloc(&v, 1 << 20) == 0);
	memset(v.data, 3, v.size);
	CHECK(weft_put("table", WEFT_TYPE("[]uint32"), v.data, 1000) == 0);
	CHECK(weft_put("table", WEFT_TYPE("[]uint32"), v.data, 1000) == WEFT_EEXISTS);
	CHECK(weft_put("/all", WEFT_BYTES, "abc", 3) == 0);
	CHECK(weft_put("a b", WEFT_BYTES, "abc", 3) == WEFT_ENAME);
	return weft_release(&v);
}

WEFT_FUNCTION(consumer) {
	weft_view v;
	uint64_t size, type;
	CHECK(weft_len("table", &size, &type) == WEFT_EAMBIGUOUS);
	CHECK(weft_len("make[1]/table", &size, &type) == 0 && size == 1000 && type == WEFT_TYPE("[]uint32"));
	CHECK(weft_take("make[0]/table", WEFT_TYPE("[]uint64"), &v) == WEFT_ETYPE);
	CHECK(weft_take("make[0]/table", WEFT_TYPE("[]uint32"), &v) == 0);
	CHECK(v.size == 1000 && ((unsigned char *)v.data)[999] == 3);
	CHECK(weft_release(&v) == 0);
	CHECK(weft_borrow("table", WEFT_BYTES, &v) == 0);
	CHECK(weft_release(&v) == 0);
	CHECK(weft_take("/all", WEFT_BYTES, &v) == 0 && v.size == 3);
	CHECK(weft_release(&v) == 0);
	CHECK(weft_take("/all", WEFT_BYTES, &v) == WEFT_ENOTFOUND);
	CHECK(weft_wait("never", 1000000) == WEFT_ETIMEOUT);
	return 0;
}

int main(void) {
	static const char *const malformed[] = {"", "{", "[1]", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\u12",
		"{\"a\":[1", "{\"a\":}", "{\"b\":1 \"a\":2}", "{\"b\":1,", "{a:1}", "\"a\"", "{\"b\":]}"};
	char *output;
	CHECK(WEFT_TYPE("[]uint32") == 0x9a582f7337719facull);
	CHECK(weft_native_call("step", -1, weft_function_arguments,
		" {\"nested\": {\"text\": [1, \"]}\"]}, \"number\": 42, \"text_number\":\"-7\", \"null\": null,"
		"\"huge\": 123456789012345678901234567890, \"text\": \"a\\\"\\u00e9\\n\\ud83d\\ude00\","
		"\"part\": {\"size\": 3, \"$buffer\": \"map[2]/words\"}}", &output) == 0);
	CHECK(strcmp(output, "\"a\\\"\\u0001\xef\xbf\xbd\xc3\xa9\"") == 0);
	free(output);
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
		weft_native_call("step", -1, weft_function_broken, malformed[i], NULL);
	CHECK(weft_native_call("make", 0, weft_function_producer, "{}", NULL) == 0);
	weft_view v;
	CHECK(weft_take("/all", WEFT_BYTES, &v) == 0 && weft_release(&v) == 0);
	CHECK(weft_native_call("make", 1, weft_function_producer, "{}", NULL) == 0);
	CHECK(weft_native_call("use", -1, weft_function_consumer, "{}", NULL) == 0);
	weft_native_reset();
	return failed;
}
