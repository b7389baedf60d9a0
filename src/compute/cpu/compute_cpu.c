/* compute_cpu.c: a CPU as a device: which kernels it runs, its memory, and the table of its operations.
 *
 * Backends are tried from the fastest; COMPUTE_AUTO takes the first whose instructions this CPU
 * has. */
#include <stdio.h>
#include <stdlib.h>

#include "compute/cpu/compute_cpu_dnnl_internal.h"
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/reference/compute_reference_internal.h"
#include "compute/x86/compute_x86_internal.h"

/* ------------------------------------------------------------------ memory */

void *compute_cpu_alloc(compute_t *c, size_t bytes)
{
    (void)c;
    return mem_map(bytes);
}

void compute_cpu_release(compute_t *c, void *memory, size_t bytes)
{
    (void)c;
    mem_unmap(memory, bytes);
}

void compute_cpu_upload(compute_t *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memcpy(to, from, bytes);
}

void compute_cpu_download(compute_t *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memcpy(to, from, bytes);
}

void compute_cpu_copy(compute_t *c, void *to, const void *from, size_t bytes)
{
    (void)c;
    memmove(to, from, bytes);
}

void compute_cpu_clear(compute_t *c, void *to, size_t bytes)
{
    (void)c;
    memset(to, 0, bytes);
}

const struct compute_ops compute_cpu_ops = {
    .is_host = true,
    .close = compute_cpu_close,
    .alloc = compute_cpu_alloc,
    .release = compute_cpu_release,
    .upload = compute_cpu_upload,
    .download = compute_cpu_download,
    .copy = compute_cpu_copy,
    .clear = compute_cpu_clear,
    .linear_bytes = compute_cpu_linear_bytes,
    .linear_new = compute_cpu_linear_new,
    .linear_free = compute_cpu_linear_free,
    .linear_update = compute_cpu_linear_update,
    .linear_put = compute_cpu_linear_put,
    .linear_form = compute_cpu_linear_form,
    .linear_put_codes = compute_cpu_linear_put_codes,
    .linear_forward = compute_cpu_linear_forward,
    .linear_backward_input = compute_cpu_linear_backward_input,
    .linear_backward_weight = compute_cpu_linear_backward_weight,
    .linear_embed = compute_cpu_linear_embed,
    .to_act = compute_cpu_to_act,
    .matmul = compute_cpu_matmul,
    .rmsnorm = compute_cpu_rmsnorm,
    .rmsnorm_backward = compute_cpu_rmsnorm_backward,
    .seam_forward = compute_cpu_seam_forward,
    .seam_backward = compute_cpu_seam_backward,
    .head_norm = compute_cpu_head_norm,
    .bias = compute_cpu_bias,
    .attention_forward = compute_cpu_attention_forward,
    .attention_backward = compute_cpu_attention_backward,
    .paged_store = compute_cpu_paged_store,
    .paged_attention = compute_cpu_paged_attention,
    .rope = compute_cpu_rope,
    .glu_forward = compute_cpu_glu_forward,
    .glu_backward = compute_cpu_glu_backward,
    .router_forward = compute_cpu_router_forward,
    .router_balance = compute_cpu_router_balance,
    .router_select = compute_cpu_router_select,
    .router_backward = compute_cpu_router_backward,
    .dispatch = compute_cpu_dispatch,
    .routed = compute_cpu_routed,
    .slots = compute_cpu_slots,
    .gather = compute_cpu_gather,
    .combine = compute_cpu_combine,
    .scale = compute_cpu_scale,
    .embed = compute_cpu_embed,
    .embed_backward = compute_cpu_embed_backward,
    .cross_entropy = compute_cpu_cross_entropy,
    .logits = compute_cpu_logits,
    .sum_squares = compute_cpu_sum_squares,
    .all_finite = compute_cpu_all_finite,
    .adamw = compute_cpu_adamw,
    .momentum = compute_cpu_momentum,
    .axpby = compute_cpu_axpby,
};

/* ------------------------------------------------------------------ what the CPU has */

bool compute_has_bf16(void)
{
#if COMPUTE_X86_KERNELS
    /* Every CPU with AMX-BF16 has AVX512-BF16 as well. */
    return compute_kernels_avx512(COMPUTE_F32) && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

/* Without AMX, Intel's CPUs multiply bf16 at half the rate of fp32, AMD's at twice that rate:
 * docs/decisions/compute.md. */
bool compute_has_fast_bf16(void)
{
#if COMPUTE_X86_KERNELS
    return compute_has_bf16() && (compute_x86_has_amx() || !__builtin_cpu_is("intel"));
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
int compute_cpu_new(const struct compute_options *o, compute_t **out, struct error *e)
{
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
    c->ops = &compute_cpu_ops;
    c->dtype = o->dtype;
    c->backend = b;
    c->pool = o->pool;
    c->threads = pool_threads(o->pool);
    c->kernels = *table;
    c->amx = choose_amx(c);
    if (b != COMPUTE_REFERENCE) {
        int rc = compute_dnnl_new(c, &c->dnnl, e);
        if (rc < 0) {
            compute_cpu_close(c);
            mem_free(c);
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

void compute_cpu_close(compute_t *c)
{
    compute_dnnl_free(c->dnnl);
    if (c->shared.data) mem_unmap(c->shared.data, c->shared.size);
    if (c->private.data) mem_unmap(c->private.data, c->private.size);
}
