/*
 * weft.h: what a function written in C or C++ includes.
 *
 * A function reads its input as JSON from standard input, writes its output as JSON to standard output, logs to standard
 * error and fails by a non-zero exit status. This header does that around the body of one function:
 *
 *     #include <weft.h>
 *
 *     WEFT_FUNCTION(greet) {
 *         return weft_return_json("\"Hello, %s!\"", weft_arg_str("name", "world"));
 *     }
 *
 * Large data is published under the name of a slot and read by reference, without a copy:
 *
 *     weft_view table;
 *     if (weft_alloc(&table, 64 << 20)) return weft_fail("no memory for the table");
 *     fill(table.data);
 *     int e = weft_put("table", WEFT_TYPE("[]uint32"), table.data, table.size);
 *
 *     weft_view table;                                    // in a later step
 *     int e = weft_take("build/table", WEFT_TYPE("[]uint32"), &table);
 *     use(table.data, table.size);
 *     weft_release(&table);
 *
 * Everything that can fail returns 0, or an error number that weft_error() makes readable.
 *
 * Compiled for anything but WebAssembly, the same functions may be called from many threads. In a native function of weft
 * (WEFT_FD is in the environment) they speak with the node. Elsewhere they work over a table of slots in the memory of the
 * process: so functions can be tested, and compared with one plain process. weft_native_call() at the end of this file
 * runs one. With WEFT_MAIN defined, as weft does when it builds a native function, WEFT_FUNCTION and WEFT_HANDLER make a
 * main; without it they make functions only, so that several of them can be linked together.
 */
#ifndef WEFT_H
#define WEFT_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* with -std=c11, which asks for it: include this file first */
#endif

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors: WASI error numbers, the same natively ---- */

enum {
	WEFT_OK = 0,
	WEFT_EBUSY = 10,
	WEFT_EREFUSED = 14,
	WEFT_EDEADLOCK = 16,   /* nobody is left to publish the slot */
	WEFT_EQUOTA = 19,      /* the run may not hold as much data */
	WEFT_EEXISTS = 20,     /* the slot is already published */
	WEFT_EFAULT = 21,      /* memory outside of the function */
	WEFT_ETOOLARGE = 22,   /* one buffer cannot be as large */
	WEFT_EUNREACHABLE = 23,
	WEFT_ENAME = 28,       /* EINVAL: not a name of a slot */
	WEFT_EIO = 29,
	WEFT_EAMBIGUOUS = 34,  /* several slots have this name */
	WEFT_ENOTFOUND = 44,   /* no such slot is published */
	WEFT_ENOMEM = 48,
	WEFT_ENOSPACE = 51,    /* no memory or disk is left for it */
	WEFT_EOVERFLOW = 61,   /* the value is larger than the memory given for it */
	WEFT_ETYPE = 67,       /* the slot holds another type */
	WEFT_ETIMEOUT = 73,
	WEFT_ENOTGRANTED = 76  /* the app file does not grant the address or port */
};

static inline const char *weft_error(int e) {
	switch (e) {
	case WEFT_OK: return "no error";
	case WEFT_EBUSY: return "in use";
	case WEFT_EREFUSED: return "connection refused";
	case WEFT_EDEADLOCK: return "nobody is left to publish the slot";
	case WEFT_EQUOTA: return "buffer quota of the run is exceeded";
	case WEFT_EEXISTS: return "slot is already published";
	case WEFT_EFAULT: return "memory is outside of the function";
	case WEFT_ETOOLARGE: return "too large for one buffer";
	case WEFT_EUNREACHABLE: return "host is unreachable";
	case WEFT_ENAME: return "not a name of a slot";
	case WEFT_EIO: return "input/output error";
	case WEFT_EAMBIGUOUS: return "several slots have this name, write it with its step";
	case WEFT_ENOTFOUND: return "no such slot";
	case WEFT_ENOMEM: return "out of memory";
	case WEFT_ENOSPACE: return "no memory or disk left for it";
	case WEFT_EOVERFLOW: return "value is larger than the memory given for it";
	case WEFT_ETYPE: return "slot holds another type";
	case WEFT_ETIMEOUT: return "timed out";
	case WEFT_ENOTGRANTED: return "not granted by the app file";
	default: return "error";
	}
}

/* ---- types ---- */

/* weft_hash is FNV-1a over 64 bits, with 0 avoided. */
static inline uint64_t weft_hash(const char *text, size_t n) {
	uint64_t h = 0xcbf29ce484222325ull;
	for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3ull;
	return h ? h : 1;
}

/*
 * WEFT_TYPE is the fingerprint of a type by its canonical description, which is the same in every language:
 *
 *     "[]uint32"                        an array of uint32_t     (Go: PutSlice, TakeSlice of []uint32)
 *     "struct{Key uint64;Count uint32}" one struct               (Go: PutValue, TakeValue)
 *     bool int8 ... uint64 float32 float64 [4]float32
 *
 * Field names are those of the Go struct. WEFT_BYTES declares no type and matches every type.
 */
#define WEFT_TYPE(description) weft_hash(description, sizeof(description) - 1)
#define WEFT_BYTES ((uint64_t)0)

/* ---- slots and views ---- */

/* A view is memory that shows a buffer: from weft_alloc, to fill and put; from weft_take and weft_borrow, to read.
 * Writing to the latter is allowed and changes this view alone. */
typedef struct weft_view {
	void *data;
	size_t size;   /* bytes of the value */
	size_t window; /* bytes reserved for it, 0 for values below WEFT_INLINE */
} weft_view;

enum { WEFT_PAGE = 64 << 10, WEFT_HUGE = 2 << 20, WEFT_INLINE = 16 << 10 };

/* weft_alloc makes a zeroed buffer of n bytes; weft_put of its beginning copies nothing. */
static inline int weft_alloc(weft_view *view, size_t n);
/* weft_put publishes n bytes as the value of a slot, once and for all. */
static inline int weft_put(const char *slot, uint64_t type, const void *data, size_t n);
/* weft_take reads a slot and consumes it; weft_borrow leaves it for others. */
static inline int weft_take(const char *slot, uint64_t type, weft_view *view);
static inline int weft_borrow(const char *slot, uint64_t type, weft_view *view);
/* weft_release gives a view or buffer up; its memory must not be used any more. */
static inline int weft_release(weft_view *view);
/* weft_wait returns when the slot is published; a negative timeout is none. */
static inline int weft_wait(const char *slot, int64_t timeout_ns);
/* weft_len gives size and type of a slot; either pointer may be NULL. */
static inline int weft_len(const char *slot, uint64_t *size, uint64_t *type);

/* ---- connections: descriptors for read, write, poll and close ---- */

static inline int weft_dial(const char *host, uint16_t port, int *fd);
static inline int weft_listen(uint16_t port, int *fd);
static inline int weft_accept(int listener, int *fd);

/* ---- one call ---- */

struct weft_text {
	struct weft_text *next;
	char bytes[1];
};

/* The state of the call that is running: one in a sandbox, one in each thread natively. */
struct weft_call {
	char *input;
	size_t input_size;
	int has_input;
	struct weft_text *texts; /* what weft_arg_str returned */
	char *output;
	size_t output_size, output_room;
	const char *step;
	int index;
};

#ifdef __wasm__
__attribute__((weak)) struct weft_call weft_current;
#elif defined(__cplusplus)
__attribute__((weak)) thread_local struct weft_call weft_current;
#else
__attribute__((weak)) _Thread_local struct weft_call weft_current;
#endif

/* weft_input is the input as text, and its size where size is not NULL. */
static inline const char *weft_input(size_t *size) {
	struct weft_call *c = &weft_current;
	if (!c->has_input) {
		size_t room = 4096, n = 0;
		char *text = (char *)malloc(room + 1);
		while (text) {
			ssize_t got = read(0, text + n, room - n);
			if (got < 0 && errno == EINTR) continue;
			if (got <= 0) break;
			n += (size_t)got;
			if (n == room) {
				char *larger = (char *)realloc(text, 2 * room + 1);
				if (!larger) break;
				text = larger;
				room *= 2;
			}
		}
		if (!text) abort();
		text[n] = 0;
		c->input = text;
		c->input_size = n;
		c->has_input = 1;
	}
	if (size) *size = c->input_size;
	return c->input;
}

/* -- a reader of JSON, as much as arguments need: nothing is written beyond what it is given, whatever the text -- */

static inline const char *weft_json_space(const char *p, const char *end) {
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
	return p;
}

static inline int weft_json_hex(const char *p, const char *end, uint32_t *value) {
	*value = 0;
	if (end - p < 4) return 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		uint32_t d = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
			: (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a' + 10) : 16;
		if (d == 16) return 0;
		*value = *value << 4 | d;
	}
	return 1;
}

/* weft_json_string decodes the string at p into out, as UTF-8 without an end mark, at most room bytes; *size is what it
 * needs. It returns where the string ends, or NULL when p is no string. out may be NULL. */
static inline const char *weft_json_string(const char *p, const char *end, char *out, size_t room, size_t *size) {
	size_t n = 0;
	if (p >= end || *p++ != '"') return NULL;
	while (p < end && *p != '"') {
		char utf8[4];
		size_t k = 1;
		if (*p != '\\') {
			utf8[0] = *p++;
		} else {
			uint32_t u, low;
			if (++p >= end) return NULL;
			switch (*p++) {
			case 'n': utf8[0] = '\n'; break;
			case 't': utf8[0] = '\t'; break;
			case 'r': utf8[0] = '\r'; break;
			case 'b': utf8[0] = '\b'; break;
			case 'f': utf8[0] = '\f'; break;
			case '"': utf8[0] = '"'; break;
			case '\\': utf8[0] = '\\'; break;
			case '/': utf8[0] = '/'; break;
			case 'u':
				if (!weft_json_hex(p, end, &u)) return NULL;
				p += 4;
				if (u >= 0xd800 && u < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
					weft_json_hex(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
					u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
					p += 6;
				} else if (u >= 0xd800 && u < 0xe000) {
					u = 0xfffd;
				}
				if (u < 0x80) {
					utf8[0] = (char)u;
				} else if (u < 0x800) {
					utf8[0] = (char)(0xc0 | u >> 6), utf8[1] = (char)(0x80 | (u & 63)), k = 2;
				} else if (u < 0x10000) {
					utf8[0] = (char)(0xe0 | u >> 12), utf8[1] = (char)(0x80 | (u >> 6 & 63));
					utf8[2] = (char)(0x80 | (u & 63)), k = 3;
				} else {
					utf8[0] = (char)(0xf0 | u >> 18), utf8[1] = (char)(0x80 | (u >> 12 & 63));
					utf8[2] = (char)(0x80 | (u >> 6 & 63)), utf8[3] = (char)(0x80 | (u & 63)), k = 4;
				}
				break;
			default: return NULL;
			}
		}
		for (size_t i = 0; i < k; i++, n++)
			if (out && n < room) out[n] = utf8[i];
	}
	if (p >= end) return NULL;
	*size = n;
	return p + 1;
}

/* weft_json_skip returns where the value at p ends, or NULL when there is none. */
static inline const char *weft_json_skip(const char *p, const char *end) {
	size_t depth = 0, n;
	do {
		p = weft_json_space(p, end);
		if (p >= end) return NULL;
		if (*p == '"') {
			p = weft_json_string(p, end, NULL, 0, &n);
			if (!p) return NULL;
		} else if (*p == '{' || *p == '[') {
			depth++, p++;
		} else if (*p == '}' || *p == ']') {
			if (depth == 0) return NULL;
			depth--, p++;
		} else if (*p == ',' || *p == ':') {
			if (depth == 0) return NULL;
			p++;
		} else {
			const char *start = p;
			while (p < end && !strchr(",:{}[]\" \n\r\t", *p)) p++;
			if (p == start) return NULL; /* a zero byte */
		}
	} while (depth > 0);
	return p;
}

/* weft_json_find returns the value of a key of the object at p and its end, or NULL when there is none. */
static inline const char *weft_json_find(const char *p, const char *end, const char *key, const char **value_end) {
	size_t length = strlen(key), n = 0;
	p = weft_json_space(p, end);
	if (p >= end || *p++ != '{') return NULL;
	for (;;) {
		char name[128];
		p = weft_json_space(p, end);
		if (p >= end || *p == '}') return NULL;
		p = weft_json_string(p, end, name, sizeof name, &n);
		if (!p) return NULL;
		p = weft_json_space(p, end);
		if (p >= end || *p++ != ':') return NULL;
		p = weft_json_space(p, end);
		const char *after = weft_json_skip(p, end);
		if (!after) return NULL;
		if (n == length && n <= sizeof name && memcmp(name, key, n) == 0) {
			*value_end = after;
			return p;
		}
		p = weft_json_space(after, end);
		if (p >= end || *p++ != ',') return NULL;
	}
}

/* weft_json_text keeps a copy of a value for the rest of the call: a string decoded, anything else as it is written. */
static inline const char *weft_json_text(const char *p, const char *end) {
	size_t room = (size_t)(end - p), n = room;
	struct weft_text *t = (struct weft_text *)malloc(sizeof *t + room);
	if (!t) abort();
	if (*p == '"')
		weft_json_string(p, end, t->bytes, room, &n);
	else
		memcpy(t->bytes, p, n);
	t->bytes[n] = 0;
	t->next = weft_current.texts;
	weft_current.texts = t;
	return t->bytes;
}

/* weft_arg_str is the value of a key of the input, an object; a number or a nested value comes as its JSON text. It is
 * fallback when there is no such key or it is null. The text stays valid until the call ends. */
static inline const char *weft_arg_str(const char *key, const char *fallback) {
	size_t size;
	const char *text = weft_input(&size), *end = NULL;
	const char *p = weft_json_find(text, text + size, key, &end);
	if (!p || (end - p == 4 && memcmp(p, "null", 4) == 0)) return fallback;
	return weft_json_text(p, end);
}

/* weft_arg_int is the value of a key that is a whole number, or a string that holds one; otherwise fallback. */
static inline int64_t weft_arg_int(const char *key, int64_t fallback) {
	const char *text = weft_arg_str(key, NULL);
	char *end;
	if (!text || !*text) return fallback;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	return *end || errno ? fallback : (int64_t)v;
}

/* weft_arg_buffer is the name of the slot that a key of the input refers to: {"key": {"$buffer": "name", ...}}.
 * With an empty key the input itself is the reference. NULL when it is no reference. */
static inline const char *weft_arg_buffer(const char *key) {
	size_t size;
	const char *p = weft_input(&size), *end = p + size, *stop = NULL;
	if (*key) {
		p = weft_json_find(p, end, key, &stop);
		if (!p) return NULL;
		end = stop;
	}
	p = weft_json_find(p, end, "$buffer", &stop);
	return p && *p == '"' ? weft_json_text(p, stop) : NULL;
}

/* -- output -- */

/* weft_write appends bytes to the output, which leaves when the call ends. */
static inline void weft_write(const char *bytes, size_t n) {
	struct weft_call *c = &weft_current;
	if (c->output_room - c->output_size <= n) {
		size_t room = (c->output_size + n + 1) * 2;
		char *larger = (char *)realloc(c->output, room);
		if (!larger) abort();
		c->output = larger;
		c->output_room = room;
	}
	memcpy(c->output + c->output_size, bytes, n);
	c->output_size += n;
	c->output[c->output_size] = 0;
}

/* weft_return_json appends to the output as printf would, and returns 0: return weft_return_json("{\"n\": %d}", n); */
__attribute__((format(printf, 1, 2))) static inline int weft_return_json(const char *format, ...) {
	char small[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(small, sizeof small, format, args);
	va_end(args);
	if (n < 0) return 1;
	if ((size_t)n < sizeof small) {
		weft_write(small, (size_t)n);
		return 0;
	}
	char *large = (char *)malloc((size_t)n + 1);
	if (!large) abort();
	va_start(args, format);
	vsnprintf(large, (size_t)n + 1, format, args);
	va_end(args);
	weft_write(large, (size_t)n);
	free(large);
	return 0;
}

/* weft_return_string appends n bytes of text to the output as a JSON string; bytes that are no UTF-8 become U+FFFD. */
static inline int weft_return_string(const char *text, size_t n) {
	weft_write("\"", 1);
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\') {
			char escaped[2] = {'\\', (char)c};
			weft_write(escaped, 2);
			i++;
		} else if (c < 0x20) {
			weft_return_json("\\u%04x", c);
			i++;
		} else if (c < 0x80) {
			weft_write(text + i++, 1);
		} else {
			size_t k = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0, j = 1;
			while (j < k && i + j < n && ((unsigned char)text[i + j] & 0xc0) == 0x80) j++;
			unsigned char d = i + 1 < n ? (unsigned char)text[i + 1] : 0;
			int bad = k == 0 || j < k || (c == 0xe0 && d < 0xa0) || (c == 0xed && d >= 0xa0) || (c == 0xf0 && d < 0x90) ||
				(c == 0xf4 && d >= 0x90);
			weft_write(bad ? "\xef\xbf\xbd" : text + i, bad ? 3 : k);
			i += bad ? 1 : k;
		}
	}
	weft_write("\"", 1);
	return 0;
}

/* weft_fail logs a message and returns 1: return weft_fail("open %s: %s", name, strerror(errno)); */
__attribute__((format(printf, 1, 2))) static inline int weft_fail(const char *format, ...) {
	char text[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text - 1, format, args);
	va_end(args);
	if (n < 0) return 1;
	if ((size_t)n > sizeof text - 2) n = (int)sizeof text - 2;
	text[n++] = '\n';
	return write(2, text, (size_t)n) < 0 ? 2 : 1;
}

/* weft_end forgets the call. */
static inline void weft_end(void) {
	struct weft_call *c = &weft_current;
	while (c->texts) {
		struct weft_text *next = c->texts->next;
		free(c->texts);
		c->texts = next;
	}
	free(c->input);
	c->input = NULL;
	c->input_size = 0;
	c->has_input = 0;
	c->output_size = 0;
}

/* weft_serve runs a body as one call and writes its output. */
static inline int weft_serve(int (*body)(void)) {
	int status = body();
	for (size_t done = 0; done < weft_current.output_size;) {
		ssize_t n = write(1, weft_current.output + done, weft_current.output_size - done);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) {
			status = weft_fail("write output: %s", strerror(errno));
			break;
		}
		done += (size_t)n;
	}
	weft_end();
	return status;
}

#ifdef __wasm__

__attribute__((import_module("wasi_snapshot_preview1"), import_name("environ_sizes_get"))) uint32_t
weft_import_environ_sizes_get(size_t *, size_t *);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("environ_get"))) uint32_t
weft_import_environ_get(char **, char *);

/* weft_env is a variable of the environment of this call: getenv knows only that of a resident function's first call. The
 * text stays valid until the call ends. */
static inline const char *weft_env(const char *name, const char *fallback) {
	size_t count = 0, size = 0, length = strlen(name);
	const char *value = fallback;
	if (weft_import_environ_sizes_get(&count, &size) || count == 0) return fallback;
	char **variables = (char **)malloc(count * sizeof *variables);
	struct weft_text *text = (struct weft_text *)malloc(sizeof *text + size);
	if (!variables || !text) abort();
	text->next = weft_current.texts;
	weft_current.texts = text;
	if (!weft_import_environ_get(variables, text->bytes))
		for (size_t i = 0; i < count; i++)
			if (strncmp(variables[i], name, length) == 0 && variables[i][length] == '=') {
				value = variables[i] + length + 1;
				break;
			}
	free(variables);
	return value;
}

/* weft_step is the name of the step, weft_index the index in a foreach (-1 outside of one). */
static inline const char *weft_step(void) { return weft_env("WEFT_STEP", ""); }

static inline int weft_index(void) {
	const char *index = weft_env("WEFT_INDEX", "");
	return *index ? atoi(index) : -1;
}

/* WEFT_FUNCTION begins the body of a function that is started for every call. */
#define WEFT_FUNCTION(name)                              \
	static int weft_function_##name(void);               \
	int main(void) { return weft_serve(weft_function_##name); } \
	static int weft_function_##name(void)

/* WEFT_HANDLER begins the body of a resident function: what it keeps in static variables is there at the next call of
 * the same run (natively: of the same version of the app). It is built with -mexec-model=reactor, which weft does on seeing this word in the source. */
#define WEFT_HANDLER(name)                                                                                       \
	static int weft_function_##name(void);                                                                       \
	__attribute__((export_name("weft_handle"))) int weft_handle(void) { return weft_serve(weft_function_##name); } \
	static int weft_function_##name(void)

#define WEFT_IMPORT(name) __attribute__((import_module("weft"), import_name(#name)))

WEFT_IMPORT(put) uint32_t weft_import_put(const char *, size_t, uint64_t, const void *, size_t);
WEFT_IMPORT(take) uint32_t weft_import_take(const char *, size_t, uint64_t, void *, size_t, uint32_t *);
WEFT_IMPORT(borrow) uint32_t weft_import_borrow(const char *, size_t, uint64_t, void *, size_t, uint32_t *);
WEFT_IMPORT(wait) uint32_t weft_import_wait(const char *, size_t, int64_t);
WEFT_IMPORT(len) uint32_t weft_import_len(const char *, size_t, uint64_t *, uint64_t *);
WEFT_IMPORT(alloc) uint32_t weft_import_alloc(void *, size_t);
WEFT_IMPORT(release) uint32_t weft_import_release(void *);
WEFT_IMPORT(dial) uint32_t weft_import_dial(const char *, size_t, uint32_t, int32_t *);
WEFT_IMPORT(listen) uint32_t weft_import_listen(uint32_t, int32_t *);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("sock_accept"))) uint32_t
weft_import_sock_accept(int32_t, uint32_t, int32_t *);

/* Windows: whole pages in which the host shows a buffer. They come from aligned_alloc, whose bookkeeping lies outside of
 * them: the head of an allocation is in the page before, the next allocation's head after its end. Released ones read as
 * zero and are kept for the next value of about the same size. They do not count against the memory of the function: the
 * host lets it grow by the length of a slot that was asked for, and otherwise (grow) it is told. */
enum { WEFT_SPARE = 8 };
__attribute__((weak)) struct {
	void *data;
	size_t size;
} weft_spare[WEFT_SPARE];

static inline void *weft_window_alloc(size_t n, size_t *size, int grow) {
	int best = -1;
	if (n > SIZE_MAX - 2 * WEFT_HUGE) return NULL;
	size_t unit = n >= WEFT_HUGE / 2 ? WEFT_HUGE : WEFT_PAGE; /* so large that the host can use huge pages */
	*size = (n + unit - 1) / unit * unit;
	for (int i = 0; i < WEFT_SPARE; i++)
		if (weft_spare[i].data && weft_spare[i].size >= *size && weft_spare[i].size / 2 <= *size &&
			(best < 0 || weft_spare[i].size < weft_spare[best].size))
			best = i;
	if (best < 0) {
		if (grow) weft_import_alloc(NULL, *size); /* over the quota, the real allocation says so */
		return aligned_alloc(unit, *size);
	}
	void *data = weft_spare[best].data;
	*size = weft_spare[best].size;
	weft_spare[best].data = NULL;
	return data;
}

static inline void weft_window_free(void *data, size_t size) {
	int smallest = 0;
	for (int i = 0; i < WEFT_SPARE; i++) {
		if (!weft_spare[i].data) {
			weft_spare[i].data = data;
			weft_spare[i].size = size;
			return;
		}
		if (weft_spare[i].size < weft_spare[smallest].size) smallest = i;
	}
	free(weft_spare[smallest].data);
	weft_spare[smallest].data = data;
	weft_spare[smallest].size = size;
}

static inline int weft_alloc(weft_view *view, size_t n) {
	view->size = n;
	view->window = 0;
	if (n < WEFT_INLINE) {
		view->data = calloc(1, n ? n : 1);
		return view->data ? 0 : WEFT_ENOMEM;
	}
	view->data = weft_window_alloc(n, &view->window, 1);
	if (!view->data) return WEFT_ENOMEM;
	int e = (int)weft_import_alloc(view->data, view->window);
	if (e) weft_window_free(view->data, view->window);
	return e;
}

static inline int weft_put(const char *slot, uint64_t type, const void *data, size_t n) {
	return (int)weft_import_put(slot, strlen(slot), type, data, n);
}

static inline int weft_get(const char *slot, uint64_t type, void *data, size_t room, uint32_t *n, int consume) {
	return consume ? (int)weft_import_take(slot, strlen(slot), type, data, room, n)
				   : (int)weft_import_borrow(slot, strlen(slot), type, data, room, n);
}

static inline int weft_read(const char *slot, uint64_t type, weft_view *view, int consume) {
	uint32_t n = 0;
	/* Most values are small and come with the first call. A longer one says its length, and from then on the memory may
	 * grow for its window. */
	view->window = 0;
	view->data = malloc(WEFT_INLINE);
	if (!view->data) return WEFT_ENOMEM;
	int e = weft_get(slot, type, view->data, WEFT_INLINE, &n, consume);
	if (e) free(view->data);
	if (e == WEFT_EOVERFLOW) {
		if (n > SIZE_MAX - 2 * WEFT_HUGE) return WEFT_ENOMEM;
		view->data = weft_window_alloc(n, &view->window, 0);
		if (!view->data) return WEFT_ENOMEM;
		e = weft_get(slot, type, view->data, view->window, &n, consume);
		if (e) weft_window_free(view->data, view->window);
	}
	view->size = n;
	if (e) view->data = NULL;
	return e;
}

static inline int weft_take(const char *slot, uint64_t type, weft_view *view) { return weft_read(slot, type, view, 1); }

static inline int weft_borrow(const char *slot, uint64_t type, weft_view *view) {
	return weft_read(slot, type, view, 0);
}

static inline int weft_release(weft_view *view) {
	int e = 0;
	if (!view->data) return 0;
	if (view->window) {
		e = (int)weft_import_release(view->data);
		if (e == WEFT_ENAME) { /* nothing is shown there: the value was copied */
			memset(view->data, 0, view->size);
			e = 0;
		}
		if (!e) weft_window_free(view->data, view->window);
	} else {
		free(view->data);
	}
	view->data = NULL;
	view->size = 0;
	return e;
}

static inline int weft_wait(const char *slot, int64_t timeout_ns) {
	return (int)weft_import_wait(slot, strlen(slot), timeout_ns);
}

static inline int weft_len(const char *slot, uint64_t *size, uint64_t *type) {
	uint64_t s = 0, t = 0;
	int e = (int)weft_import_len(slot, strlen(slot), &s, &t);
	if (size) *size = s;
	if (type) *type = t;
	return e;
}

static inline int weft_dial(const char *host, uint16_t port, int *fd) {
	int32_t descriptor = -1;
	int e = (int)weft_import_dial(host, strlen(host), port, &descriptor);
	*fd = descriptor;
	return e;
}

static inline int weft_listen(uint16_t port, int *fd) {
	int32_t descriptor = -1;
	int e = (int)weft_import_listen(port, &descriptor);
	*fd = descriptor;
	return e;
}

static inline int weft_accept(int listener, int *fd) {
	int32_t descriptor = -1;
	int e = (int)weft_import_sock_accept(listener, 0, &descriptor);
	*fd = descriptor;
	return e;
}

#else /* ---- one plain process ---- */

#ifdef __cplusplus
} /* of extern "C", for the headers below */
#endif

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* weft_env is a variable of the environment of this call. */
static inline const char *weft_env(const char *name, const char *fallback) {
	const char *value = getenv(name);
	return value ? value : fallback;
}

static inline const char *weft_step(void) { return weft_current.step ? weft_current.step : weft_env("WEFT_STEP", ""); }

static inline int weft_index(void) {
	const char *index = weft_env("WEFT_INDEX", "");
	return weft_current.step ? weft_current.index : *index ? atoi(index) : -1;
}

#ifdef WEFT_MAIN
static inline int weft_main(int (*body)(void));
#define WEFT_FUNCTION(name)                                    \
	static int weft_function_##name(void);                     \
	int main(void) { return weft_main(weft_function_##name); } \
	static int weft_function_##name(void)
#else
#define WEFT_FUNCTION(name) int weft_function_##name(void)
#endif
#define WEFT_HANDLER(name) WEFT_FUNCTION(name)

/* -- the node: packets over the socket in WEFT_FD (docs/processes.md), and mappings of the memory files beside them -- */

enum { WEFT_NEED = 1, WEFT_PUT, WEFT_TAKE, WEFT_BORROW, WEFT_WAIT, WEFT_LEN };
enum { WEFT_NAME_MAX = 1 << 10, WEFT_PACKET_DATA = 64 << 10 };

/* The head of a packet; numbers are little endian, as those of every machine that has native functions. */
struct weft_head {
	uint32_t op, id; /* op of an answer: its status */
	uint64_t size, type, segment;
	uint32_t name, data; /* lengths of what follows */
};

/* A request that waits for its answer, which is written into it. */
struct weft_request {
	struct weft_request *next;
	struct weft_head head;
	char *data;
	int file; /* -1: none came */
	int answered;
};

/* A mapping of a buffer. While it is filled it is shared, and file open. Nobody may be able to write what has been
 * published: when it is, it becomes a private mapping of the same pages at the same place. */
struct weft_mapping {
	struct weft_mapping *next;
	char *data;
	size_t size;
	uint64_t segment;
	int file; /* -1: private */
	int spare; /* released before it was published, and empty */
};

__attribute__((weak)) pthread_mutex_t weft_node_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
__attribute__((weak)) pthread_cond_t weft_node_answered = PTHREAD_COND_INITIALIZER;
__attribute__((weak)) int weft_node_fd = -1, weft_node_state, weft_node_reading; /* state: 0 unknown, 1 none, 2 there, 3 lost */
__attribute__((weak)) uint32_t weft_node_last;
__attribute__((weak)) struct weft_request *weft_node_asking;
__attribute__((weak)) struct weft_mapping *weft_mappings;
__attribute__((weak)) char weft_node_packet[WEFT_NAME_MAX + WEFT_PACKET_DATA]; /* of the thread that reads */

/* weft_node reports whether there is a node to speak with. */
static inline int weft_node(void) {
	pthread_mutex_lock(&weft_node_lock);
	if (!weft_node_state) {
		const char *fd = getenv("WEFT_FD");
		int kind = 0;
		socklen_t size = sizeof kind;
		weft_node_state = 1;
		if (fd && *fd) {
			weft_node_fd = atoi(fd);
			weft_node_state = getsockopt(weft_node_fd, SOL_SOCKET, SO_TYPE, &kind, &size) || kind != SOCK_SEQPACKET ? 3 : 2;
			if (weft_node_state == 2) fcntl(weft_node_fd, F_SETFD, FD_CLOEXEC); /* the answers are for this process */
		}
	}
	int there = weft_node_state > 1;
	pthread_mutex_unlock(&weft_node_lock);
	return there;
}

/* weft_receive reads one answer into the request that waits for it. The caller holds the lock, which is given up
 * meanwhile. */
static inline int weft_receive(void) {
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct weft_head head;
	struct iovec parts[2];
	struct msghdr m;
	int file = -1;
	ssize_t n;
	parts[0].iov_base = &head, parts[0].iov_len = sizeof head;
	parts[1].iov_base = weft_node_packet, parts[1].iov_len = sizeof weft_node_packet;
	memset(&m, 0, sizeof m);
	m.msg_iov = parts;
	m.msg_iovlen = 2;
	m.msg_control = &control;
	m.msg_controllen = sizeof control;
	weft_node_reading = 1;
	pthread_mutex_unlock(&weft_node_lock);
	do n = recvmsg(weft_node_fd, &m, 0x40000000); /* MSG_CMSG_CLOEXEC */
	while (n < 0 && errno == EINTR);
	pthread_mutex_lock(&weft_node_lock);
	weft_node_reading = 0;
	if (n > 0 && m.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_type == SCM_RIGHTS)
		memcpy(&file, CMSG_DATA(&control.head), sizeof file);
	if (n < (ssize_t)sizeof head || (size_t)n != sizeof head + (size_t)head.name + head.data) {
		if (file >= 0) close(file);
		weft_node_state = 3;
		return 0;
	}
	struct weft_request **r = &weft_node_asking;
	while (*r && (*r)->head.id != head.id) r = &(*r)->next;
	struct weft_request *found = *r;
	if (found && head.data) {
		found->data = (char *)malloc(head.data);
		if (!found->data) abort();
		memcpy(found->data, weft_node_packet + head.name, head.data);
	}
	if (found) {
		found->head = head;
		found->file = file;
		found->answered = 1;
		*r = found->next;
	} else if (file >= 0) {
		close(file);
	}
	return 1;
}

/* weft_freeze makes a mapping that is being filled a private one, at its place. mmap(2): MAP_FIXED replaces what is
 * mapped in one step. The lock is held. */
static inline int weft_freeze(struct weft_mapping *w) {
	if (mmap(w->data, w->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, w->file, 0) == MAP_FAILED) return WEFT_ENOMEM;
	close(w->file);
	w->file = -1;
	return 0;
}

/* weft_ask_for sends a request and waits for its answer; data and file of that are the caller's. One of the threads that
 * wait reads for all. A mapping that is to be frozen is so while the node works. */
static inline int weft_ask_for(struct weft_request *r, uint32_t op, const char *slot, uint64_t size, uint64_t type, uint64_t segment,
	const void *data, size_t n, struct weft_mapping *freeze) {
	static const unsigned char errors[] = {WEFT_OK, WEFT_ENOTFOUND, WEFT_EEXISTS, WEFT_ETYPE, WEFT_EQUOTA, WEFT_EAMBIGUOUS,
		WEFT_ENAME, WEFT_ETOOLARGE, WEFT_EBUSY, WEFT_ETIMEOUT, WEFT_EIO, WEFT_EDEADLOCK, WEFT_ENOSPACE};
	struct iovec parts[3];
	struct msghdr m;
	ssize_t sent;
	size_t length = strlen(slot);
	if (length > WEFT_NAME_MAX) return WEFT_ENAME;
	memset(r, 0, sizeof *r);
	memset(&m, 0, sizeof m);
	r->file = -1;
	r->head.op = op;
	r->head.size = size;
	r->head.type = type;
	r->head.segment = segment;
	r->head.name = (uint32_t)length;
	r->head.data = (uint32_t)n;
	parts[0].iov_base = &r->head, parts[0].iov_len = sizeof r->head;
	parts[1].iov_base = (void *)(uintptr_t)slot, parts[1].iov_len = length;
	parts[2].iov_base = (void *)(uintptr_t)data, parts[2].iov_len = n;
	m.msg_iov = parts;
	m.msg_iovlen = 3;
	pthread_mutex_lock(&weft_node_lock);
	r->head.id = ++weft_node_last;
	do sent = weft_node_state == 2 ? sendmsg(weft_node_fd, &m, MSG_NOSIGNAL) : -2;
	while (sent == -1 && errno == EINTR);
	if (sent < 0) {
		pthread_mutex_unlock(&weft_node_lock);
		return WEFT_EIO;
	}
	r->next = weft_node_asking;
	weft_node_asking = r;
	int frozen = freeze ? weft_freeze(freeze) : 0;
	while (!r->answered && weft_node_state == 2) {
		if (weft_node_reading) {
			pthread_cond_wait(&weft_node_answered, &weft_node_lock);
		} else {
			weft_receive();
			pthread_cond_broadcast(&weft_node_answered);
		}
	}
	int answered = r->answered;
	pthread_mutex_unlock(&weft_node_lock);
	if (!answered) return WEFT_EIO;
	if (frozen) free(r->data);
	return frozen ? frozen : r->head.op < sizeof errors ? errors[r->head.op] : (int)WEFT_EIO;
}

static inline int weft_ask(struct weft_request *r, uint32_t op, const char *slot, uint64_t size, uint64_t type, uint64_t segment,
	const void *data, size_t n) {
	return weft_ask_for(r, op, slot, size, type, segment, data, n, NULL);
}

/* weft_place maps a file. From 2 MiB on the address is one at which a page table can show it in huge pages. */
static inline void *weft_place(size_t size, int sharing, int file) {
	if (size < WEFT_HUGE) return mmap(NULL, size, PROT_READ | PROT_WRITE, sharing, file, 0);
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
	char *room = (char *)mmap(NULL, whole + WEFT_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED) return MAP_FAILED;
	size_t before = (WEFT_HUGE - (uintptr_t)room % WEFT_HUGE) % WEFT_HUGE;
	void *data = mmap(room + before, size, PROT_READ | PROT_WRITE, sharing | MAP_FIXED, file, 0);
	if (data == MAP_FAILED) {
		munmap(room, whole + WEFT_HUGE);
		return MAP_FAILED;
	}
	if (before) munmap(room, before);
	munmap(room + before + whole, (size_t)WEFT_HUGE - before);
	return data;
}

/* weft_populate gives n bytes of a new buffer their memory at once, in huge pages where the kernel can: taking a mapping
 * of small ones down costs a hundred times as much, and that is most of publishing. Where it cannot, pages come as they
 * are touched. madvise(2): 25 is MADV_COLLAPSE (Linux 6.1), which passes over what is quite empty, so each block is given
 * one small page before; 22 is MADV_POPULATE_READ (Linux 5.14). */
static inline void weft_populate(char *data, size_t n, int file) {
	size_t huge = n / WEFT_HUGE * WEFT_HUGE, at = 0;
	while (at < huge && pwrite(file, "", 1, (off_t)at) == 1) at += WEFT_HUGE;
	if (huge && at == huge) madvise(data, huge, 25);
	madvise(data, n, 22);
}

static inline int weft_map(weft_view *view, size_t value, size_t size, uint64_t segment, int file, int shared) {
	struct weft_mapping *w = (struct weft_mapping *)malloc(sizeof *w);
	void *data = w ? weft_place(size, shared ? MAP_SHARED : MAP_PRIVATE, file) : MAP_FAILED;
	if (data == MAP_FAILED) {
		free(w);
		close(file);
		return WEFT_ENOMEM;
	}
	if (!shared) close(file);
	w->data = (char *)data;
	w->size = size;
	w->segment = segment;
	w->file = shared ? file : -1;
	w->spare = 0;
	pthread_mutex_lock(&weft_node_lock);
	w->next = weft_mappings;
	weft_mappings = w;
	pthread_mutex_unlock(&weft_node_lock);
	view->data = data;
	view->size = value;
	view->window = size;
	return 0;
}

static inline int weft_node_alloc(weft_view *view, size_t n) {
	struct weft_request r;
	view->data = NULL;
	view->size = n;
	view->window = 0;
	if (n < WEFT_INLINE) {
		view->data = calloc(1, n ? n : 1);
		return view->data ? 0 : WEFT_ENOMEM;
	}
	pthread_mutex_lock(&weft_node_lock);
	struct weft_mapping *w = weft_mappings;
	while (w && !(w->spare && w->size >= n && w->size / 2 <= n)) w = w->next;
	if (w) {
		w->spare = 0;
		view->data = w->data;
		view->window = w->size;
	}
	pthread_mutex_unlock(&weft_node_lock);
	if (w) return 0;
	int e = weft_ask(&r, WEFT_NEED, "", n, 0, 0, NULL, 0);
	if (e) return e;
	free(r.data);
	if (r.file < 0) return WEFT_EIO;
	e = weft_map(view, n, (size_t)r.head.size, r.head.segment, r.file, 1);
	if (!e && r.head.type) weft_populate((char *)view->data, n, r.file);
	return e;
}

/* weft_written reports whether pages of a private mapping are the process's own, or may be: pagemap(5) of the kernel's
 * documentation; bit 63 present, 62 swapped out, 61 a page of a file. */
static inline int weft_written(const char *data, size_t size) {
	uint64_t pages[512];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), left = (size + page - 1) / page;
	off_t at = (off_t)((uintptr_t)data / page * sizeof *pages);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), found = fd < 0;
	while (left > 0 && !found) {
		size_t want = left < 512 ? left : 512;
		ssize_t n = pread(fd, pages, want * sizeof *pages, at);
		found = n != (ssize_t)(want * sizeof *pages);
		for (size_t i = 0; i < want && !found; i++) found = pages[i] >> 62 && !(pages[i] >> 61 & 1);
		at += n;
		left -= want;
	}
	if (fd >= 0) close(fd);
	return found;
}

/* weft_shown returns the mapping at data, if it can be published as it is: it is being filled, or nobody has written to
 * it since it was private. */
static inline struct weft_mapping *weft_shown(const void *data, size_t n) {
	pthread_mutex_lock(&weft_node_lock);
	struct weft_mapping *w = weft_mappings;
	while (w && (w->data != data || w->spare)) w = w->next;
	if (w && (n > w->size || (w->file < 0 && weft_written(w->data, w->size)))) w = NULL;
	pthread_mutex_unlock(&weft_node_lock);
	return w;
}

static inline int weft_node_put(const char *slot, uint64_t type, const void *data, size_t n) {
	struct weft_request r;
	struct weft_mapping *w = n >= WEFT_INLINE ? weft_shown(data, n) : NULL;
	uint64_t segment = w ? w->segment : 0;
	int e;
	if (!segment && n > WEFT_PACKET_DATA) { /* writing fresh pages of a file is faster than filling a mapping */
		if ((e = weft_ask(&r, WEFT_NEED, "", n, 0, 0, NULL, 0))) return e;
		free(r.data);
		segment = r.head.segment;
		for (size_t done = 0; done < n && !e;) {
			ssize_t written = pwrite(r.file, (const char *)data + done, n - done, (off_t)done);
			if (written > 0)
				done += (size_t)written;
			else if (errno != EINTR)
				e = WEFT_ENOSPACE;
		}
		if (r.file >= 0) close(r.file);
		if (e) return e;
	}
	e = segment ? weft_ask_for(&r, WEFT_PUT, slot, n, type, segment, NULL, 0, w && w->file >= 0 ? w : NULL)
				: weft_ask(&r, WEFT_PUT, slot, n, type, 0, data, n);
	if (!e) free(r.data);
	return e;
}

static inline int weft_node_read(const char *slot, uint64_t type, weft_view *view, int consume) {
	struct weft_request r;
	view->data = NULL;
	view->size = view->window = 0;
	int e = weft_ask(&r, consume ? WEFT_TAKE : WEFT_BORROW, slot, 0, type, 0, NULL, 0);
	if (e) return e;
	view->size = (size_t)r.head.size;
	if (r.file >= 0 && r.head.size > 0) {
		free(r.data);
		return weft_map(view, view->size, view->size, r.head.segment, r.file, 0);
	}
	if (r.file >= 0) close(r.file);
	view->data = r.data ? r.data : malloc(1);
	return view->data ? 0 : WEFT_ENOMEM;
}

/* weft_node_release gives a view up. A buffer that was never published is kept, without memory, for the next one of
 * about its size: the run is charged for it until the call ends. */
static inline int weft_node_release(weft_view *view) {
	if (!view->window) {
		free(view->data);
	} else {
		pthread_mutex_lock(&weft_node_lock);
		struct weft_mapping **w = &weft_mappings;
		while (*w && (*w)->data != view->data) w = &(*w)->next;
		struct weft_mapping *found = *w;
		if (found && found->file >= 0 && madvise(found->data, found->size, 9) == 0) { /* MADV_REMOVE: zero again */
			found->spare = 1;
		} else if (found) {
			*w = found->next;
			munmap(found->data, found->size);
			if (found->file >= 0) close(found->file);
			free(found);
		}
		pthread_mutex_unlock(&weft_node_lock);
	}
	view->data = NULL;
	view->size = view->window = 0;
	return 0;
}

static inline int weft_node_wait(const char *slot, int64_t timeout_ns) {
	struct weft_request r;
	int e = weft_ask(&r, WEFT_WAIT, slot, timeout_ns < 0 ? 0 : timeout_ns ? (uint64_t)timeout_ns : 1, 0, 0, NULL, 0);
	if (!e) free(r.data);
	return e;
}

static inline int weft_node_len(const char *slot, uint64_t *size, uint64_t *type) {
	struct weft_request r;
	int e = weft_ask(&r, WEFT_LEN, slot, 0, 0, 0, NULL, 0);
	if (e) return e;
	free(r.data);
	if (size) *size = r.head.size;
	if (type) *type = r.head.type;
	return 0;
}

#ifdef WEFT_MAIN

/* -- a resident function: calls come over the socket in WEFT_WORKER (docs/processes.md), one after another -- */

enum { WEFT_CALL = 30, WEFT_STOP = 32, WEFT_WORKING = 40, WEFT_DONE = 43 };
enum { WEFT_CALL_BODY = 1, WEFT_CALL_SLOTS = 4, WEFT_CALL_LOG = 16, WEFT_EXITED = 5 };

struct weft_message {
	uint32_t kind, a;
	uint64_t id;
	int64_t v[4];
};

/* weft_say sends a message with what the process has used. */
static inline int weft_say(int sock, uint32_t kind, uint64_t id, int status) {
	struct weft_message m;
	struct rusage used;
	ssize_t n;
	memset(&m, 0, sizeof m);
	getrusage(RUSAGE_SELF, &used);
	m.kind = kind;
	m.a = status ? WEFT_EXITED : 0;
	m.id = id;
	m.v[0] = (int64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
	m.v[1] = used.ru_maxrss;
	m.v[3] = status;
	do n = send(sock, &m, sizeof m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0;
}

/* weft_setenv sets the variables of a call's context, or removes them. */
static inline void weft_setenv(const char *text, const char *end, int set) {
	const char *stop = NULL, *p = weft_json_find(text, end, "env", &stop);
	size_t n;
	if (!p) return;
	char *pair = (char *)malloc(2 * (size_t)(stop - p) + 2);
	if (!pair) abort();
	for (p++; p < stop; p++) {
		p = weft_json_string(weft_json_space(p, stop), stop, pair, (size_t)(stop - p), &n);
		if (!p) break;
		char *value = pair + n + 1;
		pair[n] = 0;
		p = weft_json_string(weft_json_space(weft_json_space(p, stop) + 1, stop), stop, value, (size_t)(stop - p), &n);
		if (!p) break;
		value[n] = 0;
		if (set)
			setenv(pair, value, 1);
		else
			unsetenv(pair);
		p = weft_json_space(p, stop);
	}
	free(pair);
}

/* weft_limit grants the CPU time of one more call. */
static inline void weft_limit(const char *text, const char *end) {
	const char *stop = NULL, *p = weft_json_find(text, end, "cpu", &stop);
	struct rusage used;
	struct rlimit limit;
	rlim_t seconds = p ? (rlim_t)strtoul(p, NULL, 10) : 0;
	if (!seconds || getrlimit(RLIMIT_CPU, &limit) || getrusage(RUSAGE_SELF, &used)) return;
	seconds += (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1;
	limit.rlim_cur = seconds < limit.rlim_max ? seconds : limit.rlim_max;
	setrlimit(RLIMIT_CPU, &limit);
}

/* weft_connect makes a descriptor the control socket of the call that begins, and forgets what the last one had. */
static inline void weft_connect(int fd) {
	pthread_mutex_lock(&weft_node_lock);
	while (weft_mappings) {
		struct weft_mapping *next = weft_mappings->next;
		munmap(weft_mappings->data, weft_mappings->size);
		if (weft_mappings->file >= 0) close(weft_mappings->file);
		free(weft_mappings);
		weft_mappings = next;
	}
	weft_node_fd = fd;
	weft_node_state = fd < 0 ? 3 : 2;
	pthread_mutex_unlock(&weft_node_lock);
}

/* weft_call serves one call, whose message has n bytes of text. */
static inline int weft_call(int (*body)(void), const struct weft_message *m, const char *text, size_t n, const int *files, int count,
	const int *own) {
	int at = 1, pair[2], standard[3], slots = -1, status;
	size_t length = (size_t)m->v[0];
	if (count < 1 || length > n) return weft_fail("weft: a call without an output or a context");
	standard[0] = (m->a & WEFT_CALL_BODY) && at < count ? files[at++] : -1;
	standard[1] = files[0];
	if ((m->a & WEFT_CALL_SLOTS) && at < count) slots = files[at++];
	standard[2] = (m->a & WEFT_CALL_LOG) && at < count ? files[at++] : -1;
	if (standard[0] < 0 && n > length && !pipe(pair)) { /* which holds more than comes here */
		if (write(pair[1], text + length, n - length) < 0) status = weft_fail("weft: hand over the input: %s", strerror(errno));
		close(pair[1]);
		dup2(pair[0], 0);
		close(pair[0]);
	} else {
		dup2(standard[0] < 0 ? own[0] : standard[0], 0);
	}
	dup2(standard[1], 1);
	if (standard[2] >= 0) dup2(standard[2], 2);
	weft_connect(slots);
	weft_setenv(text, text + length, 1);
	weft_limit(text, text + length);
	status = weft_serve(body);
	fflush(NULL);
	clearerr(stdin);
	weft_setenv(text, text + length, 0);
	weft_connect(-1);
	for (int i = 0; i < 3; i++) dup2(own[i], i);
	return status;
}

/* weft_main is the main of a program: it runs the body once, or in a worker for every call. */
static inline int weft_main(int (*body)(void)) {
	static char text[64 << 10];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct weft_message m;
	struct iovec parts[2];
	struct msghdr h;
	int own[3], sock;
	const char *worker = getenv("WEFT_WORKER");
	if (!worker) return weft_serve(body);
	sock = atoi(worker);
	unsetenv("WEFT_WORKER");
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	for (int i = 0; i < 3; i++)
		if ((own[i] = fcntl(i, F_DUPFD_CLOEXEC, 10)) < 0) return weft_fail("weft: keep descriptor %d: %s", i, strerror(errno));
	if (weft_say(sock, WEFT_WORKING, 0, 0)) return weft_fail("weft: worker: %s", strerror(errno));
	for (;;) {
		int files[16], count = 0;
		ssize_t n;
		memset(&h, 0, sizeof h);
		parts[0].iov_base = &m, parts[0].iov_len = sizeof m;
		parts[1].iov_base = text, parts[1].iov_len = sizeof text;
		h.msg_iov = parts;
		h.msg_iovlen = 2;
		h.msg_control = &control;
		h.msg_controllen = sizeof control;
		do n = recvmsg(sock, &h, 0x40000000); /* MSG_CMSG_CLOEXEC */
		while (n < 0 && errno == EINTR);
		if (n < (ssize_t)sizeof m || m.kind == WEFT_STOP) return 0;
		if (h.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_type == SCM_RIGHTS) {
			count = (int)((control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(files, CMSG_DATA(&control.head), (size_t)count * sizeof(int));
		}
		int status = m.kind == WEFT_CALL ? weft_call(body, &m, text, (size_t)n - sizeof m, files, count, own) : 0;
		for (int i = 0; i < count; i++) close(files[i]);
		if (m.kind == WEFT_CALL && weft_say(sock, WEFT_DONE, m.id, status)) return 1;
	}
}

#endif /* WEFT_MAIN */

/* -- without a node: a table in memory -- */

/* A block is the memory of one value; refs counts its views and the slot that holds it. */
struct weft_block {
	struct weft_block *next;
	void *data;
	size_t room;
	int refs;
};

struct weft_slot {
	struct weft_slot *next;
	uint64_t type;
	size_t size;
	struct weft_block *block;
	char name[256];
};

__attribute__((weak)) pthread_mutex_t weft_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
__attribute__((weak)) pthread_cond_t weft_published = PTHREAD_COND_INITIALIZER;
__attribute__((weak)) struct weft_slot *weft_slots;
__attribute__((weak)) struct weft_block *weft_blocks;

/* weft_block_new finds a block of this size that nobody refers to, or maps one. The caller holds the lock. */
static inline struct weft_block *weft_block_new(size_t n, int zero) {
	size_t room = (n + WEFT_PAGE) / WEFT_PAGE * WEFT_PAGE;
	for (struct weft_block *b = weft_blocks; b; b = b->next)
		if (b->refs == 0 && b->room == room) {
			b->refs = 1;
			if (zero) memset(b->data, 0, n);
			return b;
		}
	struct weft_block *b = (struct weft_block *)malloc(sizeof *b);
	if (!b) return NULL;
	b->data = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->data == MAP_FAILED) {
		free(b);
		return NULL;
	}
	b->room = room;
	b->refs = 1;
	b->next = weft_blocks;
	weft_blocks = b;
	return b;
}

static inline struct weft_block *weft_block_at(const void *data) {
	for (struct weft_block *b = weft_blocks; b; b = b->next)
		if (b->data == data && b->refs > 0) return b;
	return NULL;
}

/* weft_full_name writes the name under which this step publishes a slot; a name with a slash is full already. */
static inline int weft_full_name(const char *slot, char *name, size_t room) {
	const char *slash = strrchr(slot, '/'), *last = slash ? slash + 1 : slot;
	size_t length = strlen(last);
	int n;
	if (length == 0 || length > 128 ||
		strspn(last, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != length)
		return WEFT_ENAME;
	if (slash || !*weft_step())
		n = snprintf(name, room, "%s", slot);
	else if (weft_index() >= 0)
		n = snprintf(name, room, "%s[%d]/%s", weft_step(), weft_index(), slot);
	else
		n = snprintf(name, room, "%s/%s", weft_step(), slot);
	return n < 0 || (size_t)n >= room ? WEFT_ENAME : 0;
}

/* weft_find finds the place of a slot in the list. The caller holds the lock. */
static inline int weft_find(const char *slot, struct weft_slot ***place) {
	char name[256];
	size_t length = strlen(slot);
	struct weft_slot **found = NULL;
	int e = weft_full_name(slot, name, sizeof name);
	if (e) return e;
	for (struct weft_slot **s = &weft_slots; *s; s = &(*s)->next) {
		if (strcmp((*s)->name, name) == 0) {
			*place = s;
			return 0;
		}
		size_t n = strlen((*s)->name);
		if (!strchr(slot, '/') && n > length && (*s)->name[n - length - 1] == '/' &&
			strcmp((*s)->name + n - length, slot) == 0) {
			if (found) e = WEFT_EAMBIGUOUS;
			found = s;
		}
	}
	*place = found;
	return e ? e : found ? 0 : WEFT_ENOTFOUND;
}

static inline int weft_alloc(weft_view *view, size_t n) {
	if (weft_node()) return weft_node_alloc(view, n);
	pthread_mutex_lock(&weft_lock);
	struct weft_block *b = weft_block_new(n, 1);
	pthread_mutex_unlock(&weft_lock);
	if (!b) return WEFT_ENOMEM;
	view->data = b->data;
	view->size = n;
	view->window = b->room;
	return 0;
}

static inline int weft_put(const char *slot, uint64_t type, const void *data, size_t n) {
	if (weft_node()) return weft_node_put(slot, type, data, n);
	struct weft_slot **place, *s = (struct weft_slot *)malloc(sizeof *s);
	int e = s ? weft_full_name(slot, s->name, sizeof s->name) : WEFT_ENOMEM;
	if (e) {
		free(s);
		return e;
	}
	pthread_mutex_lock(&weft_lock);
	e = weft_find(s->name, &place) == 0 ? WEFT_EEXISTS : 0;
	if (!e) {
		s->block = weft_block_at(data);
		if (s->block) {
			s->block->refs++;
		} else {
			s->block = weft_block_new(n, 0);
			if (s->block)
				memcpy(s->block->data, data, n);
			else
				e = WEFT_ENOMEM;
		}
	}
	if (e) {
		free(s);
	} else {
		s->type = type;
		s->size = n;
		s->next = weft_slots;
		weft_slots = s;
		pthread_cond_broadcast(&weft_published);
	}
	pthread_mutex_unlock(&weft_lock);
	return e;
}

static inline int weft_read(const char *slot, uint64_t type, weft_view *view, int consume) {
	if (weft_node()) return weft_node_read(slot, type, view, consume);
	struct weft_slot **place, *s;
	pthread_mutex_lock(&weft_lock);
	int e = weft_find(slot, &place);
	if (!e) {
		s = *place;
		if (type && s->type && type != s->type) {
			e = WEFT_ETYPE;
		} else {
			view->data = s->block->data;
			view->size = s->size;
			view->window = s->block->room;
			if (consume) {
				*place = s->next;
				free(s);
			} else {
				s->block->refs++;
			}
		}
	}
	pthread_mutex_unlock(&weft_lock);
	return e;
}

static inline int weft_take(const char *slot, uint64_t type, weft_view *view) { return weft_read(slot, type, view, 1); }

static inline int weft_borrow(const char *slot, uint64_t type, weft_view *view) {
	return weft_read(slot, type, view, 0);
}

static inline int weft_release(weft_view *view) {
	if (weft_node()) return weft_node_release(view);
	pthread_mutex_lock(&weft_lock);
	struct weft_block *b = view->data ? weft_block_at(view->data) : NULL;
	if (b) b->refs--;
	pthread_mutex_unlock(&weft_lock);
	view->data = NULL;
	view->size = 0;
	return 0;
}

static inline int weft_wait(const char *slot, int64_t timeout_ns) {
	if (weft_node()) return weft_node_wait(slot, timeout_ns);
	struct timespec until;
	struct weft_slot **place;
	int e, woken = 0;
	clock_gettime(CLOCK_REALTIME, &until);
	if (timeout_ns > 0) {
		until.tv_sec += timeout_ns / 1000000000;
		until.tv_nsec += timeout_ns % 1000000000;
		if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&weft_lock);
	while ((e = weft_find(slot, &place)) == WEFT_ENOTFOUND && woken == 0)
		woken = timeout_ns < 0 ? pthread_cond_wait(&weft_published, &weft_lock)
			: pthread_cond_timedwait(&weft_published, &weft_lock, &until);
	pthread_mutex_unlock(&weft_lock);
	return e == WEFT_ENOTFOUND ? WEFT_ETIMEOUT : e == WEFT_EAMBIGUOUS ? 0 : e;
}

static inline int weft_len(const char *slot, uint64_t *size, uint64_t *type) {
	if (size) *size = 0;
	if (weft_node()) return weft_node_len(slot, size, type);
	struct weft_slot **place;
	pthread_mutex_lock(&weft_lock);
	int e = weft_find(slot, &place);
	if (!e && size) *size = (*place)->size;
	if (!e && type) *type = (*place)->type;
	pthread_mutex_unlock(&weft_lock);
	return e;
}

static inline int weft_dial(const char *host, uint16_t port, int *fd) {
	struct addrinfo hints, *list = NULL;
	char service[8];
	int last = 0;
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	snprintf(service, sizeof service, "%u", port);
	/* What a native function is not granted has no name, no way to it or no socket for it. */
	if (getaddrinfo(host, service, &hints, &list)) return weft_node() ? WEFT_ENOTGRANTED : WEFT_EUNREACHABLE;
	*fd = -1;
	for (struct addrinfo *a = list; a && *fd < 0; a = a->ai_next) {
		int s = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
		if (s >= 0 && connect(s, a->ai_addr, a->ai_addrlen) == 0)
			*fd = s;
		else
			last = errno;
		if (s >= 0 && *fd < 0) close(s);
	}
	freeaddrinfo(list);
	if (*fd >= 0) return 0;
	return weft_node() && (last == EPERM || last == EACCES || last == ENETUNREACH) ? WEFT_ENOTGRANTED : WEFT_EREFUSED;
}

static inline int weft_listen(uint16_t port, int *fd) {
	if (weft_node()) return WEFT_ENOTGRANTED;
	struct sockaddr_in a;
	int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons(port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (s >= 0) setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 128)) {
		if (s >= 0) close(s);
		return WEFT_EBUSY;
	}
	*fd = s;
	return 0;
}

static inline int weft_accept(int listener, int *fd) {
	*fd = accept(listener, NULL, NULL);
	return *fd < 0 ? WEFT_EIO : 0;
}

/*
 * weft_native_call calls a function as item index (or -1) of a step, in this thread, and returns its exit status. *output,
 * when output is not NULL, is what it returned, to be freed by the caller.
 *
 *     int weft_function_greet(void);
 *     int status = weft_native_call("hello", -1, weft_function_greet, "{\"name\": \"you\"}", &output);
 */
static inline int weft_native_call(const char *step, int index, int (*body)(void), const char *input, char **output) {
	struct weft_call *c = &weft_current;
	weft_end();
	c->input = strdup(input);
	if (!c->input) abort();
	c->input_size = strlen(input);
	c->has_input = 1;
	c->step = step;
	c->index = index;
	int status = body();
	if (output) *output = strdup(c->output_size ? c->output : "");
	weft_end();
	free(c->output);
	c->output = NULL;
	c->output_room = 0;
	return status;
}

/* weft_native_reset forgets all slots and frees all memory: the end of a run. No call may be running. */
static inline void weft_native_reset(void) {
	pthread_mutex_lock(&weft_lock);
	while (weft_slots) {
		struct weft_slot *next = weft_slots->next;
		free(weft_slots);
		weft_slots = next;
	}
	while (weft_blocks) {
		struct weft_block *next = weft_blocks->next;
		munmap(weft_blocks->data, weft_blocks->room);
		free(weft_blocks);
		weft_blocks = next;
	}
	pthread_mutex_unlock(&weft_lock);
}

#endif /* __wasm__ */

#ifdef __cplusplus
}
#endif

#endif /* WEFT_H */
