/* compute_context.c: the context: which kernels this CPU runs.
 *
 * Backends are tried from the fastest; COMPUTE_AUTO takes the first whose instructions this CPU
 * has. */
#include <stdio.h>
#include <stdlib.h>

#include "compute/core/compute_internal.h"
#include "compute/compute_dnnl_internal.h"
#include "compute/reference/compute_reference_internal.h"
#include "compute/x86/compute_x86_internal.h"

/* ------------------------------------------------------------------ what the CPU has */

bool compute_has_fast_bf16(void)
{
#if COMPUTE_X86_KERNELS
    /* Every CPU with AMX-BF16 has AVX512-BF16 as well. */
    return compute_kernels_avx512(COMPUTE_F32) && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static const char *const backend_names[] = {"auto", "reference", "avx2", "avx512"};

/* NULL where this build or CPU lacks it. */
static const struct compute_kernels *backend_table(enum compute_backend b, enum compute_dtype t)
{
#if COMPUTE_X86_KERNELS
    if (b == COMPUTE_AVX512) return compute_kernels_avx512(t);
    if (b == COMPUTE_AVX2) return compute_kernels_avx2(t);
#endif
    return b == COMPUTE_REFERENCE ? compute_kernels_reference(t) : NULL;
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

/* AUTO walks down from the fastest backend and ends at the reference, which every CPU runs. */
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

size_t compute_scratch_bytes(const compute_t *c)
{
    return c->shared.size + c->private.size;
}
