/*
 * Makes a WASI command of quickjs.wasm, which is a library: _start evaluates the script that its first argument names, in
 * the first granted folder, with standard input as the global string `input`, and prints what the script comes to.
 *
 * The two modules are merged into one and share QuickJS's memory, so nothing here may lie in memory of its own: there are
 * no strings, no static variables and no locals whose address is taken.
 */
#include <stddef.h>
#include <stdint.h>

#define QJS(name) __attribute__((import_module("qjs"), import_name(#name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define HOST(name) __attribute__((export_name(#name)))

QJS(_initialize) void qjs_initialize(void);
QJS(qjs_init) int qjs_init(void);
QJS(qjs_eval) void *qjs_eval(const char *code, size_t n, const char *file, int flags);
QJS(qjs_get_global) void *qjs_get_global(void);
QJS(qjs_new_string) void *qjs_new_string(const char *text, size_t n);
QJS(qjs_set_prop_string) int qjs_set_prop_string(void *object, const char *name, void *value);
QJS(qjs_is_exception) int qjs_is_exception(void *value);
QJS(qjs_get_exception) void *qjs_get_exception(void);
QJS(qjs_get_string_len) const char *qjs_get_string_len(void *value, size_t *n);
QJS(qjs_is_job_pending) int qjs_is_job_pending(void);
QJS(qjs_execute_pending_job) int qjs_execute_pending_job(void);
QJS(wasm_malloc) void *wasm_malloc(size_t n);
QJS(wasm_free) void wasm_free(void *memory);

typedef struct {
	void *data;
	size_t n;
} span;

WASI(args_sizes_get) int args_sizes_get(size_t *count, size_t *bytes);
WASI(args_get) int args_get(char **args, char *text);
WASI(path_open) int path_open(int folder, int lookup, const char *path, size_t n, int create, uint64_t rights, uint64_t inherited,
	int flags, int *fd);
WASI(fd_read) int fd_read(int fd, const span *to, size_t count, size_t *n);
WASI(fd_write) int fd_write(int fd, const span *from, size_t count, size_t *n);
WASI(proc_exit) _Noreturn void proc_exit(int status);

/* What QuickJS asks of its host: nothing here calls back, waits or loads modules. */
HOST(host_call) void *host_call(void *name, int n, void *self, int count, void *args) { return NULL; }
HOST(host_interrupt) int host_interrupt(void) { return 0; }
HOST(host_promise_rejection) void host_promise_rejection(void *promise, void *reason, int handled) {}
HOST(host_module_normalize) void *host_module_normalize(void *base, void *name) { return NULL; }
HOST(host_module_load) void *host_module_load(void *name, void *size) { return NULL; }
HOST(host_get_timezone_offset) int host_get_timezone_offset(int high, int low) { return 0; }

/* read_all reads a descriptor to its end; result holds the text and its size. */
static void read_all(int fd, span *result, span *piece, size_t *got) {
	size_t room = 65536;
	char *text = wasm_malloc(room + 1);
	result->n = 0;
	for (;;) {
		piece->data = text + result->n;
		piece->n = room - result->n;
		if (fd_read(fd, piece, 1, got) != 0) proc_exit(3);
		if (*got == 0) break;
		result->n += *got;
		if (result->n == room) {
			char *larger = wasm_malloc(2 * room + 1);
			for (size_t i = 0; i < result->n; i++) ((volatile char *)larger)[i] = text[i];
			wasm_free(text);
			text = larger;
			room *= 2;
		}
	}
	((volatile char *)text)[result->n] = 0;
	result->data = text;
}

static void print(int fd, void *value, span *piece, size_t *n) {
	piece->data = (void *)qjs_get_string_len(value, n);
	piece->n = *n;
	while (piece->n > 0) {
		if (fd_write(fd, piece, 1, n) != 0) proc_exit(3);
		piece->data = (char *)piece->data + *n;
		piece->n -= *n;
	}
}

HOST(_start) void start(void) {
	qjs_initialize();
	if (qjs_init() != 0) proc_exit(3);
	size_t *numbers = wasm_malloc(64);
	span *piece = wasm_malloc(sizeof *piece), *text = wasm_malloc(sizeof *text);
	args_sizes_get(&numbers[0], &numbers[1]);
	if (numbers[0] < 2) proc_exit(2);
	char **args = wasm_malloc(numbers[0] * sizeof *args);
	args_get(args, wasm_malloc(numbers[1]));
	size_t length = 0;
	while (((volatile char *)args[1])[length]) length++;
	if (path_open(3, 1, args[1], length, 0, 1 << 1 | 1 << 5, 0, 0, (int *)&numbers[2]) != 0) proc_exit(4);

	read_all(0, text, piece, &numbers[3]);
	char *name = wasm_malloc(8);
	*(volatile uint64_t *)name = 0x7475706e69; /* "input" */
	qjs_set_prop_string(qjs_get_global(), name, qjs_new_string(text->data, text->n));
	read_all((int)numbers[2], text, piece, &numbers[3]);
	void *value = qjs_eval(text->data, text->n, args[1], 0);
	while (!qjs_is_exception(value) && qjs_is_job_pending() && qjs_execute_pending_job() > 0) {
	}
	if (qjs_is_exception(value)) {
		print(2, qjs_get_exception(), piece, &numbers[3]);
		proc_exit(1);
	}
	print(1, value, piece, &numbers[3]);
}
