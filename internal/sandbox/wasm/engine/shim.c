#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

// Defined in Go. It returns 0 to go on, 1 to end the instance.
extern int weftHostCall(uintptr_t handle, uintptr_t index, uint8_t *memory, size_t size, uint64_t *args, size_t n);

static char *copy_message(wasm_byte_vec_t *v) {
	char *s = malloc(v->size + 1);
	if (s != NULL) {
		memcpy(s, v->data, v->size);
		s[v->size] = 0;
	}
	wasm_byte_vec_delete(v);
	return s;
}

static char *take_error(wasmtime_error_t *e) {
	if (e == NULL)
		return NULL;
	wasm_byte_vec_t v;
	wasmtime_error_message(e, &v);
	wasmtime_error_delete(e);
	return copy_message(&v);
}

static char *take_trap(wasm_trap_t *t) {
	wasm_byte_vec_t v;
	wasm_trap_message(t, &v);
	wasm_trap_delete(t);
	return copy_message(&v);
}

// What changes compiled code here has to change wire.Images too.
wasm_engine_t *weft_engine_new(uint32_t instances, size_t keep_resident, size_t stack, bool compile) {
	wasm_config_t *c = wasm_config_new();
	wasmtime_config_max_wasm_stack_set(c, stack);
	wasmtime_config_memory_init_cow_set(c, true);
	wasmtime_config_native_unwind_info_set(c, false);
	wasmtime_config_wasm_memory64_set(c, false);
	wasmtime_config_wasm_multi_memory_set(c, false);
	wasmtime_config_wasm_threads_set(c, false);
	wasmtime_config_wasm_component_model_set(c, false);
	wasmtime_config_concurrency_support_set(c, false);
	if (compile) {
		wasmtime_config_parallel_compilation_set(c, true);
	} else {
		wasmtime_config_parallel_compilation_set(c, false);
		wasmtime_pooling_allocation_config_t *p = wasmtime_pooling_allocation_config_new();
		wasmtime_pooling_allocation_config_total_memories_set(p, instances);
		wasmtime_pooling_allocation_config_total_tables_set(p, instances * 2);
		wasmtime_pooling_allocation_config_total_core_instances_set(p, instances);
		wasmtime_pooling_allocation_config_total_stacks_set(p, 0); // for async calls; a thousand stacks with guard pages would take 2 ms
		wasmtime_pooling_allocation_config_max_memory_size_set(p, (size_t)4 << 30);
		wasmtime_pooling_allocation_config_table_elements_set(p, 100000);
		wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(p, keep_resident);
		wasmtime_pooling_allocation_config_max_unused_warm_slots_set(p, 8);
		wasmtime_pooling_allocation_strategy_set(c, p);
		wasmtime_pooling_allocation_config_delete(p);
	}
	return wasm_engine_new_with_config(c);
}

char *weft_compile(wasm_engine_t *e, const uint8_t *wasm, size_t len, wasm_byte_vec_t *image) {
	wasmtime_module_t *m = NULL;
	wasmtime_error_t *err = wasmtime_module_new(e, wasm, len, &m);
	if (err != NULL)
		return take_error(err);
	err = wasmtime_module_serialize(m, image);
	wasmtime_module_delete(m);
	return take_error(err);
}

// on_import is every import of every module: index says which one it is.
static wasm_trap_t *on_import(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw, size_t n) {
	wasmtime_context_t *context = wasmtime_caller_context(caller);
	weft_instance *i = wasmtime_context_get_data(context);
	uint64_t args[16];
	uint8_t *memory = NULL;
	size_t size = 0;
	if (i->has_memory) {
		memory = wasmtime_memory_data(context, &i->memory);
		size = wasmtime_memory_data_size(context, &i->memory);
	}
	for (size_t k = 0; k < n && k < 16; k++)
		args[k] = (uint64_t)raw[k].i64;
	if (weftHostCall(i->handle, (uintptr_t)env, memory, size, args, n) != 0) {
		i->exiting = true;
		return wasmtime_trap_new("exit", 4);
	}
	if (n > 0)
		raw[0].i64 = (int64_t)args[0];
	return NULL;
}

char *weft_define(wasmtime_linker_t *l, const char *module, size_t module_len, const char *name, size_t name_len,
                  const uint8_t *params, size_t nparams, const uint8_t *results, size_t nresults, uintptr_t index) {
	wasm_valtype_t *p[16], *r[16];
	wasm_valtype_vec_t pv, rv;
	if (nparams > 16 || nresults > 16)
		return strdup("too many parameters");
	for (size_t k = 0; k < nparams; k++)
		p[k] = wasm_valtype_new(params[k]);
	for (size_t k = 0; k < nresults; k++)
		r[k] = wasm_valtype_new(results[k]);
	wasm_valtype_vec_new(&pv, nparams, p);
	wasm_valtype_vec_new(&rv, nresults, r);
	wasm_functype_t *ty = wasm_functype_new(&pv, &rv);
	wasmtime_error_t *err = wasmtime_linker_define_func_unchecked(l, module, module_len, name, name_len, ty, on_import, (void *)index, NULL);
	wasm_functype_delete(ty);
	return take_error(err);
}

char *weft_load_file(wasm_engine_t *e, const char *path, wasmtime_module_t **m) {
	return take_error(wasmtime_module_deserialize_file(e, path, m));
}

// The C API maps images by path only, and a confined process has no paths. The
// linker lets the library's open64 come here (--wrap): while this thread loads
// an image, its name stands for the descriptor.
static const char image_name[] = "image of this thread";
static __thread int image_fd = -1;

extern int __real_open64(const char *path, int flags, mode_t mode);

int __wrap_open64(const char *path, int flags, mode_t mode) {
	if (image_fd >= 0 && strcmp(path, image_name) == 0)
		return fcntl(image_fd, F_DUPFD_CLOEXEC, 0);
	return __real_open64(path, flags, mode);
}

char *weft_load_fd(wasm_engine_t *e, int fd, wasmtime_module_t **m) {
	image_fd = fd;
	char *err = weft_load_file(e, image_name, m);
	image_fd = -1;
	return err;
}

char *weft_load_bytes(wasm_engine_t *e, const uint8_t *image, size_t len, wasmtime_module_t **m) {
	return take_error(wasmtime_module_deserialize(e, image, len, m));
}

char *weft_prepare(wasmtime_linker_t *l, const wasmtime_module_t *m, wasmtime_instance_pre_t **pre) {
	return take_error(wasmtime_linker_instantiate_pre(l, m, pre));
}

char *weft_instantiate(wasm_engine_t *e, const wasmtime_instance_pre_t *pre, int64_t memory_limit, weft_instance *i) {
	wasm_trap_t *trap = NULL;
	i->store = wasmtime_store_new(e, i, NULL);
	i->context = wasmtime_store_context(i->store);
	wasmtime_store_limiter(i->store, memory_limit, -1, 1, 2, 1);
	wasmtime_error_t *err = wasmtime_instance_pre_instantiate(pre, i->context, &i->instance, &trap);
	char *message = NULL;
	if (err != NULL)
		message = take_error(err);
	else if (trap != NULL)
		message = take_trap(trap);
	if (message != NULL) {
		weft_instance_delete(i);
		return message;
	}
	wasmtime_extern_t x;
	if (wasmtime_instance_export_get(i->context, &i->instance, "memory", 6, &x) && x.kind == WEFT_EXTERN_MEMORY) {
		i->memory = x.of.memory;
		i->has_memory = true;
	}
	return NULL;
}

void weft_instance_delete(weft_instance *i) {
	if (i->store != NULL)
		wasmtime_store_delete(i->store);
	i->store = NULL;
}

bool weft_exports(weft_instance *i, const char *name, size_t len) {
	wasmtime_extern_t x;
	return wasmtime_instance_export_get(i->context, &i->instance, name, len, &x) && x.kind == WEFT_EXTERN_FUNC;
}

// callable says whether a function fits a call without parameters and with at
// most one i32 result. An unchecked call of any other reads and writes beyond
// the values that weft_call has room for.
static bool callable(weft_instance *i, const wasmtime_func_t *f) {
	wasm_functype_t *ty = wasmtime_func_type(i->context, f);
	const wasm_valtype_vec_t *results = wasm_functype_results(ty);
	bool ok = wasm_functype_params(ty)->size == 0 &&
	          (results->size == 0 || (results->size == 1 && wasm_valtype_kind(results->data[0]) == WEFT_I32));
	wasm_functype_delete(ty);
	return ok;
}

int weft_call(weft_instance *i, const char *name, size_t len, int32_t *result, char **message) {
	wasmtime_extern_t x;
	if (!wasmtime_instance_export_get(i->context, &i->instance, name, len, &x) || x.kind != WEFT_EXTERN_FUNC)
		return WEFT_NO_EXPORT;
	if (!callable(i, &x.of.func))
		return WEFT_TYPE;
	wasmtime_val_raw_t raw[1];
	memset(raw, 0, sizeof raw);
	wasm_trap_t *trap = NULL;
	wasmtime_error_t *err = wasmtime_func_call_unchecked(i->context, &x.of.func, raw, 1, &trap);
	if (err == NULL && trap == NULL) {
		*result = raw[0].i32;
		return WEFT_OK;
	}
	if (i->exiting) { // no message: making one costs more than the call
		if (err != NULL)
			wasmtime_error_delete(err);
		if (trap != NULL)
			wasm_trap_delete(trap);
		return WEFT_EXIT;
	}
	*message = err != NULL ? take_error(err) : take_trap(trap);
	return WEFT_TRAP;
}

uint8_t *weft_memory(weft_instance *i, size_t *size) {
	if (!i->has_memory)
		return NULL;
	*size = wasmtime_memory_data_size(i->context, &i->memory);
	return wasmtime_memory_data(i->context, &i->memory);
}
