/* cuda_check_attention.c: the kernels of compute_cuda_attention.cu and compute_cuda_flash.cu beside the
 * reference. On bfloat16 the fast kernels round weights to bfloat16 before they multiply values, as
 * every backend with tensor cores does: 2^-8 of the largest result is allowed. */
#include <math.h>

#include "cuda_check.h"

#define ON_DEVICE(x, bytes) ((__typeof__(x))device_copy(x, bytes))
#define FLOATS(n)           ((size_t)(n) * sizeof(float))

struct shape {
    int64_t B, T, H, K, h, pad; /* pad: numbers behind each row of q, k, v */
    int64_t temperature_len;
    float cap;
    bool documents;
};
static const struct shape shapes[] = {
    {1, 1, 1, 1, 1, 0, 0, 0, false},      {2, 5, 4, 2, 18, 1, 3, 30, false},
    {1, 70, 2, 1, 32, 8, 0, 30, true},    {1, 130, 2, 2, 40, 0, 64, 5, true},
    {1, 66, 3, 1, 128, 0, 0, 30, false},  {1, 65, 1, 1, 100, 3, 0, 0, true},
    {1, 40, 1, 1, 200, 0, 20, 30, false},
};

struct attention_case {
    struct compute_attention host, on;
    void *qkv, *qkv_on; /* one row: q, k, v, padding */
    size_t row, out;    /* numbers of all rows; of out */
    float bound;
};

static struct attention_case attention_case(const struct shape *s)
{
    struct attention_case c = {.bound = cuda.dtype == COMPUTE_F32 ? 1e-5f : 0x1p-8f};
    int64_t rows = s->B * s->T, ld = (s->H + 2 * s->K) * s->h + s->pad;
    begin_case("%lld queries, %lld of %lld heads of %lld, cap %g", (long long)s->T, (long long)s->K,
               (long long)s->H, (long long)s->h, (double)s->cap);
    c.row = (size_t)(rows * ld);
    c.out = (size_t)(rows * s->H * s->h);
    c.qkv = host_act(c.row, 1.5f);
    c.qkv_on = device_copy(c.qkv, act_bytes(c.row));
    int32_t *first = host_zeros(FLOATS(rows));
    for (int64_t r = 0; r < rows; r++) { /* documents of 37 positions; at last one without order */
        int64_t t = r % s->T;
        first[r] = (int32_t)(t / 37 * 37);
        if (t == s->T - 1) first[r] = (int32_t)(t / 2);
    }
    size_t k_at = act_bytes((size_t)(s->H * s->h)), v_at = k_at + act_bytes((size_t)(s->K * s->h));
    c.host = (struct compute_attention){
        .B = s->B,
        .T = s->T,
        .H = s->H,
        .K = s->K,
        .h = s->h,
        .ld = ld,
        .q = c.qkv,
        .k = (char *)c.qkv + k_at,
        .v = (char *)c.qkv + v_at,
        .ld_out = s->H * s->h,
        .out = host_zeros(act_bytes(c.out)),
        .lse = host_zeros(FLOATS(rows * s->H)),
        .multiplier = 2 / sqrtf((float)s->h),
        .cap = s->cap,
        .temperature_len = s->temperature_len,
        .doc_start = s->documents ? first : NULL,
    };
    c.on = c.host;
    c.on.q = c.qkv_on;
    c.on.k = (char *)c.qkv_on + k_at;
    c.on.v = (char *)c.qkv_on + v_at;
    c.on.out = device_new(act_bytes(c.out));
    c.on.lse = device_new(FLOATS(rows * s->H));
    c.on.doc_start = s->documents ? ON_DEVICE(c.host.doc_start, FLOATS(rows)) : NULL;
    return c;
}

static void reference_forward(const struct compute_attention *a)
{
    void *scratch = host_zeros(reference->attention_scratch(a->T, a->h));
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t head = 0; head < a->H; head++)
            reference->attention_forward(a, b, head, 0, a->T, scratch);
}

static void check_attention(void)
{
    FOR_FORMATS
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct attention_case c = attention_case(&shapes[i]);
        reference_forward(&c.host);
        compute_cuda_attention_forward(&cuda, &c.on);
        want_act("out", c.on.out, c.host.out, c.out, c.bound);
        want_f32("lse", c.on.lse, c.host.lse, (size_t)(c.host.B * c.host.H * c.host.T),
                 c.bound / 4);
    }
}

static void check_attention_backward(void)
{
    FOR_FORMATS
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        const struct shape *s = &shapes[i];
        struct attention_case c = attention_case(s);
        size_t rows = (size_t)(s->B * s->T), k_at = act_bytes((size_t)(s->H * s->h));
        size_t v_at = k_at + act_bytes((size_t)(s->K * s->h));
        char *d = host_zeros(act_bytes(c.row)), *d_on = device_copy(d, act_bytes(c.row));
        struct compute_attention_grad host = {host_act(c.out, 1), d, d + k_at, d + v_at};
        struct compute_attention_grad on = {device_copy(host.dout, act_bytes(c.out)), d_on,
                                            d_on + k_at, d_on + v_at};
        void *scratch = host_zeros(reference->attention_scratch(s->T, s->h));
        reference_forward(&c.host);
        for (int64_t b = 0; b < s->B; b++)
            for (int64_t kv = 0; kv < s->K; kv++)
                reference->attention_backward(&c.host, &host, b, kv, scratch);
        emu_upload(c.on.out, c.host.out, act_bytes(c.out));
        emu_upload(c.on.lse, c.host.lse, FLOATS(rows * (size_t)s->H));
        compute_cuda_attention_backward(&cuda, &c.on, &on);
        want_act("gradients", d_on, d, c.row, 2 * c.bound);
    }
}

/* Two sequences in pages that lie in disorder: one of 75 positions in runs of up to 32, one of 3. */
static void paged(int64_t h, int64_t window, float cap)
{
    enum { PAGES = 5 };
    int64_t H = 4, K = 2, rows = 78, ld = (H + 2 * K) * h + 1, ld_out = H * h;
    begin_case("pages, heads of %lld, window %lld", (long long)h, (long long)window);
    size_t at = act_bytes(16), part = act_bytes((size_t)(2 * K * h * COMPUTE_PAGE));
    size_t n = (size_t)(rows * ld), out = (size_t)(rows * ld_out);
    void *qkv = host_act(n, 1), *qkv_on = device_copy(qkv, act_bytes(n));
    void **pages = host_zeros(PAGES * sizeof *pages), **on = host_zeros(PAGES * sizeof *on);
    for (int i = PAGES - 1; i >= 0; i--) {
        pages[i] = host_zeros(at + part);
        on[i] = device_new(at + part);
    }
    void **on_device = ON_DEVICE(on, PAGES * sizeof *on);
    struct compute_paged_run runs[] = {{0, 32, 0, pages},
                                       {32, 11, 32, pages},
                                       {43, 1, 43, pages},
                                       {44, 31, 44, pages},
                                       {75, 3, 0, pages + 3}};
    struct compute_paged_run runs_on[ARRAY_LEN(runs)];
    memcpy(runs_on, runs, sizeof runs);
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        runs_on[i].pages = on_device + (runs[i].pages - (void *const *)pages);
    struct compute_paged p = {.H = H,
                              .K = K,
                              .h = h,
                              .ld = ld,
                              .ld_out = ld_out,
                              .runs = runs,
                              .n_runs = ARRAY_LEN(runs),
                              .at = at,
                              .q = qkv,
                              .k = (char *)qkv + act_bytes((size_t)(H * h)),
                              .v = (char *)qkv + act_bytes((size_t)((H + K) * h)),
                              .out = host_zeros(act_bytes(out)),
                              .multiplier = 0.4f,
                              .cap = cap,
                              .temperature_len = 20,
                              .window = window},
                         p_on = p;
    p_on.runs = ON_DEVICE(&runs_on[0], sizeof runs_on);
    p_on.q = qkv_on;
    p_on.k = (char *)qkv_on + act_bytes((size_t)(H * h));
    p_on.v = (char *)qkv_on + act_bytes((size_t)((H + K) * h));
    p_on.out = device_new(act_bytes(out));
    compute_t *c;
    if (compute_new(&(struct compute_options){.dtype = cuda.dtype, .backend = COMPUTE_REFERENCE},
                    &c, NULL) < 0)
        abort();
    compute_paged_store(c, &p);
    compute_paged_attention(c, &p);
    compute_free(c);
    compute_cuda_paged_store(&cuda, &p_on);
    compute_cuda_paged_attention(&cuda, &p_on);
    want_act("out", p_on.out, p.out, out, 1e-5f);
}

static void check_paged(void)
{
    FOR_FORMATS
    {
        paged(16, 0, 30);
        paged(9, 40, 0);
    }
}

const struct check attention_checks[] = {{"attention", check_attention},
                                         {"attention_backward", check_attention_backward},
                                         {"paged", check_paged},
                                         {0}};
