/* bench_kernels.c: the speed of every kernel of every table this CPU can run, on one thread, beside
 * the reference table and the roofs of the machine (memcpy, multiply-adds, AMX products) measured
 * in the same run.
 *
 *   build/gcc/bench/bench_kernels [PART-OF-A-NAME ...]
 *
 * Shapes are those of a training step on 4,096 tokens (width 768, hidden 2,048, 8 experts,
 * vocabulary 50,304; attention of one head of 64 over 1,024 tokens). Tables take turns in short
 * rounds and the best round of each counts, as for the roofs: what else runs on the machine only
 * ever slows a round down. The reference runs on fewer rows. Bytes are what must move at least: inputs once, outputs once
 * (twice where they are added to). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/reference/compute_reference_internal.h"
#include "compute/x86/compute_x86_internal.h"

enum {
    ROWS = 4096,
    WIDTH = 768,
    HIDDEN = 2048,
    EXPERTS = 8,
    USED = 2,
    VOCAB = 50304,
    LOSS_ROWS = 64,
    TIME = 1024,
    HEAD = 64,
    SLOTS = 8, /* arrays */
    ROUNDS = 15,
    REFERENCE_SHARE = 16 /* the reference runs on this part of the rows */
};
#define ARRAY_FLOATS ((size_t)ROWS * HIDDEN * 2)
#define ROUND_S      0.02 /* of all tables together, at least */

/* Random arrays: f[i] floats of deviation 1; act[dtype][i] the same numbers as activations. */
static float *f[SLOTS];
static void *act[2][SLOTS];
static int32_t *rows_index;
static uint32_t *ids;
static float *rope_table;
static void *attention_memory;

struct run {
    const struct compute_kernels *k;
    enum compute_dtype dtype;
    int64_t rows;
};

struct kernel_case {
    const char *name;
    void (*run)(const struct run *r);
    int64_t rows;
    double bytes_f32, bytes_act; /* per row: fixed, and per byte of an activation */
    double flops;                /* per row; where not 0, speed is given in FLOP/s */
};

#define F(i) (f[i])
#define A(i) (act[r->dtype][i])

static struct compute_seam seam_of(const struct run *r)
{
    return (struct compute_seam){.M = r->rows,
                                 .D = WIDTH,
                                 .eps = 1e-5f,
                                 .h = F(0),
                                 .y = A(1),
                                 .g_post = F(2),
                                 .g_next = F(3),
                                 .h_out = F(4),
                                 .a = A(5),
                                 .rstd_post = F(6),
                                 .rstd_next = F(6) + ROWS};
}

static struct compute_router router_of(const struct run *r)
{
    return (struct compute_router){.M = r->rows,
                                   .D = WIDTH,
                                   .E = EXPERTS,
                                   .k = USED,
                                   .x = A(0),
                                   .W = F(1),
                                   .probs = F(2),
                                   .lse = F(3),
                                   .top = rows_index,
                                   .weight = F(4)};
}

static struct compute_attention attention_of(const struct run *r)
{
    return (struct compute_attention){.B = 1,
                                      .T = TIME,
                                      .H = 1,
                                      .K = 1,
                                      .h = HEAD,
                                      .ld = 3 * HEAD,
                                      .q = A(0),
                                      .k = A(1),
                                      .v = A(2),
                                      .ld_out = HEAD,
                                      .out = A(3),
                                      .lse = F(4),
                                      .multiplier = 0.125f,
                                      .cap = 30.0f};
}

static void run_to_act(const struct run *r)
{
    r->k->to_act((size_t)(r->rows * WIDTH), F(0), A(1));
}
static void run_from_act(const struct run *r)
{
    r->k->from_act((size_t)(r->rows * WIDTH), A(0), F(1));
}
static void run_rmsnorm(const struct run *r)
{
    struct compute_norm n = {r->rows, WIDTH, 1e-5f, F(0), F(1), A(2), F(3)};
    r->k->rmsnorm(&n, 0, r->rows);
}
static void run_rmsnorm_backward(const struct run *r)
{
    struct compute_norm n = {.M = r->rows, .D = WIDTH, .x = F(0), .g = F(1), .rstd = F(2)};
    struct compute_norm_grad d = {.dy = A(3), .dx = F(4)};
    r->k->rmsnorm_backward(&n, &d, 0, r->rows, F(5));
}
static void run_seam_forward(const struct run *r)
{
    struct compute_seam s = seam_of(r);
    r->k->seam_forward(&s, 0, r->rows);
}
static void run_seam_backward(const struct run *r)
{
    struct compute_seam s = seam_of(r);
    s.rstd_post = s.rstd_next = F(2);
    struct compute_seam_grad d = {.da = A(5), .dh = F(7), .dy = A(6)};
    r->k->seam_backward(&s, &d, 0, r->rows, F(6), F(6) + WIDTH);
}
static void run_rope(const struct run *r)
{
    struct compute_rope p = {r->rows, TIME,       WIDTH / HEAD, HEAD, WIDTH,
                             NULL,    rope_table, false,        A(0)};
    r->k->rope(&p, 0, r->rows);
}
static void run_glu_forward(const struct run *r)
{
    struct compute_glu g = {r->rows, HIDDEN, A(0), F(1), A(2)};
    r->k->glu_forward(&g, 0, r->rows);
}
static void run_glu_backward(const struct run *r)
{
    struct compute_glu g = {r->rows, HIDDEN, A(0), F(1), A(3)};
    struct compute_glu_grad d = {A(2), A(4), F(5)};
    r->k->glu_backward(&g, &d, 0, r->rows);
}
static void run_router_forward(const struct run *r)
{
    struct compute_router s = router_of(r);
    r->k->router_forward(&s, 0, r->rows);
}
static void run_router_backward(const struct run *r)
{
    struct compute_router s = router_of(r);
    for (int64_t i = 0; i < r->rows * USED; i++)
        rows_index[i] = (int32_t)(i % EXPERTS);
    struct compute_router_grad d = {F(5), F(6), 0.01f, 0.001f, F(7), NULL, false};
    r->k->router_backward(&s, &d, 0, r->rows, F(0));
}
static void run_combine(const struct run *r)
{
    for (int64_t i = 0; i < r->rows * USED; i++)
        rows_index[i] = (int32_t)(i * 37 % ROWS);
    struct compute_combine m = {r->rows, WIDTH, USED, rows_index, A(0), A(1), NULL, 0.7f, A(2)};
    r->k->combine(&m, 0, r->rows);
}
static void run_scale(const struct run *r)
{
    r->k->scale((size_t)(r->rows * WIDTH), 0.7f, A(0), A(1));
}
static void run_embed(const struct run *r)
{
    struct compute_embed e = {r->rows, WIDTH, ids, 2.0f};
    r->k->embed(&e, 0, r->rows, F(0), F(1));
}
static void run_embed_backward(const struct run *r)
{
    struct compute_embed e = {r->rows, WIDTH, ids, 2.0f};
    r->k->embed_backward(&e, 0, WIDTH, F(0), F(1));
}
static void run_cross_entropy(const struct run *r)
{
    struct compute_loss l = {r->rows, VOCAB, F(0), ids, 0.5f, 0.0f, 1.0f, F(1), A(2)};
    r->k->cross_entropy(&l, 0, r->rows);
}
static void run_cross_entropy_capped(const struct run *r)
{
    struct compute_loss l = {r->rows, VOCAB, F(0), ids, 0.5f, 50.0f, 1.0f, F(1), A(2)};
    r->k->cross_entropy(&l, 0, r->rows);
}
static void run_logits(const struct run *r)
{
    r->k->logits(r->rows, VOCAB, 1.0f, 50.0f, F(0));
}
static void run_sum_squares(const struct run *r)
{
    volatile double keep = r->k->sum_squares((size_t)(r->rows * WIDTH), F(0));
    (void)keep;
}
static void run_all_finite(const struct run *r)
{
    volatile bool keep = r->k->all_finite((size_t)(r->rows * WIDTH), F(0));
    (void)keep;
}
static void run_adamw(const struct run *r)
{
    struct compute_adamw o = {.lr = 1e-4f,
                              .beta1 = 0.9f,
                              .beta2 = 0.95f,
                              .eps = 1e-8f,
                              .decay = 0.1f,
                              .grad_scale = 1.0f,
                              .step = 10,
                              .p = F(0),
                              .g = F(1),
                              .m = F(2),
                              .v = F(7)};
    r->k->adamw(&o, 0.6f, 0.4f, 0, (size_t)(r->rows * WIDTH));
}
static void run_momentum(const struct run *r)
{
    size_t n = (size_t)(r->rows * WIDTH);
    struct compute_momentum o = {0.9f, 1.0f, true, n, F(0), F(1), F(2)};
    r->k->momentum(&o, 0, n);
}
static void run_axpby(const struct run *r)
{
    r->k->axpby((size_t)(r->rows * WIDTH), 0.3f, F(0), 0.7f, F(1));
}
static void run_attention_forward(const struct run *r)
{
    struct compute_attention a = attention_of(r);
    r->k->attention_forward(&a, 0, 0, 0, r->rows, attention_memory);
}
/* As compute_cpu_attention.c cuts it: the last 128 queries see all keys. */
static void run_attention_range(const struct run *r)
{
    struct compute_attention a = attention_of(r);
    r->k->attention_forward(&a, 0, 0, TIME - r->rows, TIME, attention_memory);
}
static void run_attention_decode(const struct run *r)
{
    struct compute_attention a = attention_of(r);
    r->k->attention_forward(&a, 0, 0, TIME - 1, TIME, attention_memory);
}
static void run_attention_backward(const struct run *r)
{
    struct compute_attention a = attention_of(r);
    a.T = r->rows;
    struct compute_attention_grad d = {A(5), A(6), (char *)A(6) + HEAD * 2 * 4, A(7)};
    r->k->attention_backward(&a, &d, 0, 0, attention_memory);
}

#define PAIR_FLOPS (2.0 * HEAD * TIME / 2) /* one product over the causal half, per query */

static const struct kernel_case cases[] = {
    {"to_act", run_to_act, ROWS, 4 * WIDTH, WIDTH, 0},
    {"from_act", run_from_act, ROWS, 4 * WIDTH, WIDTH, 0},
    {"scale", run_scale, ROWS, 0, 2 * WIDTH, 0},
    {"rmsnorm", run_rmsnorm, ROWS, 4 * WIDTH, WIDTH, 0},
    {"rmsnorm_backward", run_rmsnorm_backward, ROWS, 8 * WIDTH, WIDTH, 0},
    {"seam_forward", run_seam_forward, ROWS, 8 * WIDTH, 2 * WIDTH, 0},
    {"seam_backward", run_seam_backward, ROWS, 12 * WIDTH, 3 * WIDTH, 0},
    {"rope", run_rope, ROWS, 0, 2 * WIDTH, 0},
    {"glu_forward", run_glu_forward, ROWS, 0, 3 * HIDDEN, 0},
    {"glu_backward", run_glu_backward, ROWS, 0, 6 * HIDDEN, 0},
    {"router_forward", run_router_forward, ROWS, 0, WIDTH, 0},
    {"router_backward", run_router_backward, ROWS, 4 * WIDTH, WIDTH, 0},
    {"combine", run_combine, ROWS, 0, 4 * WIDTH, 0},
    {"embed", run_embed, ROWS, 8 * WIDTH, 0, 0},
    {"embed_backward", run_embed_backward, ROWS, 12 * WIDTH, 0, 0},
    {"cross_entropy", run_cross_entropy, LOSS_ROWS, 4 * VOCAB, VOCAB, 0},
    {"cross_entropy cap", run_cross_entropy_capped, LOSS_ROWS, 4 * VOCAB, VOCAB, 0},
    {"logits cap", run_logits, LOSS_ROWS, 8 * VOCAB, 0, 0},
    {"sum_squares", run_sum_squares, ROWS, 4 * WIDTH, 0, 0},
    {"all_finite", run_all_finite, ROWS, 4 * WIDTH, 0, 0},
    {"adamw", run_adamw, ROWS, 28 * WIDTH, 0, 0},
    {"momentum", run_momentum, ROWS, 16 * WIDTH, 0, 0},
    {"axpby", run_axpby, ROWS, 12 * WIDTH, 0, 0},
    {"attention forward", run_attention_forward, TIME, 0, 0, 2 * PAIR_FLOPS},
    {"attention 128 of T", run_attention_range, 128, 0, 0, 2 * PAIR_FLOPS * 2 * (1 - 64.0 / TIME)},
    {"attention decode", run_attention_decode, 1, 0, 2 * TIME *HEAD, 0},
    {"attention backward", run_attention_backward, TIME, 0, 0, 5 * PAIR_FLOPS},
};

/* ------------------------------------------------------------------ measuring */

/* Processor time of this thread: what other programs take of the core is not counted. */
static double thread_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct column {
    const struct compute_kernels *k;
    enum compute_dtype dtype;
    double seconds; /* per row, best of the rounds */
};

static int64_t rows_for(const struct kernel_case *c, const struct column *col)
{
    bool reference = col->k == compute_kernels_reference(col->dtype);
    if (!reference || c->rows == 1) return c->rows;
    if (c->run == run_attention_forward || c->run == run_attention_backward) return c->rows;
    return MAX(c->rows / REFERENCE_SHARE, 4);
}

static void measure(const struct kernel_case *c, struct column *columns, size_t n)
{
    for (int round = -1; round < ROUNDS; round++) /* round -1 warms up */
        for (size_t i = 0; i < n; i++) {
            struct run r = {columns[i].k, columns[i].dtype, rows_for(c, &columns[i])};
            double start = thread_s(), spent = 0;
            int64_t done = 0;
            do {
                c->run(&r);
                done += r.rows;
                spent = thread_s() - start;
            } while (spent < ROUND_S / (double)n);
            double per_row = spent / (double)done;
            if (round < 0 || per_row < columns[i].seconds) columns[i].seconds = per_row;
        }
}

static char *speed_text(char *text, size_t size, const struct kernel_case *c, struct column *col)
{
    double bytes = c->bytes_f32 + c->bytes_act * (double)compute_dtype_size(col->dtype);
    double speed = (c->flops > 0 ? c->flops : bytes) / col->seconds;
    snprintf(text, size, "%.4g", speed / 1e9);
    return text;
}

static size_t find_columns(struct column *columns)
{
    const struct compute_kernels *(*const get[])(enum compute_dtype) = {
        compute_kernels_reference, compute_kernels_avx2, compute_kernels_avx512};
    size_t n = 0;
    for (int t = COMPUTE_F32; t <= COMPUTE_BF16; t++) {
        for (size_t i = 0; i < ARRAY_LEN(get); i++) {
            const struct compute_kernels *k = get[i]((enum compute_dtype)t);
            if (k) columns[n++] = (struct column){.k = k, .dtype = (enum compute_dtype)t};
        }
        if (t == COMPUTE_BF16 && compute_x86_has_amx()) /* the same without AMX, to compare */
            columns[n++] = (struct column){.k = &compute_x86_bf16_avx512, .dtype = COMPUTE_BF16};
    }
    return n;
}

/* ------------------------------------------------------------------ roofs */

static double best_of(double (*work)(void))
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double start = thread_s(), amount = work();
        best = MAX(best, amount / (thread_s() - start));
    }
    return best;
}

static double copy_memory(void)
{
    memcpy(f[1], f[0], ARRAY_FLOATS * sizeof(float));
    return 2.0 * (double)ARRAY_FLOATS * sizeof(float);
}
static double copy_cached(void)
{
    enum { BYTES = 512 << 10, TIMES = 200 };
    for (int i = 0; i < TIMES; i++)
        memcpy(f[1], f[0], BYTES);
    return 2.0 * BYTES * TIMES;
}
static double multiply_avx2(void)
{
    return compute_x86_probe_avx2.multiply_add(1000000);
}
static double multiply_avx512(void)
{
    return compute_x86_probe_avx512.multiply_add(1000000);
}
static double multiply_amx(void)
{
    return compute_x86_probe_amx(200000);
}

static void print_roofs(void)
{
    printf("roofs of one thread: memcpy %.1f GB/s (%.0f MB arrays), %.1f GB/s (512 KiB)",
           best_of(copy_memory) / 1e9, (double)ARRAY_FLOATS * 4e-6, best_of(copy_cached) / 1e9);
    if (compute_kernels_avx2(COMPUTE_F32))
        printf("; multiply-add avx2 %.0f GFLOP/s", best_of(multiply_avx2) / 1e9);
    if (compute_kernels_avx512(COMPUTE_F32))
        printf(", avx512 %.0f", best_of(multiply_avx512) / 1e9);
    if (compute_x86_has_amx()) printf(", amx bf16 %.0f", best_of(multiply_amx) / 1e9);
    printf("\n");
}

static void prepare(void)
{
    for (int i = 0; i < SLOTS; i++) {
        f[i] = mem_map(ARRAY_FLOATS * sizeof(float));
        act[COMPUTE_F32][i] = f[i];
        act[COMPUTE_BF16][i] = mem_map(ARRAY_FLOATS * sizeof(bf16_t));
        CHECK(f[i] && act[COMPUTE_BF16][i]);
        for (size_t j = 0; j < ARRAY_FLOATS; j++) /* even, -1.7 .. 1.7: deviation 1 */
            f[i][j] = (float)((double)((j * 2654435761u + (size_t)i * 40503u) >> 7 & 0xffff) *
                                  (3.4 / 65536) -
                              1.7);
        for (size_t j = 0; j < ARRAY_FLOATS; j++)
            ((bf16_t *)act[COMPUTE_BF16][i])[j] = bf16_store(f[i][j]);
    }
    for (size_t j = 0; j < ARRAY_FLOATS; j++)
        f[7][j] = fabsf(f[7][j]); /* a second moment is positive */
    rows_index = mem_calloc(ROWS * USED, sizeof *rows_index);
    ids = mem_calloc(ROWS, sizeof *ids);
    for (uint32_t i = 0; i < ROWS; i++)
        ids[i] = i * 7919 % ROWS;
    rope_table = mem_alloc(compute_rope_table_floats(TIME, HEAD) * sizeof(float));
    compute_rope_table(TIME, &(struct compute_rotation){.h = HEAD, .theta = 10000}, rope_table);
    attention_memory = mem_map(64 << 20);
    CHECK(attention_memory);
}

static bool chosen(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i])) return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    struct column columns[8];
    size_t n = find_columns(columns);
    const char *heads[10] = {"kernel", ""};
    for (size_t i = 0; i < n; i++)
        heads[i + 2] = columns[i].k->name;
    char align[] = "llrrrrrrrr";
    align[n + 2] = 0;
    prepare();
    print_roofs();
    struct table *t = table_new(heads, n + 2, align);
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        char text[8][32];
        const char *cells[8] = {0};
        if (!chosen(cases[c].name, argc, argv)) continue;
        measure(&cases[c], columns, n);
        for (size_t i = 0; i < n; i++)
            cells[i] = speed_text(text[i], sizeof text[i], &cases[c], &columns[i]);
        table_row(t, cases[c].name, cases[c].flops > 0 ? "GFLOP/s" : "GB/s", cells[0], cells[1],
                  cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]);
    }
    table_print(t, stdout);
    table_free(t);
    return 0;
}
