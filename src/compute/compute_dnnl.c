/* compute_dnnl.c: matrix products by oneDNN (version 2 C interface), each on one thread.
 *
 * oneDNN's own threads would split a product by their number and so change the order of sums;
 * here the pool cuts work into tiles and every tile is one primitive run on one thread. (The pool
 * keeps OpenMP at one thread per caller.) Primitives use scratch that the caller provides: the
 * library's own belongs to the thread that created a primitive. The memory objects a primitive
 * needs are made once per thread and re-pointed on every run, so a run allocates nothing.
 *
 * A processor without bfloat16 instructions gets bfloat16 products through float: the operands are
 * widened into scratch, multiplied in fp32 and rounded at the end. Correct everywhere, fast where
 * the processor helps. */
#include <dnnl.h>

#include <stdio.h>
#include <string.h>

#include "compute/compute_dnnl_internal.h"

enum { MAX_ARGS = 4, MAX_PRODUCTS = 4096 };

/* One thread's memory objects of one product. */
struct binding {
    dnnl_memory_t a, b, c, scratch;
};

struct dnnl_product {
    struct product_key key;
    struct compute_dnnl *owner;
    bool widen; /* key.in is bfloat16 but the primitive is fp32 on dense copies */
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t a, b, c, scratch, b_plain;
    dnnl_primitive_t pack;
    struct binding *bindings; /* [threads] */
};

struct compute_dnnl {
    compute_t *c;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* [threads] */
    struct dnnl_product **products;
    size_t n_products, cap_products;
    bool widen_bf16;
    char label[48];
};

/* What oneDNN is asked for is decided by shapes the program made: a refusal is a bug or a lack of
 * memory, and there is nothing to do about it in the middle of a step. */
#define DNNL(call)                                                            \
    do {                                                                      \
        dnnl_status_t status_ = (call);                                       \
        CHECK_MSG(status_ == dnnl_success, "oneDNN status %d", (int)status_); \
    } while (0)

/* ------------------------------------------------------------------ engine */

static const char *instruction_set(void)
{
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_amx: return "amx-bf16";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512-bf16";
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core: return "avx512";
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx2: return "avx2";
    default: return "generic";
    }
}

int compute_dnnl_new(compute_t *c, struct compute_dnnl **out, struct error *e)
{
    struct compute_dnnl *d = mem_calloc(1, sizeof *d);
    d->c = c;
    /* The AVX2 kernels stand for processors without bfloat16 instructions, here too. */
    d->widen_bf16 = c->backend == COMPUTE_AVX2 || !compute_has_fast_bf16();
    d->streams = mem_calloc((size_t)c->threads, sizeof(dnnl_stream_t));
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    for (int t = 0; t < c->threads && status == dnnl_success; t++)
        status = dnnl_stream_create(&d->streams[t], d->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        compute_dnnl_free(d);
        return error_set(e, "cannot start oneDNN (status %d)", (int)status);
    }
    snprintf(d->label, sizeof d->label, " + oneDNN (%s)",
             c->dtype == COMPUTE_BF16 && d->widen_bf16 ? "bf16 through f32" : instruction_set());
    *out = d;
    return 0;
}

static void product_free(struct dnnl_product *p)
{
    for (int t = 0; t < p->owner->c->threads; t++) {
        struct binding *b = &p->bindings[t];
        dnnl_memory_destroy(b->a);
        dnnl_memory_destroy(b->b);
        dnnl_memory_destroy(b->c);
        if (b->scratch) dnnl_memory_destroy(b->scratch);
    }
    if (p->pack) dnnl_primitive_destroy(p->pack);
    dnnl_primitive_destroy(p->primitive);
    mem_free(p->bindings);
    mem_free(p);
}

void compute_dnnl_free(struct compute_dnnl *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->n_products; i++)
        product_free(d->products[i]);
    for (int t = 0; t < d->c->threads; t++)
        if (d->streams[t]) dnnl_stream_destroy(d->streams[t]);
    if (d->engine) dnnl_engine_destroy(d->engine);
    mem_free(d->products);
    mem_free(d->streams);
    mem_free(d);
}

const char *compute_dnnl_label(const struct compute_dnnl *d)
{
    return d->label;
}

/* ------------------------------------------------------------------ making a product */

static dnnl_data_type_t data_type(enum compute_dtype t)
{
    return t == COMPUTE_F32 ? dnnl_f32 : dnnl_bf16;
}

static dnnl_memory_desc_t strided(int64_t rows, int64_t columns, int64_t row_stride,
                                  int64_t column_stride, enum compute_dtype t)
{
    dnnl_memory_desc_t md;
    const dnnl_dims_t dims = {rows, columns}, strides = {row_stride, column_stride};
    DNNL(dnnl_memory_desc_init_by_strides(&md, 2, dims, data_type(t), strides));
    return md;
}

static dnnl_primitive_attr_t product_attributes(const struct product_key *k)
{
    dnnl_primitive_attr_t attr;
    DNNL(dnnl_primitive_attr_create(&attr));
    DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (k->alpha != 1.0f) DNNL(dnnl_primitive_attr_set_output_scales(attr, 1, 0, &k->alpha));
    if (k->beta != 0.0f) {
        dnnl_post_ops_t ops;
        DNNL(dnnl_post_ops_create(&ops));
        DNNL(dnnl_post_ops_append_sum(ops, k->beta));
        DNNL(dnnl_primitive_attr_set_post_ops(attr, ops));
        DNNL(dnnl_post_ops_destroy(ops));
    }
    return attr;
}

/* The layout of B that other products with this B already use, or NULL. */
static const dnnl_memory_desc_t *known_packing(const struct compute_dnnl *d,
                                               const struct product_key *k)
{
    for (size_t i = 0; i < d->n_products; i++) {
        const struct product_key *o = &d->products[i]->key;
        if (o->b_packed && o->N == k->N && o->K == k->K && o->in == k->in && o->b_row == k->b_row &&
            o->b_col == k->b_col)
            return &d->products[i]->b;
    }
    return NULL;
}

static void product_describe(struct dnnl_product *p)
{
    const struct product_key *k = &p->key;
    enum compute_dtype in = p->widen ? COMPUTE_F32 : k->in;
    enum compute_dtype out = p->widen ? COMPUTE_F32 : k->out;
    bool dense_c = p->widen && k->out == COMPUTE_BF16;
    p->a =
        p->widen ? strided(k->M, k->K, k->K, 1, in) : strided(k->M, k->K, k->a_row, k->a_col, in);
    p->c = strided(k->M, k->N, dense_c ? k->N : k->ldc, 1, out);
    p->b_plain =
        p->widen ? strided(k->K, k->N, k->N, 1, in) : strided(k->K, k->N, k->b_row, k->b_col, in);
    p->b = p->b_plain;
    if (!k->b_packed) return;
    const dnnl_memory_desc_t *known = known_packing(p->owner, k);
    if (known) {
        p->b = *known;
        return;
    }
    const dnnl_dims_t dims = {k->K, k->N};
    DNNL(dnnl_memory_desc_init_by_tag(&p->b, 2, dims, data_type(in), dnnl_format_tag_any));
}

static void product_create(struct dnnl_product *p)
{
    dnnl_engine_t engine = p->owner->engine;
    dnnl_matmul_desc_t desc;
    DNNL(dnnl_matmul_desc_init(&desc, &p->a, &p->b, NULL, &p->c));
    dnnl_primitive_attr_t attr = product_attributes(&p->key);
    dnnl_primitive_desc_t pd;
    DNNL(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL));
    p->b = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    p->scratch = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    log_debug("product %lld x %lld x %lld: %s", (long long)p->key.M, (long long)p->key.N,
              (long long)p->key.K, name);
    DNNL(dnnl_primitive_create(&p->primitive, pd));
    DNNL(dnnl_primitive_desc_destroy(pd));
    DNNL(dnnl_primitive_attr_destroy(attr));
    if (!p->key.b_packed) return;
    DNNL(dnnl_reorder_primitive_desc_create(&pd, &p->b_plain, engine, &p->b, engine, NULL));
    DNNL(dnnl_primitive_create(&p->pack, pd));
    DNNL(dnnl_primitive_desc_destroy(pd));
}

static void product_bind(struct dnnl_product *p)
{
    struct compute_dnnl *d = p->owner;
    p->bindings = mem_calloc((size_t)d->c->threads, sizeof *p->bindings);
    for (int t = 0; t < d->c->threads; t++) {
        struct binding *b = &p->bindings[t];
        DNNL(dnnl_memory_create(&b->a, &p->a, d->engine, DNNL_MEMORY_NONE));
        DNNL(dnnl_memory_create(&b->b, &p->b, d->engine, DNNL_MEMORY_NONE));
        DNNL(dnnl_memory_create(&b->c, &p->c, d->engine, DNNL_MEMORY_NONE));
        if (dnnl_memory_desc_get_size(&p->scratch) > 0)
            DNNL(dnnl_memory_create(&b->scratch, &p->scratch, d->engine, DNNL_MEMORY_NONE));
    }
}

static bool key_equal(const struct product_key *x, const struct product_key *y)
{
    return x->M == y->M && x->N == y->N && x->K == y->K && x->a_row == y->a_row &&
           x->a_col == y->a_col && x->b_row == y->b_row && x->b_col == y->b_col &&
           x->ldc == y->ldc && x->in == y->in && x->out == y->out && x->alpha == y->alpha &&
           x->beta == y->beta && x->b_packed == y->b_packed;
}

struct dnnl_product *compute_dnnl_product(compute_t *c, const struct product_key *key)
{
    struct compute_dnnl *d = c->dnnl;
    for (size_t i = 0; i < d->n_products; i++)
        if (key_equal(&d->products[i]->key, key)) return d->products[i];
    CHECK_MSG(d->n_products < MAX_PRODUCTS, "more than %d shapes of products", MAX_PRODUCTS);
    if (d->n_products == d->cap_products) {
        d->cap_products = MAX(64, 2 * d->cap_products);
        d->products = mem_realloc(d->products, d->cap_products * sizeof(*d->products));
    }
    struct dnnl_product *p = mem_calloc(1, sizeof *p);
    p->key = *key;
    p->owner = d;
    p->widen = key->in == COMPUTE_BF16 && d->widen_bf16;
    CHECK(!p->widen || key->out == COMPUTE_F32 || key->beta == 0.0f);
    product_describe(p);
    product_create(p);
    product_bind(p);
    d->products[d->n_products++] = p;
    return p;
}

/* ------------------------------------------------------------------ working memory */

/* The parts of a product's scratch, one behind the other, each 64-byte aligned. */
struct layout {
    size_t pad, a, b, c, end;
};

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static struct layout scratch_layout(const struct dnnl_product *p)
{
    const struct product_key *k = &p->key;
    struct layout s = {.a = aligned(dnnl_memory_desc_get_size(&p->scratch))};
    s.b = s.c = s.end = s.a;
    if (!p->widen) return s;
    s.b = s.a + aligned((size_t)(k->M * k->K) * sizeof(float));
    s.c = s.b + aligned((size_t)(k->K * k->N) * sizeof(float));
    s.end = s.c + (k->out == COMPUTE_BF16 ? aligned((size_t)(k->M * k->N) * sizeof(float)) : 0);
    return s;
}

size_t compute_dnnl_scratch(const struct dnnl_product *p)
{
    return scratch_layout(p).end;
}

/* The plain array as dense floats [rows, columns]. */
static void widen(const bf16_t *x, int64_t rows, int64_t columns, int64_t row_stride,
                  int64_t column_stride, float *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < columns; i++)
            y[r * columns + i] = bf16_load(x[r * row_stride + i * column_stride]);
}

/* ------------------------------------------------------------------ packing and running */

size_t compute_dnnl_packed_bytes(const struct dnnl_product *p)
{
    return dnnl_memory_desc_get_size(&p->b);
}

/* oneDNN's interface takes void * for what it only reads. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

void compute_dnnl_pack(struct dnnl_product *p, int thread, const void *plain, void *packed,
                       void *scratch)
{
    const struct product_key *k = &p->key;
    if (p->widen) {
        float *b = (float *)((char *)scratch + scratch_layout(p).b);
        widen(plain, k->K, k->N, k->b_row, k->b_col, b);
        plain = b;
    }
    dnnl_engine_t engine = p->owner->engine;
    dnnl_memory_t from, to;
    DNNL(dnnl_memory_create(&from, &p->b_plain, engine, unconst(plain)));
    DNNL(dnnl_memory_create(&to, &p->b, engine, packed));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    DNNL(dnnl_primitive_execute(p->pack, p->owner->streams[thread], 2, args));
    DNNL(dnnl_memory_destroy(from));
    DNNL(dnnl_memory_destroy(to));
}

void compute_dnnl_run(struct dnnl_product *p, int thread, const void *A, const void *B, void *C,
                      void *scratch)
{
    const struct product_key *k = &p->key;
    struct binding *b = &p->bindings[thread];
    struct layout s = scratch_layout(p);
    float *wide_c = NULL;
    if (p->widen) {
        float *a = (float *)((char *)scratch + s.a), *bw = (float *)((char *)scratch + s.b);
        widen(A, k->M, k->K, k->a_row, k->a_col, a);
        A = a;
        if (!k->b_packed) {
            widen(B, k->K, k->N, k->b_row, k->b_col, bw);
            B = bw;
        }
        if (k->out == COMPUTE_BF16) wide_c = (float *)((char *)scratch + s.c);
    }
    DNNL(dnnl_memory_set_data_handle(b->a, unconst(A)));
    DNNL(dnnl_memory_set_data_handle(b->b, unconst(B)));
    DNNL(dnnl_memory_set_data_handle(b->c, wide_c ? wide_c : C));
    dnnl_exec_arg_t args[MAX_ARGS] = {
        {DNNL_ARG_SRC, b->a}, {DNNL_ARG_WEIGHTS, b->b}, {DNNL_ARG_DST, b->c}};
    int n = 3;
    if (b->scratch) {
        DNNL(dnnl_memory_set_data_handle(b->scratch, scratch));
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, b->scratch};
    }
    DNNL(dnnl_primitive_execute(p->primitive, p->owner->streams[thread], n, args));
    if (wide_c)
        for (int64_t r = 0; r < k->M; r++)
            for (int64_t i = 0; i < k->N; i++)
                ((bf16_t *)C)[r * k->ldc + i] = bf16_store(wide_c[r * k->N + i]);
}
