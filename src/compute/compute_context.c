/* compute_context.c: the context: which kernels this CPU runs, scratch memory, conversions.
 *
 * Backends are tried from the fastest; COMPUTE_AUTO takes the first whose instructions this CPU
 * has. A fast table may leave entries NULL, which are filled from the reference here, so that an
 * operation never has to ask. */
#include <stdio.h>
#include <stdlib.h>

#include "compute/compute_internal.h"
#include "compute/compute_dnnl_internal.h"
#include "compute/x86/compute_x86_internal.h"

/* ------------------------------------------------------------------ what the CPU has */

static bool cpu_runs(enum compute_backend backend)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (backend == COMPUTE_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("fma");
    if (backend == COMPUTE_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return backend == COMPUTE_REFERENCE;
}

bool compute_has_fast_bf16(void)
{
#if defined(__x86_64__)
    /* Every CPU with AMX-BF16 has AVX512-BF16 as well. */
    return cpu_runs(COMPUTE_AVX512) && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static const char *const backend_names[] = {"auto", "reference", "avx2", "avx512"};

static const struct compute_kernels *backend_table(enum compute_backend b, enum compute_dtype t)
{
    if (!cpu_runs(b)) return NULL;
#if COMPUTE_X86_KERNELS
    if (b == COMPUTE_AVX512) return compute_kernels_avx512(t);
    if (b == COMPUTE_AVX2) return compute_kernels_avx2(t);
#endif
    return compute_kernels_reference(t);
}

/* ------------------------------------------------------------------ the context */

/* COLOSSUS_AMX=0 leaves the products to oneDNN: for tests, for comparing the two, and for a machine
 * where tiles do not work. */
static bool choose_amx(const compute_t *c)
{
#if COMPUTE_X86_KERNELS
    const char *wish = getenv("COLOSSUS_AMX");
    if (wish && strcmp(wish, "0") == 0) return false;
    return c->backend == COMPUTE_AVX512 && compute_x86_has_amx();
#else
    (void)c;
    return false;
#endif
}

/* Entries the backend lacks come from the reference. matmul does not: NULL means oneDNN. */
static void fill_table(struct compute_kernels *k, const struct compute_kernels *fallback)
{
#define FILL(entry) \
    if (!k->entry) k->entry = fallback->entry
    FILL(to_act);
    FILL(from_act);
    FILL(rmsnorm);
    FILL(rmsnorm_backward);
    FILL(seam_forward);
    FILL(seam_backward);
    FILL(rope);
    FILL(glu_forward);
    FILL(glu_backward);
    FILL(router_forward);
    FILL(router_backward);
    FILL(gather);
    FILL(combine);
    FILL(scale);
    FILL(embed);
    FILL(embed_backward);
    FILL(cross_entropy);
    FILL(logits);
    FILL(sum_squares);
    FILL(sum);
    FILL(all_finite);
    FILL(adamw);
    FILL(momentum);
    FILL(axpby);
#undef FILL
    /* The two passes of attention share their scratch: both or neither. */
    if (!k->attention_scratch || !k->attention_forward || !k->attention_backward) {
        k->attention_scratch = fallback->attention_scratch;
        k->attention_forward = fallback->attention_forward;
        k->attention_backward = fallback->attention_backward;
    }
}

int compute_new(const struct compute_options *o, compute_t **out, struct error *e)
{
    CHECK(o->dtype == COMPUTE_F32 || o->dtype == COMPUTE_BF16);
    enum compute_backend b = o->backend;
    const struct compute_kernels *table = NULL;
    if (b == COMPUTE_AUTO)
        for (b = COMPUTE_AVX512; !(table = backend_table(b, o->dtype)); b--)
            ;
    else
        table = backend_table(b, o->dtype);
    if (!table) {
        error_set(e, "this processor or build cannot run the %s kernels", backend_names[b]);
        return error_hint(e, "choose backend auto, or reference, which runs everywhere");
    }
    compute_t *c = mem_calloc(1, sizeof *c);
    c->dtype = o->dtype;
    c->backend = b;
    c->pool = o->pool;
    c->threads = pool_threads(o->pool);
    c->kernels = *table;
    c->amx = choose_amx(c);
    fill_table(&c->kernels, compute_kernels_reference(o->dtype));
    if (b != COMPUTE_REFERENCE) {
        int rc = compute_dnnl_new(c, &c->dnnl, e);
        if (rc < 0) {
            compute_free(c);
            return rc;
        }
    }
    snprintf(c->name, sizeof c->name, "%s%s", backend_names[b],
             c->amx && c->dtype == COMPUTE_BF16 ? " + amx-bf16"
             : c->dnnl                          ? compute_dnnl_label(c->dnnl)
                                                : "");
    *out = c;
    return 0;
}

void compute_free(compute_t *c)
{
    if (!c) return;
    compute_dnnl_free(c->dnnl);
    if (c->shared.data) mem_unmap(c->shared.data, c->shared.size);
    if (c->private.data) mem_unmap(c->private.data, c->private.size);
    mem_free(c);
}

enum compute_dtype compute_act_dtype(const compute_t *c)
{
    return c->dtype;
}

const char *compute_backend_name(const compute_t *c)
{
    return c->name;
}

struct pool *compute_pool(const compute_t *c)
{
    return c->pool;
}

/* ------------------------------------------------------------------ scratch */

enum { HUGE_PAGE = 2 << 20 }; /* growth in whole huge pages: a cache longer by a token costs none */

static void *scratch_at_least(struct compute_scratch *s, size_t bytes)
{
    if (bytes > s->size) {
        bytes = (size_t)round_up((int64_t)bytes, HUGE_PAGE);
        if (s->data) mem_unmap(s->data, s->size);
        s->data = mem_map(bytes);
        CHECK_MSG(s->data, "no memory for %zu bytes of scratch", bytes);
        s->size = bytes;
    }
    return s->data;
}

void *compute_shared_scratch(compute_t *c, size_t bytes)
{
    return scratch_at_least(&c->shared, bytes);
}

char *compute_private_scratch(compute_t *c, size_t bytes, size_t *stride)
{
    /* An odd number of pages apart, so that the threads' slices do not fall on the same cache
     * sets. */
    *stride = (size_t)round_up((int64_t)bytes, 8192) + 4096;
    return scratch_at_least(&c->private, *stride * (size_t)c->threads);
}

size_t compute_scratch_bytes(const compute_t *c)
{
    return c->shared.size + c->private.size;
}

/* ------------------------------------------------------------------ conversion */

float compute_bf16_to_f32(bf16_t x)
{
    return bf16_load(x);
}

bf16_t compute_f32_to_bf16(float x)
{
    return bf16_store(x);
}

struct convert {
    compute_t *c;
    const void *x;
    void *y;
    size_t n;
    float scale;
};

static size_t chunk_size(size_t n, size_t task)
{
    return MIN((size_t)VECTOR_CHUNK, n - task * VECTOR_CHUNK);
}

static void to_act_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct convert *v = ctx;
    size_t first = task * VECTOR_CHUNK;
    v->c->kernels.to_act(chunk_size(v->n, task), (const float *)v->x + first,
                         act_row_out(v->c, v->y, (int64_t)first, 1));
}

static void from_act_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct convert *v = ctx;
    size_t first = task * VECTOR_CHUNK;
    v->c->kernels.from_act(chunk_size(v->n, task), act_row(v->c, v->x, (int64_t)first, 1),
                           (float *)v->y + first);
}

static void scale_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct convert *v = ctx;
    int64_t first = (int64_t)task * VECTOR_CHUNK;
    v->c->kernels.scale(chunk_size(v->n, task), v->scale, act_row(v->c, v->x, first, 1),
                        act_row_out(v->c, v->y, first, 1));
}

static size_t chunk_count(size_t n)
{
    return (n + VECTOR_CHUNK - 1) / VECTOR_CHUNK;
}

void compute_to_act(compute_t *c, const float *x, size_t n, void *y)
{
    struct convert v = {.c = c, .x = x, .y = y, .n = n};
    pool_run(c->pool, chunk_count(n), to_act_task, &v);
}

void compute_from_act(compute_t *c, const void *x, size_t n, float *y)
{
    struct convert v = {.c = c, .x = x, .y = y, .n = n};
    pool_run(c->pool, chunk_count(n), from_act_task, &v);
}

void compute_scale(compute_t *c, int64_t n, float scale, const void *x, void *y)
{
    struct convert v = {.c = c, .x = x, .y = y, .n = (size_t)n, .scale = scale};
    pool_run(c->pool, chunk_count((size_t)n), scale_task, &v);
}
