/* compute_cpu_dnnl.c: matrix products by oneDNN (version 2 C interface), each on one thread.
 *
 * oneDNN's own threads would split a product by their number and so change the order of sums;
 * here the pool cuts work into tiles and every tile is one primitive run on one thread. (The pool
 * keeps OpenMP at one thread per caller.) Primitives use scratch that the caller provides: the
 * library's own belongs to the thread that created a primitive. The memory objects a primitive
 * needs are made once per thread and re-pointed on every run, so a run allocates nothing.
 *
 * The library's fast kernels (brgemm) take dense arrays only; with a leading dimension larger than
 * the row it falls back to one that is 2 to 5 times slower, or, where the weights are packed, to
 * plain loops. So a strided operand is staged: copied to a dense array in scratch, which for the
 * tiles used here stays in the L2 cache.
 *
 * A processor without bfloat16 instructions gets bfloat16 products through float: staging also
 * widens. Correct everywhere, fast where the processor helps. */
#include <dnnl.h>

#include <stdio.h>
#include <string.h>

#include "compute/cpu/compute_cpu_dnnl_internal.h"
#include "compute/reference/compute_reference_internal.h"

enum { MAX_ARGS = 4, MAX_PRODUCTS = 4096 };

/* One thread's memory objects of one product. */
struct binding {
    dnnl_memory_t a, b, c, scratch;
    bool ran;
};

/* An operand as the caller has it: `lines` runs of `width` elements, `ld` apart. */
struct operand {
    int64_t lines, width, ld;
    enum compute_dtype dtype;
    bool staged;   /* copied to a dense array in scratch first */
    size_t offset; /* of that array in scratch */
};

struct dnnl_product {
    struct product_key key;
    struct compute_dnnl *owner;
    bool widen; /* key.in is bfloat16 but the primitive is fp32 */
    struct operand a, b, c;
    size_t scratch_bytes; /* the library's and the staged operands */
    dnnl_primitive_t primitive, pack;
    dnnl_memory_desc_t md_a, md_b, md_c, md_scratch, md_plain; /* plain: B before packing */
    struct binding *bindings;                                  /* [threads] */
};

struct compute_dnnl {
    compute_t *c;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* [threads] */
    struct dnnl_product **products;
    size_t n_products, cap_products;
    bool widen_bf16;
    void (*widen_line)(size_t n, const void *x, float *y); /* bfloat16 to float and back */
    void (*round_line)(size_t n, const float *x, void *y);
    char label[48];
};

/* What oneDNN is asked for is decided by shapes the program made: a refusal is a bug or a lack of
 * memory, and there is nothing to do about it in the middle of a step. */
#define DNNL(call)                                         \
    do {                                                   \
        dnnl_status_t status_ = (call);                    \
        if (status_ != dnnl_success) dnnl_failed(status_); \
    } while (0)

/* Below AVX-512 the library writes the code of its kernels when the first product of a kind runs, and
 * calls NULL where it found no room for it: who creates or runs something for the first time asks
 * mem_is_short() before. A kernel that had no room for its code is reported as one that is not implemented. */
static void dnnl_failed(dnnl_status_t status)
{
    if (status == dnnl_out_of_memory || mem_is_short()) mem_exhausted(0);
    CHECK_MSG(false, "oneDNN status %d", (int)status);
}

/* ------------------------------------------------------------------ engine */

/* What the library will use for products of this format. */
static const char *instruction_set(enum compute_dtype dtype)
{
    bool bf16 = dtype == COMPUTE_BF16;
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_amx: return bf16 ? "amx-bf16" : "avx512";
    case dnnl_cpu_isa_avx512_core_bf16: return bf16 ? "avx512-bf16" : "avx512";
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core: return "avx512";
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx2: return "avx2";
    default: return "generic";
    }
}

/* Not the processor's, but the library's, which ONEDNN_MAX_CPU_ISA may hold back: below AVX-512 it has
 * no product of bfloat16. */
static bool library_has_bf16(void)
{
    const char *set = instruction_set(COMPUTE_BF16);
    return strcmp(set, "avx2") != 0 && strcmp(set, "generic") != 0;
}

int compute_dnnl_new(compute_t *c, struct compute_dnnl **out, struct error *e)
{
    struct compute_dnnl *d = mem_calloc(1, sizeof *d);
    d->c = c;
    /* The AVX2 kernels stand for processors without bfloat16 instructions, here too. */
    d->widen_bf16 = c->backend == COMPUTE_AVX2 || !compute_has_fast_bf16() || !library_has_bf16();
    const struct compute_kernels *bf16 = compute_kernels_reference(COMPUTE_BF16);
    d->widen_line = c->dtype == COMPUTE_BF16 ? c->kernels.from_act : bf16->from_act;
    d->round_line = c->dtype == COMPUTE_BF16 ? c->kernels.to_act : bf16->to_act;
    d->streams = mem_calloc((size_t)c->threads, sizeof(dnnl_stream_t));
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    for (int t = 0; t < c->threads && status == dnnl_success; t++)
        status = dnnl_stream_create(&d->streams[t], d->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        compute_dnnl_free(d);
        return error_set(e, "cannot start oneDNN (status %d)", (int)status);
    }
    snprintf(d->label, sizeof d->label, " + oneDNN (%s)",
             c->dtype == COMPUTE_BF16 && d->widen_bf16 ? "bf16 through f32"
                                                       : instruction_set(c->dtype));
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

/* A matrix [rows, columns] with one stride of 1, as runs of contiguous elements. */
static struct operand operand_of(int64_t rows, int64_t columns, int64_t row_stride,
                                 int64_t column_stride, enum compute_dtype t)
{
    CHECK(row_stride == 1 || column_stride == 1);
    if (column_stride == 1) return (struct operand){rows, columns, row_stride, t, false, 0};
    return (struct operand){columns, rows, column_stride, t, false, 0};
}

static bool is_dense(const struct operand *o)
{
    return o->lines == 1 || o->ld == o->width;
}

/* The descriptor of the dense matrix [rows, columns] in the same orientation as the operand. */
static dnnl_memory_desc_t dense_desc(int64_t rows, int64_t columns, bool transposed,
                                     enum compute_dtype t)
{
    dnnl_memory_desc_t md;
    const dnnl_dims_t dims = {rows, columns};
    const dnnl_dims_t strides = {transposed ? 1 : columns, transposed ? rows : 1};
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
            return &d->products[i]->md_b;
    }
    return NULL;
}

static void product_describe(struct dnnl_product *p)
{
    const struct product_key *k = &p->key;
    enum compute_dtype in = p->widen ? COMPUTE_F32 : k->in;
    enum compute_dtype out = p->widen ? COMPUTE_F32 : k->out;
    p->a = operand_of(k->M, k->K, k->a_row, k->a_col, k->in);
    p->b = operand_of(k->K, k->N, k->b_row, k->b_col, k->in);
    p->c = operand_of(k->M, k->N, k->ldc, 1, k->out);
    p->a.staged = p->widen || !is_dense(&p->a);
    p->b.staged = p->widen || !is_dense(&p->b);
    p->c.staged = out != k->out || !is_dense(&p->c);
    p->md_a = dense_desc(k->M, k->K, k->a_col != 1, in);
    p->md_c = dense_desc(k->M, k->N, false, out);
    p->md_plain = dense_desc(k->K, k->N, k->b_col != 1, in);
    p->md_b = p->md_plain;
    if (!k->b_packed) return;
    const dnnl_memory_desc_t *known = known_packing(p->owner, k);
    if (known) {
        p->md_b = *known;
        return;
    }
    const dnnl_dims_t dims = {k->K, k->N};
    DNNL(dnnl_memory_desc_init_by_tag(&p->md_b, 2, dims, data_type(in), dnnl_format_tag_any));
}

/* Places the staged operands behind the library's scratch, each 64-byte aligned. */
static void product_lay_out(struct dnnl_product *p)
{
    size_t at = (size_t)round_up((int64_t)dnnl_memory_desc_get_size(&p->md_scratch), 64);
    struct operand *all[] = {&p->a, &p->b, &p->c};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct operand *o = all[i];
        o->offset = at;
        size_t size = p->widen ? sizeof(float) : compute_dtype_size(o->dtype);
        if (o->staged) at += (size_t)round_up(o->lines * o->width * (int64_t)size, 64);
    }
    p->scratch_bytes = at;
}

/* The packed layout is the library's choice, made with the primitive; what the caller sees of it is
 * its size. */
static void product_create(struct dnnl_product *p)
{
    dnnl_engine_t engine = p->owner->engine;
    dnnl_matmul_desc_t desc;
    DNNL(dnnl_matmul_desc_init(&desc, &p->md_a, &p->md_b, NULL, &p->md_c));
    dnnl_primitive_attr_t attr = product_attributes(&p->key);
    dnnl_primitive_desc_t pd;
    if (mem_is_short()) mem_exhausted(0); /* oneDNN reads NULL where its code finds no room */
    DNNL(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL));
    p->md_b = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    p->md_scratch = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    log_debug("product %lld x %lld x %lld: %s", (long long)p->key.M, (long long)p->key.N,
              (long long)p->key.K, name);
    DNNL(dnnl_primitive_create(&p->primitive, pd));
    DNNL(dnnl_primitive_desc_destroy(pd));
    DNNL(dnnl_primitive_attr_destroy(attr));
    if (!p->key.b_packed) return;
    DNNL(dnnl_reorder_primitive_desc_create(&pd, &p->md_plain, engine, &p->md_b, engine, NULL));
    DNNL(dnnl_primitive_create(&p->pack, pd));
    DNNL(dnnl_primitive_desc_destroy(pd));
}

static void product_bind(struct dnnl_product *p)
{
    struct compute_dnnl *d = p->owner;
    p->bindings = mem_calloc((size_t)d->c->threads, sizeof *p->bindings);
    for (int t = 0; t < d->c->threads; t++) {
        struct binding *b = &p->bindings[t];
        DNNL(dnnl_memory_create(&b->a, &p->md_a, d->engine, DNNL_MEMORY_NONE));
        DNNL(dnnl_memory_create(&b->b, &p->md_b, d->engine, DNNL_MEMORY_NONE));
        DNNL(dnnl_memory_create(&b->c, &p->md_c, d->engine, DNNL_MEMORY_NONE));
        if (dnnl_memory_desc_get_size(&p->md_scratch) > 0)
            DNNL(dnnl_memory_create(&b->scratch, &p->md_scratch, d->engine, DNNL_MEMORY_NONE));
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
    product_lay_out(p);
    product_bind(p);
    d->products[d->n_products++] = p;
    return p;
}

/* ------------------------------------------------------------------ staging */

size_t compute_dnnl_scratch(const struct dnnl_product *p)
{
    return p->scratch_bytes;
}

/* Copies the operand's lines to the dense array, widening where the primitive is fp32. */
static const void *stage_in(const struct dnnl_product *p, const struct operand *o, const void *from,
                            char *scratch)
{
    if (!o->staged) return from;
    char *to = scratch + o->offset;
    size_t size = compute_dtype_size(o->dtype);
    bool convert = p->widen && o->dtype == COMPUTE_BF16;
    for (int64_t i = 0; i < o->lines; i++) {
        const char *line = (const char *)from + (size_t)(i * o->ld) * size;
        if (convert)
            p->owner->widen_line((size_t)o->width, line, (float *)to + i * o->width);
        else
            memcpy(to + (size_t)(i * o->width) * size, line, (size_t)o->width * size);
    }
    return to;
}

/* The way back: from dense scratch to the strided result, rounding where the primitive is fp32. */
static void stage_out(const struct dnnl_product *p, void *to, const char *scratch)
{
    const struct operand *o = &p->c;
    size_t size = compute_dtype_size(o->dtype);
    bool convert = p->widen && o->dtype == COMPUTE_BF16;
    const char *from = scratch + o->offset;
    for (int64_t i = 0; i < o->lines; i++) {
        char *line = (char *)to + (size_t)(i * o->ld) * size;
        if (convert)
            p->owner->round_line((size_t)o->width, (const float *)from + i * o->width, line);
        else
            memcpy(line, from + (size_t)(i * o->width) * size, (size_t)o->width * size);
    }
}

/* ------------------------------------------------------------------ packing and running */

size_t compute_dnnl_packed_bytes(const struct dnnl_product *p)
{
    return dnnl_memory_desc_get_size(&p->md_b);
}

/* oneDNN's interface takes void * for what it only reads. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

void compute_dnnl_pack(struct dnnl_product *p, int thread, const void *plain, void *packed,
                       void *scratch)
{
    plain = stage_in(p, &p->b, plain, scratch);
    dnnl_engine_t engine = p->owner->engine;
    dnnl_memory_t from, to;
    DNNL(dnnl_memory_create(&from, &p->md_plain, engine, unconst(plain)));
    DNNL(dnnl_memory_create(&to, &p->md_b, engine, packed));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    DNNL(dnnl_primitive_execute(p->pack, p->owner->streams[thread], 2, args));
    DNNL(dnnl_memory_destroy(from));
    DNNL(dnnl_memory_destroy(to));
}

void compute_dnnl_run(struct dnnl_product *p, int thread, const void *A, const void *B, void *C,
                      void *scratch)
{
    struct binding *b = &p->bindings[thread];
    if (!b->ran && mem_is_short()) mem_exhausted(0);
    b->ran = true;
    signal_stack();
    A = stage_in(p, &p->a, A, scratch);
    if (!p->key.b_packed) B = stage_in(p, &p->b, B, scratch);
    char *c = C;
    if (p->c.staged) {
        c = (char *)scratch + p->c.offset;
        if (p->key.beta != 0.0f) stage_in(p, &p->c, C, scratch);
    }
    DNNL(dnnl_memory_set_data_handle(b->a, unconst(A)));
    DNNL(dnnl_memory_set_data_handle(b->b, unconst(B)));
    DNNL(dnnl_memory_set_data_handle(b->c, c));
    dnnl_exec_arg_t args[MAX_ARGS] = {
        {DNNL_ARG_SRC, b->a}, {DNNL_ARG_WEIGHTS, b->b}, {DNNL_ARG_DST, b->c}};
    int n = 3;
    if (b->scratch) {
        DNNL(dnnl_memory_set_data_handle(b->scratch, scratch));
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, b->scratch};
    }
    DNNL(dnnl_primitive_execute(p->primitive, p->owner->streams[thread], n, args));
    if (p->c.staged) stage_out(p, C, scratch);
}
