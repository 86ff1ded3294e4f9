// The shim: what Go asks of libwasmtime, in as few calls as the hot path allows.
// Every function that can fail returns NULL or a message that the caller frees.
#ifndef WEFT_SHIM_H
#define WEFT_SHIM_H

#include "wasmtime_abi.h"

// weft_status says how a call into WebAssembly ended.
enum weft_status {
	WEFT_OK = 0,
	WEFT_TRAP = 1,      // the code trapped; message is set
	WEFT_EXIT = 2,      // a host function asked for the instance to end
	WEFT_NO_EXPORT = 3, // the module has no function of that name
	WEFT_TYPE = 4,      // it has parameters, or results other than one i32
};

// weft_instance is one instantiated module in a store of its own.
typedef struct weft_instance {
	uintptr_t handle; // the Go side's index of this instance
	wasmtime_store_t *store;
	wasmtime_context_t *context;
	wasmtime_instance_t instance;
	wasmtime_memory_t memory;
	bool has_memory;
	bool exiting; // set by a host call that ends the instance
} weft_instance;

wasm_engine_t *weft_engine_new(uint32_t instances, size_t keep_resident, size_t stack, bool compile);
char *weft_compile(wasm_engine_t *, const uint8_t *wasm, size_t len, wasm_byte_vec_t *image);
char *weft_define(wasmtime_linker_t *, const char *module, size_t module_len, const char *name, size_t name_len,
                  const uint8_t *params, size_t nparams, const uint8_t *results, size_t nresults, uintptr_t index);
char *weft_load_file(wasm_engine_t *, const char *path, wasmtime_module_t **);
char *weft_load_fd(wasm_engine_t *, int fd, wasmtime_module_t **);
char *weft_load_bytes(wasm_engine_t *, const uint8_t *image, size_t len, wasmtime_module_t **);
char *weft_prepare(wasmtime_linker_t *, const wasmtime_module_t *, wasmtime_instance_pre_t **);
char *weft_instantiate(wasm_engine_t *, const wasmtime_instance_pre_t *, int64_t memory_limit, weft_instance *);
void weft_instance_delete(weft_instance *);
int weft_call(weft_instance *, const char *name, size_t len, int32_t *result, char **message);
bool weft_exports(weft_instance *, const char *name, size_t len);
uint8_t *weft_memory(weft_instance *, size_t *size);

#endif
