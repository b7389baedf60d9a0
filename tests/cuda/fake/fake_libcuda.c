/* fake_libcuda.c: a libcuda.so.1 whose one GPU is the emulator, for the program's own driver code.
 *
 * A module is known by the hash of its text: CUDA_FAKE_MODULES lists, between colons, the shared objects
 * that were made of the PTX that ships (tests/cuda/cuda_run.py). CUDA_FAKE_FAIL names a function that
 * fails from its call number CUDA_FAKE_FAIL_AT on, CUDA_FAKE_FORM the compute capability (80, 90).
 * CUDA_FAKE_SCHEDULE is a number: how fibers are ordered and when copies land. A fault that the emulator
 * finds fails the launch. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu.h"

typedef uint64_t address;

enum {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    MOST_MODULES = 32
};

static const struct emu_module *modules[MOST_MODULES];
static int n_modules;
static bool begun;

/* ------------------------------------------------------------------ failing on purpose */

/* A number of the environment. */
static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static bool fails(const char *function)
{
    static int calls;
    const char *name = getenv("CUDA_FAKE_FAIL");
    if (!name || strcmp(name, function) != 0) return false;
    return ++calls >= number("CUDA_FAKE_FAIL_AT", 1);
}

#define BEGIN(error)                         \
    do {                                     \
        if (fails(__func__)) return (error); \
        if (!begun) return NOT_INITIALIZED;  \
    } while (0)

/* ------------------------------------------------------------------ device */

static void open_modules(void)
{
    const char *at = getenv("CUDA_FAKE_MODULES");
    while (at && *at && n_modules < MOST_MODULES) {
        size_t n = strcspn(at, ":");
        char *path = strndup(at, n);
        if ((modules[n_modules] = emu_open(path))) n_modules++;
        free(path);
        at += n + (at[n] == ':');
    }
}

static void choose_schedule(void)
{
    static const struct emu_schedule schedules[] = {
        {EMU_FORWARD, 0, false}, {EMU_RANDOM, 1, false}, {EMU_BACKWARD, 0, true}};
    emu_schedule = schedules[(unsigned long)number("CUDA_FAKE_SCHEDULE", 0) % 3];
}

int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
    Dl_info self;
    (void)flags;
    if (fails(__func__)) return 100;
    /* The modules find the emulator among the symbols of all. */
    if (!begun && dladdr((void *)&cuInit, &self) && self.dli_fname)
        dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    if (!begun) {
        open_modules();
        choose_schedule();
    }
    begun = true;
    return OK;
}

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = 12080;
    return OK;
}

int cuDeviceGetCount(int *count);
int cuDeviceGetCount(int *count)
{
    BEGIN(INVALID_VALUE);
    *count = 1;
    return OK;
}

int cuDeviceGet(int *device, int number);
int cuDeviceGet(int *device, int number)
{
    BEGIN(INVALID_VALUE);
    *device = number;
    return number == 0 ? OK : INVALID_VALUE;
}

int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetName(char *name, int size, int device)
{
    BEGIN(INVALID_VALUE);
    snprintf(name, (size_t)size, "emulated GPU %d", device);
    return OK;
}

int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    int form = (int)number("CUDA_FAKE_FORM", 90);
    (void)device;
    BEGIN(INVALID_VALUE);
    *value = attribute == 75 ? form / 10 : attribute == 76 ? form % 10 : 0;
    return attribute == 75 || attribute == 76 ? OK : INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void **context, int device);
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    (void)device;
    BEGIN(OUT_OF_MEMORY);
    *context = &begun;
    return OK;
}

int cuDevicePrimaryCtxRelease_v2(int device);
int cuDevicePrimaryCtxRelease_v2(int device)
{
    (void)device;
    emu_free_all();
    return OK;
}

int cuCtxSetCurrent(void *context);
int cuCtxSetCurrent(void *context)
{
    BEGIN(INVALID_VALUE);
    return context == &begun ? OK : INVALID_VALUE;
}

int cuCtxSynchronize(void);
int cuCtxSynchronize(void)
{
    BEGIN(ILLEGAL_ADDRESS);
    return OK;
}

int cuGetErrorName(int error, const char **name);
int cuGetErrorName(int error, const char **name)
{
    static const struct {
        int error;
        const char *name;
    } names[] = {{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
                 {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
                 {100, "CUDA_ERROR_NO_DEVICE"},
                 {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
                 {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
                 {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                 {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == error) *name = names[i].name;
    return OK;
}

/* ------------------------------------------------------------------ memory */

static void *pointer(address a)
{
    return (void *)(uintptr_t)a;
}

int cuMemAlloc_v2(address *memory, size_t bytes);
int cuMemAlloc_v2(address *memory, size_t bytes)
{
    BEGIN(OUT_OF_MEMORY);
    *memory = (address)(uintptr_t)emu_alloc(bytes);
    return OK;
}

int cuMemFree_v2(address memory);
int cuMemFree_v2(address memory)
{
    BEGIN(INVALID_VALUE);
    return memory ? OK : INVALID_VALUE;
}

int cuMemcpyHtoD_v2(address to, const void *from, size_t bytes);
int cuMemcpyHtoD_v2(address to, const void *from, size_t bytes)
{
    BEGIN(INVALID_VALUE);
    emu_upload(pointer(to), from, bytes);
    return OK;
}

int cuMemcpyDtoH_v2(void *to, address from, size_t bytes);
int cuMemcpyDtoH_v2(void *to, address from, size_t bytes)
{
    BEGIN(INVALID_VALUE);
    if (!emu_written(pointer(from), bytes)) return ILLEGAL_ADDRESS;
    memcpy(to, pointer(from), bytes);
    return OK;
}

int cuMemcpyDtoD_v2(address to, address from, size_t bytes);
int cuMemcpyDtoD_v2(address to, address from, size_t bytes)
{
    BEGIN(INVALID_VALUE);
    if (to < from + bytes && from < to + bytes) return INVALID_VALUE; /* undefined there */
    emu_upload(pointer(to), pointer(from), bytes);
    return OK;
}

int cuMemsetD8_v2(address to, unsigned char value, size_t bytes);
int cuMemsetD8_v2(address to, unsigned char value, size_t bytes)
{
    BEGIN(INVALID_VALUE);
    memset(pointer(to), value, bytes);
    emu_upload(pointer(to), pointer(to), bytes);
    return OK;
}

/* ------------------------------------------------------------------ modules and launches */

int cuModuleLoadData(void **module, const void *image);
int cuModuleLoadData(void **module, const void *image)
{
    uint64_t h = 0xcbf29ce484222325u;
    BEGIN(INVALID_IMAGE);
    for (const unsigned char *p = image; *p; p++)
        h = (h ^ *p) * 0x100000001b3u;
    for (int i = 0; i < n_modules; i++)
        if (modules[i]->text_hash == h) {
            *module = (void *)(uintptr_t)modules[i];
            return OK;
        }
    return INVALID_IMAGE;
}

int cuModuleUnload(void *module);
int cuModuleUnload(void *module)
{
    return module ? OK : INVALID_VALUE;
}

int cuModuleGetFunction(void **function, void *module, const char *name);
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    const struct emu_module *m = module;
    BEGIN(NOT_FOUND);
    for (int i = 0; i < m->n_kernels; i++)
        if (strcmp(m->kernels[i].name, name) == 0) {
            *function = (void *)(uintptr_t)&m->kernels[i];
            return OK;
        }
    return NOT_FOUND;
}

static const void *allowed; /* the kernel that may have more than 48 KiB of shared memory */
static int allowed_bytes;

int cuFuncSetAttribute(void *function, int attribute, int value);
int cuFuncSetAttribute(void *function, int attribute, int value)
{
    BEGIN(INVALID_VALUE);
    if (attribute != 8 || value > EMU_SHARED_MAX) return INVALID_VALUE;
    allowed = function;
    allowed_bytes = value;
    return OK;
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void *stream, void **parameters, void **extra);
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void *stream, void **parameters, void **extra)
{
    const struct emu_kernel *k = function;
    BEGIN(LAUNCH_FAILED);
    if (stream || parameters || !extra || extra[0] != (void *)1 || extra[2] != (void *)2 ||
        extra[4])
        return INVALID_VALUE;
    if (!grid_x || !grid_y || !grid_z || grid_y > 65535 || grid_z > 65535 || grid_x > INT32_MAX)
        return INVALID_VALUE;
    if (block_y != 1 || block_z != 1) return INVALID_VALUE;
    if (shared > 48 << 10 && (allowed != function || (int)shared > allowed_bytes))
        return INVALID_VALUE;
    struct emu_launch l = {.kernel = k->name,
                           .grid = {grid_x, grid_y, grid_z},
                           .block = block_x,
                           .shared = shared,
                           .parameters = extra[1],
                           .parameter_bytes = (uint32_t) * (size_t *)extra[3]};
    return emu_run(&l) ? OK : LAUNCH_FAILED;
}

int cuTensorMapEncodeTiled(void *map, int type, uint32_t rank, void *base, const uint64_t *sizes,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *steps,
                           int interleave, int swizzle, int promotion, int fill);
int cuTensorMapEncodeTiled(void *map, int type, uint32_t rank, void *base, const uint64_t *sizes,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *steps,
                           int interleave, int swizzle, int promotion, int fill)
{
    BEGIN(INVALID_VALUE);
    if (type != 9 || rank != 2 || interleave || fill || swizzle != 3 || promotion < 0 ||
        steps[0] != 1 || steps[1] != 1 || (uintptr_t)base % 16 || strides[0] % 16 ||
        (uintptr_t)map % 64 || box[0] * 2 != 128 || box[1] > 256)
        return INVALID_VALUE;
    struct emu_tensor_map m = {.base = base,
                               .dims = {sizes[0], sizes[1]},
                               .stride = strides[0] / 2,
                               .box = {box[0], box[1]},
                               .swizzle = 128};
    memcpy(map, &m, sizeof m);
    return OK;
}
