/* compute_gpu_driver.c: libcuda, opened when the program runs, and the kernels that it is given.
 *
 * The kernels are PTX (compute/cuda/ptx/), packed, which is part of the program; the driver compiles a
 * file when the first of its kernels is wanted. Names and numbers are those of NVIDIA's driver API. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "compute/gpu/compute_gpu_driver_internal.h"

/* ------------------------------------------------------------------ the kernels' files */

#define PTX_FILES(X)                                 \
    X(rows, "compute_cuda_rows.sm_80", 80)           \
    X(experts, "compute_cuda_experts.sm_80", 80)     \
    X(loss, "compute_cuda_loss.sm_80", 80)           \
    X(vectors, "compute_cuda_vectors.sm_80", 80)     \
    X(attention, "compute_cuda_attention.sm_80", 80) \
    X(flash, "compute_cuda_flash.sm_80", 80)         \
    X(products, "compute_cuda_products.sm_80", 80)   \
    X(hopper, "compute_cuda_products_sm90.sm_90a", 90)

#define EMBED(id, name, form)                                                              \
    __asm__(".pushsection .rodata\ngpu_ptx_" #id ":\n.incbin \"src/compute/cuda/ptx/" name \
            ".ptx.gz\"\n1:\n.balign 8\ngpu_ptx_size_" #id ":\n.quad 1b - gpu_ptx_" #id     \
            "\n.popsection\n");                                                            \
    extern const unsigned char gpu_ptx_##id[];                                             \
    extern const uint64_t gpu_ptx_size_##id;
PTX_FILES(EMBED)

static const struct {
    const char *name;
    const unsigned char *data;
    const uint64_t *size;
    int form; /* compute capability: 80 runs on every later one, 90 (sm_90a) on no other */
} files[] = {
#define ROW(id, name, form) {name, gpu_ptx_##id, &gpu_ptx_size_##id, form},
    PTX_FILES(ROW)
#undef ROW
};
enum { N_FILES = ARRAY_LEN(files), MOST_KERNELS = 256, MOST_PTX = 64 << 20 };

/* ------------------------------------------------------------------ the driver's functions */

typedef uint64_t address; /* CUdeviceptr */

#define DRIVER(X)                                                                             \
    X(cuInit, (unsigned flags))                                                               \
    X(cuDriverGetVersion, (int *version))                                                     \
    X(cuDeviceGetCount, (int *count))                                                         \
    X(cuDeviceGet, (int *device, int number))                                                 \
    X(cuDeviceGetName, (char *name, int size, int device))                                    \
    X(cuDeviceGetAttribute, (int *value, int attribute, int device))                          \
    X(cuDevicePrimaryCtxRetain, (void **context, int device))                                 \
    X(cuDevicePrimaryCtxRelease_v2, (int device))                                             \
    X(cuCtxSetCurrent, (void *context))                                                       \
    X(cuMemAlloc_v2, (address * memory, size_t bytes))                                        \
    X(cuMemFree_v2, (address memory))                                                         \
    X(cuMemcpyHtoD_v2, (address to, const void *from, size_t bytes))                          \
    X(cuMemcpyDtoH_v2, (void *to, address from, size_t bytes))                                \
    X(cuMemcpyDtoD_v2, (address to, address from, size_t bytes))                              \
    X(cuMemsetD8_v2, (address to, unsigned char value, size_t bytes))                         \
    X(cuModuleLoadData, (void **module, const void *image))                                   \
    X(cuModuleUnload, (void *module))                                                         \
    X(cuModuleGetFunction, (void **function, void *module, const char *name))                 \
    X(cuFuncSetAttribute, (void *function, int attribute, int value))                         \
    X(cuLaunchKernel, (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,     \
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared, \
                       void *stream, void **parameters, void **extra))                        \
    X(cuCtxSynchronize, (void))                                                               \
    X(cuGetErrorName, (int error, const char **name))

struct driver {
#define FIELD(name, parameters) int(*name) parameters;
    DRIVER(FIELD)
#undef FIELD
    /* From CUDA 12 on; NULL before. */
    int (*cuTensorMapEncodeTiled)(void *map, int type, uint32_t rank, void *base,
                                  const uint64_t *sizes, const uint64_t *strides,
                                  const uint32_t *box, const uint32_t *steps, int interleave,
                                  int swizzle, int promotion, int fill);
};

enum {
    CU_MAJOR = 75, /* CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, and MINOR */
    CU_MINOR = 76,
    CU_FUNC_DYNAMIC_SHARED = 8, /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
    CU_NOT_FOUND = 500,
    CU_OUT_OF_MEMORY = 2,
    CU_BFLOAT16 = 9,     /* of a tensor map */
    CU_SWIZZLE_128B = 3, /* bytes */
    CU_PROMOTE_128B = 2,
    PLAIN_SHARED = 48 << 10 /* a kernel gets so much without being asked */
};

struct kernel {
    const char *name; /* the launch's: its address is the key */
    void *function;
};
struct block {
    void *memory;
    size_t bytes;
};

struct gpu {
    void *library, *context;
    struct driver driver;
    int number, device, form;
    char name[128];
    void *modules[N_FILES];
    struct kernel kernels[MOST_KERNELS];
    size_t n_kernels;
    struct block scratch, staging;
};

/* ------------------------------------------------------------------ errors */

static const char *error_name(const struct gpu *g, int rc)
{
    const char *name = NULL;
    if (g->driver.cuGetErrorName) g->driver.cuGetErrorName(rc, &name);
    return name ? name : "an error without a name";
}

/* While opening. */
static int refuse(const struct gpu *g, int rc, const char *what, struct error *e)
{
    return error_set(e, "GPU %d: %s: %s (%d)", g->number, what, error_name(g, rc), rc);
}

static void must(const struct gpu *g, int rc, const char *operation, const char *of)
{
    if (rc == 0) return;
    exit_now(75,
             "the same command goes on from the last checkpoint; on another GPU if it is this one",
             "GPU %d (%s): %s%s%s failed: %s (%d)", g->number, g->name, operation, of ? " of " : "",
             of ? of : "", error_name(g, rc), rc);
}

/* ------------------------------------------------------------------ opening */

static int open_library(struct gpu *g, struct error *e)
{
    g->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!g->library) {
        error_set(e, "there is no driver of NVIDIA's here: %s", dlerror());
        return error_hint(e, "its package brings libcuda.so.1; without a GPU take backend auto");
    }
#define FIND(symbol, parameters)                                                 \
    *(void **)&g->driver.symbol = dlsym(g->library, #symbol);                    \
    if (!g->driver.symbol) {                                                     \
        error_set(e, "libcuda.so.1 has no function %s: it is too old", #symbol); \
        return error_hint(e, "a driver for CUDA 11.4 or later has it");          \
    }
    DRIVER(FIND)
#undef FIND
    *(void **)&g->driver.cuTensorMapEncodeTiled = dlsym(g->library, "cuTensorMapEncodeTiled");
    return 0;
}

static int find_device(struct gpu *g, struct error *e)
{
    const struct driver *d = &g->driver;
    int count = 0, major = 0, minor = 0, rc = d->cuInit(0);
    if (rc != 0) return refuse(g, rc, "the driver does not start", e);
    rc = d->cuDeviceGetCount(&count);
    if (rc != 0) return refuse(g, rc, "the driver does not count its GPUs", e);
    if (g->number < 0 || g->number >= count)
        return error_set(e, "there is no GPU %d: the driver knows %d", g->number, count);
    rc = d->cuDeviceGet(&g->device, g->number);
    if (rc == 0) rc = d->cuDeviceGetName(g->name, sizeof(g->name), g->device);
    if (rc == 0) rc = d->cuDeviceGetAttribute(&major, CU_MAJOR, g->device);
    if (rc == 0) rc = d->cuDeviceGetAttribute(&minor, CU_MINOR, g->device);
    if (rc != 0) return refuse(g, rc, "it does not say what it is", e);
    g->form = 10 * major + minor;
    if (g->form < 80) {
        error_set(e, "GPU %d (%s) is of compute capability %d.%d", g->number, g->name, major,
                  minor);
        return error_hint(e, "the kernels need 8.0 or later: an A100, an RTX 30 or newer");
    }
    rc = d->cuDevicePrimaryCtxRetain(&g->context, g->device);
    if (rc == 0) rc = d->cuCtxSetCurrent(g->context);
    return rc != 0 ? refuse(g, rc, "no context can be made", e) : 0;
}

int gpu_open(int number, struct gpu **out, struct error *e)
{
    struct gpu *g = mem_calloc(1, sizeof(*g));
    g->number = number;
    int rc = open_library(g, e);
    if (rc == 0) rc = find_device(g, e);
    if (rc < 0) {
        gpu_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

void gpu_close(struct gpu *g)
{
    if (!g) return;
    if (g->context) {
        gpu_free(g, g->scratch.memory);
        gpu_free(g, g->staging.memory);
        for (size_t i = 0; i < N_FILES; i++)
            if (g->modules[i]) g->driver.cuModuleUnload(g->modules[i]);
        g->driver.cuDevicePrimaryCtxRelease_v2(g->device);
    }
    if (g->library) dlclose(g->library);
    mem_free(g);
}

const char *gpu_name(const struct gpu *g)
{
    return g->name;
}

int gpu_form(const struct gpu *g)
{
    return g->form;
}

/* ------------------------------------------------------------------ memory */

static address at(const void *p)
{
    return (address)(uintptr_t)p;
}

void *gpu_alloc(struct gpu *g, size_t bytes)
{
    address memory = 0;
    int rc = g->driver.cuMemAlloc_v2(&memory, MAX(bytes, (size_t)1));
    if (rc == CU_OUT_OF_MEMORY) return NULL;
    must(g, rc, "cuMemAlloc", NULL);
    return (void *)(uintptr_t)memory;
}

void gpu_free(struct gpu *g, void *memory)
{
    if (memory) must(g, g->driver.cuMemFree_v2(at(memory)), "cuMemFree", NULL);
}

void gpu_upload(struct gpu *g, void *to, const void *from, size_t bytes)
{
    if (bytes) must(g, g->driver.cuMemcpyHtoD_v2(at(to), from, bytes), "cuMemcpyHtoD", NULL);
}

void gpu_download(struct gpu *g, void *to, const void *from, size_t bytes)
{
    must(g, g->driver.cuCtxSynchronize(), "a kernel", NULL);
    if (bytes) must(g, g->driver.cuMemcpyDtoH_v2(to, at(from), bytes), "cuMemcpyDtoH", NULL);
}

void gpu_copy(struct gpu *g, void *to, const void *from, size_t bytes)
{
    if (bytes) must(g, g->driver.cuMemcpyDtoD_v2(at(to), at(from), bytes), "cuMemcpyDtoD", NULL);
}

void gpu_clear(struct gpu *g, void *to, size_t bytes)
{
    if (bytes) must(g, g->driver.cuMemsetD8_v2(at(to), 0, bytes), "cuMemsetD8", NULL);
}

static void *grow(struct gpu *g, struct block *b, size_t bytes)
{
    if (b->bytes >= bytes) return b->memory;
    must(g, g->driver.cuCtxSynchronize(), "a kernel", NULL); /* may use the old one still */
    gpu_free(g, b->memory);
    *b = (struct block){gpu_alloc(g, bytes), bytes};
    if (b->memory) return b->memory;
    char text[32];
    exit_now(75, "a smaller microbatch needs less", "GPU %d (%s) has no memory for %s of scratch",
             g->number, g->name, format_bytes(text, (double)bytes));
}

void *gpu_scratch(void *device, size_t bytes)
{
    struct gpu *g = device;
    return grow(g, &g->scratch, bytes);
}

void *gpu_staging(struct gpu *g, size_t bytes)
{
    return grow(g, &g->staging, bytes);
}

/* ------------------------------------------------------------------ kernels */

static char *unpack(size_t file)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)files[file].data,
                  .avail_in = (uInt)*files[file].size};
    size_t size = 1 << 20;
    char *text = mem_alloc(size + 1);
    CHECK(inflateInit2(&z, 16 + MAX_WBITS) == Z_OK);
    for (int rc = Z_OK; rc != Z_STREAM_END;) {
        if (z.total_out == size) {
            size *= 2;
            text = mem_realloc(text, size + 1);
        }
        z.next_out = (Bytef *)text + z.total_out;
        z.avail_out = (uInt)(size - z.total_out);
        rc = inflate(&z, Z_NO_FLUSH);
        CHECK_MSG((rc == Z_OK || rc == Z_STREAM_END) && size <= MOST_PTX,
                  "the kernels of %s do not unpack", files[file].name);
    }
    text[z.total_out] = 0;
    inflateEnd(&z);
    return text;
}

static void *module_of(struct gpu *g, size_t file)
{
    if (g->modules[file]) return g->modules[file];
    char *text = unpack(file);
    must(g, g->driver.cuModuleLoadData(&g->modules[file], text), "compiling the kernels",
         files[file].name);
    mem_free(text);
    return g->modules[file];
}

static bool takes(const struct gpu *g, size_t file)
{
    return files[file].form == 80 || files[file].form == g->form;
}

/* Modules that are there already are asked first. */
static void *find_function(struct gpu *g, const char *name)
{
    void *function = NULL;
    for (int load = 0; load < 2; load++)
        for (size_t i = 0; i < N_FILES; i++) {
            if (!takes(g, i) || (load == 0) != (g->modules[i] != NULL)) continue;
            int rc = g->driver.cuModuleGetFunction(&function, module_of(g, i), name);
            if (rc == 0) return function;
            if (rc != CU_NOT_FOUND) must(g, rc, "cuModuleGetFunction", name);
        }
    CHECK_MSG(false, "there is no kernel %s for GPU %d (%s)", name, g->number, g->name);
    return NULL;
}

static void *function_of(struct gpu *g, const char *name)
{
    for (size_t i = 0; i < g->n_kernels; i++)
        if (g->kernels[i].name == name) return g->kernels[i].function;
    CHECK(g->n_kernels < MOST_KERNELS);
    g->kernels[g->n_kernels] = (struct kernel){name, find_function(g, name)};
    return g->kernels[g->n_kernels++].function;
}

void gpu_launch(void *device, const struct compute_cuda_launch *l)
{
    struct gpu *g = device;
    void *function = function_of(g, l->kernel);
    size_t bytes = l->args_bytes;
    void *extra[] = {(void *)1, (void *)(uintptr_t)l->args, (void *)2, &bytes, NULL};
    if (l->shared > PLAIN_SHARED)
        must(g, g->driver.cuFuncSetAttribute(function, CU_FUNC_DYNAMIC_SHARED, (int)l->shared),
             "shared memory", l->kernel);
    must(g,
         g->driver.cuLaunchKernel(function, l->grid[0], l->grid[1], l->grid[2], l->block, 1, 1,
                                  l->shared, NULL, NULL, extra),
         "the launch", l->kernel);
}

bool gpu_tensor_map(void *device, const void *matrix, int64_t width, int64_t rows,
                    struct cuda_tensor_map *out)
{
    struct gpu *g = device;
    const uint64_t sizes[2] = {(uint64_t)width, (uint64_t)rows};
    const uint64_t strides[1] = {(uint64_t)width * sizeof(bf16_t)};
    const uint32_t box[2] = {64, 128}, steps[2] = {1, 1};
    if (!g->driver.cuTensorMapEncodeTiled || rows < 1) return false;
    return g->driver.cuTensorMapEncodeTiled(out, CU_BFLOAT16, 2, (void *)(uintptr_t)matrix, sizes,
                                            strides, box, steps, 0, CU_SWIZZLE_128B,
                                            CU_PROMOTE_128B, 0) == 0;
}
