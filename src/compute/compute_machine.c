/* compute_machine.c: how fast this machine is at each operation a training step is made of.
 *
 * A step's time is predicted by adding up its operations (plan_local.c), so they are measured as a
 * step runs them: linear layers forward, for the input and for the weight, at widths and numbers of
 * rows around those of small models, with and without groups of experts; attention at two lengths;
 * the rest per element. Everything runs for a spell of some milliseconds a round; the mean over the
 * spell counts, because a step, too, is made of the moments that a neighbour takes away, and the
 * median over the rounds, because a long disturbance is not this machine. Operands are taken in
 * turn from several arrays: what a layer leaves in the cache is gone when it comes round again in
 * a step. */
#include "compute/compute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROTATE = 3, MAX_ROUNDS = 15, D = 512, T = 256, HEADS = 8, EXPERTS = 8, TOP = 2, V = 8192 };
enum { SPELL_MS = 20, MAX_REPEATS = 32 }; /* of one operation in one round */
enum { ROWS = 4096, HEAD_ROWS = 1024, PARAMS = 1 << 22, NEWTON_R = 256, NEWTON_K = 512 };
enum { NEWTON_TASKS = 8 /* matrices a thread */ };
enum { NEWTON_FLOATS = 3 * NEWTON_R * NEWTON_R + 3 * NEWTON_R * NEWTON_K };

const char *const compute_machine_op_names[] = {"seam_forward",
                                                "seam_backward",
                                                "glu_forward",
                                                "glu_backward",
                                                "rope",
                                                "router",
                                                "gather",
                                                "combine",
                                                "loss",
                                                "adamw",
                                                "refresh",
                                                "squares",
                                                "newton_schulz",
                                                "attention_forward_256",
                                                "attention_backward_256",
                                                "attention_forward_1024",
                                                "attention_backward_1024",
                                                NULL};

struct bench {
    compute_t *c;
    enum compute_dtype dtype;
    char *act[ROTATE][3]; /* what a product takes, makes, and makes of that for its input */
    float *f[4];
    int32_t *index;
    uint32_t *ids;
    int turn;
    compute_t **one; /* a context of one thread for each, as Muon's small matrices have */
    float *newton;   /* [threads, NEWTON_FLOATS] what they work on */
    int threads;
};

static const struct compute_machine_product shapes[] = {
    {ROWS, 128, 256, 1},      {ROWS, 256, 256, 1},     {ROWS, 256, 1024, 1},
    {ROWS, 512, 512, 1},      {ROWS, 512, 2048, 1},    {ROWS, 2048, 512, 1},
    {ROWS, 768, 1536, 1},     {ROWS, 1024, 256, 1},    {HEAD_ROWS, 256, 8192, 1},
    {HEAD_ROWS, 512, 512, 1}, {2 * ROWS, 128, 512, 8}, {2 * ROWS, 256, 1024, 8},
    {2 * ROWS, 512, 256, 8},  {ROWS, 512, 2048, 8},    {2 * ROWS, 1024, 512, 8},
    {2048, 256, 1024, 8},     {ROWS, 384, 1152, 1},    {ROWS, 640, 2560, 1},
    {ROWS, 1280, 640, 1},     {2048, 640, 2560, 8}};

enum { MAX_ACT = ROWS * 2560, MAX_F32 = HEAD_ROWS * 8192 };
enum { BLOCK = 1 << 20, OP_ACT = 4 * BLOCK /* of an activation, what the other operations use */ };

/* ------------------------------------------------------------------ linear layers */

struct layer {
    compute_linear_t *linear;
    float *master, *grad;
    int32_t offset[EXPERTS + 1];
    struct compute_rows rows;
    double times[3][MAX_ROUNDS];
};

/* Weights of many different numbers, as a model's are. */
static void layer_open(struct bench *b, size_t i, struct layer *l)
{
    size_t n = (size_t)(shapes[i].groups * shapes[i].out * shapes[i].in);
    l->master = mem_map(n * sizeof(float));
    l->grad = mem_map(n * sizeof(float));
    CHECK(l->master && l->grad);
    for (size_t k = 0; k < n; k++)
        l->master[k] = (float)((double)(k * 2654435761u % 2001) - 1000) * 1e-4f;
    for (int g = 0; g < shapes[i].groups; g++)
        l->offset[g + 1] = (int32_t)((g + 1) * shapes[i].rows / shapes[i].groups);
    l->rows = (struct compute_rows){l->offset, shapes[i].rows};
    struct compute_linear_desc d = {.groups = shapes[i].groups,
                                    .in = shapes[i].in,
                                    .parts = 1,
                                    .out = {shapes[i].out},
                                    .master = {l->master},
                                    .grad = {l->grad},
                                    .max_rows = shapes[i].rows};
    l->linear = compute_linear_new(b->c, &d);
    compute_linear_update(l->linear);
}

static void layer_close(size_t i, struct layer *l)
{
    size_t n = (size_t)(shapes[i].groups * shapes[i].out * shapes[i].in) * sizeof(float);
    compute_linear_free(l->linear);
    mem_unmap(l->master, n);
    mem_unmap(l->grad, n);
}

static void layer_once(struct bench *b, struct layer *l, double t[3])
{
    void *x = b->act[b->turn][0], *y = b->act[b->turn][1], *dx = b->act[b->turn][2];
    double t0 = time_now_s();
    compute_linear_forward(l->linear, l->rows, x, y, b->dtype);
    double t1 = time_now_s();
    compute_linear_backward_input(l->linear, l->rows, y, dx, b->dtype);
    double t2 = time_now_s();
    compute_linear_backward_weight(l->linear, l->rows, y, x, false);
    double t3 = time_now_s();
    b->turn = (b->turn + 1) % ROTATE;
    t[0] += t1 - t0;
    t[1] += t2 - t1;
    t[2] += t3 - t2;
}

/* The three products of a layer take turns as in a step; round -1 is not recorded. */
static void layer_run(struct bench *b, struct layer *l, int round)
{
    double t[3] = {0};
    int n = 0;
    while (n < MAX_REPEATS && t[0] + t[1] + t[2] < 3e-3 * SPELL_MS) {
        layer_once(b, l, t);
        n++;
    }
    for (int kind = 0; kind < 3 && round >= 0; kind++)
        l->times[kind][round] = t[kind] / n;
}

/* ------------------------------------------------------------------ the other operations */

/* As a model lays them out: queries, keys and values side by side in one array. */
static void run_attention(struct bench *b, int64_t len, bool backward)
{
    struct compute_attention a = {.B = ROWS / len, .T = len, .H = HEADS, .K = 2, .h = 64};
    size_t size = compute_dtype_size(b->dtype);
    size_t q = (size_t)(a.H * a.h), kv = (size_t)(a.K * a.h);
    a.ld = (int64_t)(q + 2 * kv);
    a.ld_out = (int64_t)q;
    a.q = b->act[b->turn][0];
    a.k = b->act[b->turn][0] + q * size;
    a.v = b->act[b->turn][0] + (q + kv) * size;
    a.out = b->act[b->turn][1];
    a.lse = b->f[0];
    a.multiplier = 0.125f;
    a.cap = 30;
    if (!backward) {
        compute_attention_forward(b->c, &a);
        return;
    }
    char *const *next = b->act[(b->turn + 1) % ROTATE], *dq = next[0];
    struct compute_attention_grad d = {next[1], dq, dq + q * size, dq + (q + kv) * size};
    compute_attention_backward(b->c, &a, &d);
}

static void run_seam(struct bench *b, bool backward)
{
    struct compute_seam s = {.M = ROWS, .D = D, .eps = 1e-5f};
    s.h = s.h_out = b->f[0];
    s.y = b->act[b->turn][0];
    s.g_post = b->f[2];
    s.g_next = b->f[2] + D;
    s.a = b->act[b->turn][1];
    s.rstd_post = b->f[3];
    s.rstd_next = b->f[3] + ROWS;
    if (!backward) {
        compute_seam_forward(b->c, &s);
        return;
    }
    float *dg = b->f[3] + 2 * ROWS;
    void *dy = b->act[(b->turn + 1) % ROTATE][0];
    struct compute_seam_grad d = {b->act[b->turn][1], b->f[1], dy, dg, dg + D, false};
    compute_seam_backward(b->c, &s, &d);
}

static void run_router(struct bench *b)
{
    int32_t *top = b->index + 4 * ROWS;
    struct compute_router r = {.M = ROWS, .D = D, .E = EXPERTS, .k = TOP};
    r.x = b->act[b->turn][0];
    r.W = b->f[2];
    r.probs = b->f[3];
    r.lse = b->f[3] + ROWS * EXPERTS;
    r.top = top;
    r.weight = r.lse + ROWS;
    compute_router_forward(b->c, &r);
    struct compute_router_grad d = {
        r.weight, b->f[2] + EXPERTS * D, 0.01f, 0.001f, b->f[1], b->f[0], false};
    compute_router_backward(b->c, &r, &d);
}

/* One of Muon's iterations on one matrix, by one thread. */
static void newton_task(void *ctx, size_t task, int thread)
{
    struct bench *b = ctx;
    compute_t *c = b->one[thread];
    size_t square = NEWTON_R * NEWTON_R, n = NEWTON_R * NEWTON_K;
    float *a = b->newton + (size_t)thread * NEWTON_FLOATS, *y = a + 3 * square;
    char *x = (char *)(y + n);
    (void)task;
    bool low = b->dtype == COMPUTE_BF16;
    struct compute_matmul m = {.transpose_b = true, .in = b->dtype, .M = NEWTON_R, .N = NEWTON_R};
    m.K = m.lda = m.ldb = NEWTON_K;
    m.ldc = NEWTON_R;
    m.alpha = 1;
    m.A = m.B = x;
    m.C = a;
    if (low) compute_to_act(c, y, n, x);
    compute_matmul_symmetric(c, &m);
    void *s = low ? (void *)(x + n * sizeof(float)) : (void *)a;
    if (low) compute_to_act(c, a, square, s);
    compute_axpby(c, square, 1, a, 0, a + square);
    if (low) compute_to_act(c, a + square, square, s);
    m.transpose_b = false;
    m.K = m.lda = m.ldb = NEWTON_R;
    m.alpha = 1e-3f;
    m.A = m.B = s;
    m.C = a + 2 * square;
    compute_matmul_symmetric(c, &m);
    if (low) compute_to_act(c, a + 2 * square, square, s);
    m.N = m.ldb = m.ldc = NEWTON_K;
    m.alpha = 1;
    m.B = x;
    m.C = y;
    compute_matmul(c, &m);
}

static void run_adamw(struct bench *b)
{
    float *p = b->f[0], *g = b->f[1];
    struct compute_adamw o = {1e-4f, 0.9f,   0.95f, 1e-8f, 0.1f,       1,
                              10,    PARAMS, p,     g,     p + PARAMS, g + PARAMS};
    compute_adamw(b->c, &o);
}

static void run_op(struct bench *b, int op, struct layer *layers)
{
    void *x = b->act[b->turn][0], *y = b->act[b->turn][1], *z = b->act[(b->turn + 1) % ROTATE][1];
    const struct compute_glu glu = {ROWS, D, x, b->f[2], op == COMPUTE_OP_GLU_B ? z : y};
    const struct compute_glu_grad glu_grad = {y, x, b->f[3]};
    const struct compute_rope rope = {ROWS, T, HEADS, 64, HEADS * 64, NULL, b->f[2], false, x};
    const struct compute_gather gather = {ROWS, D, NULL, b->index, x, y};
    const struct compute_combine combine = {ROWS, D, TOP, b->index, x, .scale = 1, .out = y};
    const struct compute_loss loss = {HEAD_ROWS, V, b->f[0], b->ids, 0.5f, 0, 1e-3f, b->f[3], x};
    switch (op) {
    case COMPUTE_OP_SEAM_F: run_seam(b, false); break;
    case COMPUTE_OP_SEAM_B: run_seam(b, true); break;
    case COMPUTE_OP_GLU_F: compute_glu_forward(b->c, &glu); break;
    case COMPUTE_OP_GLU_B: compute_glu_backward(b->c, &glu, &glu_grad); break;
    case COMPUTE_OP_ROPE: compute_rope(b->c, &rope); break;
    case COMPUTE_OP_ROUTER: run_router(b); break;
    case COMPUTE_OP_GATHER: compute_gather(b->c, &gather); break;
    case COMPUTE_OP_COMBINE: compute_combine(b->c, &combine); break;
    case COMPUTE_OP_LOSS: compute_cross_entropy(b->c, &loss); break;
    case COMPUTE_OP_ADAMW: run_adamw(b); break;
    case COMPUTE_OP_REFRESH: compute_linear_update(layers[13].linear); break;
    case COMPUTE_OP_SQUARES: compute_sum_squares(b->c, b->f[1], PARAMS); break;
    case COMPUTE_OP_NEWTON:
        pool_run(compute_pool(b->c), (size_t)b->threads * NEWTON_TASKS, newton_task, b);
        break;
    case COMPUTE_OP_ATTENTION_F_256: run_attention(b, 256, false); break;
    case COMPUTE_OP_ATTENTION_B_256: run_attention(b, 256, true); break;
    case COMPUTE_OP_ATTENTION_F_1024: run_attention(b, 1024, false); break;
    default: run_attention(b, 1024, true); break;
    }
    b->turn = (b->turn + 1) % ROTATE;
}

/* How many units one run of an operation is: see compute.h. */
static double op_units(const struct bench *b, int op)
{
    double elements = (double)ROWS * D;
    switch (op) {
    case COMPUTE_OP_ROUTER: return elements * EXPERTS;
    case COMPUTE_OP_COMBINE: return elements * TOP;
    case COMPUTE_OP_LOSS: return (double)HEAD_ROWS * V;
    case COMPUTE_OP_ADAMW:
    case COMPUTE_OP_SQUARES: return PARAMS;
    case COMPUTE_OP_REFRESH: return 8.0 * 512 * 2048;
    case COMPUTE_OP_NEWTON:
        return (double)NEWTON_TASKS * b->threads * compute_newton_flops(NEWTON_R, NEWTON_K);
    case COMPUTE_OP_ATTENTION_F_256:
    case COMPUTE_OP_ATTENTION_B_256: return elements * 256;
    case COMPUTE_OP_ATTENTION_F_1024:
    case COMPUTE_OP_ATTENTION_B_1024: return elements * 1024;
    default: return elements;
    }
}

/* ------------------------------------------------------------------ memory bandwidth */

static void copy_task(void *ctx, size_t task, int thread)
{
    struct bench *b = ctx;
    (void)thread;
    memcpy(b->act[1][0] + (task << 20), b->act[0][0] + (task << 20), 1 << 20);
}

/* Larger than any cache, by all threads. */
static double run_copy(struct bench *b)
{
    size_t tasks = (size_t)MAX_ACT * sizeof(float) >> 20;
    double start = time_now_s();
    pool_run(compute_pool(b->c), tasks, copy_task, b);
    return 2.0 * (double)(tasks << 20) / (time_now_s() - start); /* read and written */
}

/* ------------------------------------------------------------------ the whole */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* How far the middle half of sorted rounds lie apart, beside their median. */
static double spread_of(const double *sorted, int n)
{
    return (sorted[n - 1 - n / 4] - sorted[n / 4]) / sorted[n / 2];
}

/* Seconds of one run of an operation, from a spell of them. */
static double op_run(struct bench *b, int op, struct layer *layers)
{
    double start = time_now_s(), s = 0;
    int n = 0;
    while (n < MAX_REPEATS && s < 1e-3 * SPELL_MS) {
        run_op(b, op, layers);
        s = time_now_s() - start;
        n++;
    }
    return s / n;
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 0.01f * (float)(i % 17) + 0.01f;
}

static void fill_task(void *ctx, size_t task, int thread)
{
    struct bench *b = ctx;
    (void)thread;
    float *f = b->f[task / (MAX_F32 / BLOCK)];
    fill(f + task % (MAX_F32 / BLOCK) * BLOCK, BLOCK);
}

/* Values of a usual size in the first n numbers of each activation, and in all of f. Operations work
 * on each other's results: without this they shrink from one to the next until they are denormal,
 * which some CPUs add and multiply twenty times slower, and which no training step has. */
static void refresh_operands(struct bench *b, size_t n)
{
    pool_run(compute_pool(b->c), (size_t)ARRAY_LEN(b->f) * (MAX_F32 / BLOCK), fill_task, b);
    for (int i = 0; i < ROTATE; i++)
        for (int k = 0; k < 3; k++)
            for (size_t at = 0; at < n; at += BLOCK)
                compute_to_act(b->c, b->f[0], BLOCK,
                               b->act[i][k] + at * compute_dtype_size(b->dtype));
}

/* On failure what was opened stays for bench_close. */
static int bench_open(compute_t *c, struct bench *b, struct error *e)
{
    *b = (struct bench){.c = c, .dtype = compute_act_dtype(c)};
    b->threads = pool_threads(compute_pool(c));
    for (int i = 0; i < ROTATE; i++)
        for (int k = 0; k < 3; k++) {
            b->act[i][k] = mem_map((size_t)MAX_ACT * sizeof(float));
            if (!b->act[i][k])
                return error_set(e, "not enough memory for the arrays to measure on");
        }
    for (int i = 0; i < 4; i++) {
        b->f[i] = mem_map((size_t)MAX_F32 * sizeof(float));
        if (!b->f[i]) return error_set(e, "not enough memory for the arrays to measure on");
    }
    b->newton = mem_alloc((size_t)b->threads * NEWTON_FLOATS * sizeof(float));
    fill(b->newton, (size_t)b->threads * NEWTON_FLOATS);
    refresh_operands(b, MAX_ACT);
    b->index = mem_calloc(8 * ROWS, sizeof *b->index);
    b->ids = mem_calloc(HEAD_ROWS, sizeof *b->ids);
    for (int i = 0; i < 4 * ROWS; i++)
        b->index[i] = (int32_t)((int64_t)i * 2654435761 % ROWS);
    b->one = mem_calloc((size_t)b->threads, sizeof(compute_t *));
    for (int i = 0; i < b->threads; i++) {
        struct compute_options o = {.dtype = b->dtype};
        TRY(compute_new(&o, &b->one[i], e));
    }
    return 0;
}

static void bench_close(struct bench *b)
{
    for (int i = 0; i < ROTATE; i++)
        for (int k = 0; k < 3; k++)
            if (b->act[i][k]) mem_unmap(b->act[i][k], (size_t)MAX_ACT * sizeof(float));
    for (int i = 0; i < 4; i++)
        if (b->f[i]) mem_unmap(b->f[i], (size_t)MAX_F32 * sizeof(float));
    for (int i = 0; b->one && i < b->threads; i++)
        compute_free(b->one[i]);
    mem_free(b->one);
    mem_free(b->newton);
    mem_free(b->index);
    mem_free(b->ids);
}

/* All operations once per round, and not one after the other for a while: what disturbs the machine
 * for seconds then falls on one round of each. */
static void measure_rounds(struct bench *b, int rounds, bool show_progress,
                           struct compute_machine *out)
{
    const size_t each = ARRAY_LEN(shapes) + COMPUTE_N_OPS;
    double spreads[ARRAY_LEN(shapes) + COMPUTE_N_OPS], done = 0;
    struct progress progress;
    struct layer *layers = mem_calloc(ARRAY_LEN(shapes), sizeof *layers);
    double(*ops)[MAX_ROUNDS] = mem_calloc(COMPUTE_N_OPS, sizeof *ops), copy[MAX_ROUNDS];
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        layer_open(b, i, &layers[i]);
    if (show_progress)
        progress_init(&progress, b->dtype == COMPUTE_BF16 ? "measure bf16" : "measure fp32",
                      "operations", (double)each * (rounds + 1));
    for (int round = -1; round < rounds; round++) { /* the first one warms up */
        refresh_operands(b, MAX_ACT);
        for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
            layer_run(b, &layers[i], round);
            if (show_progress) progress_update(&progress, ++done);
        }
        for (int op = 0; op < COMPUTE_N_OPS; op++) {
            refresh_operands(b, OP_ACT);
            double s = op_run(b, op, layers);
            if (round >= 0) ops[op][round] = s;
            if (show_progress) progress_update(&progress, ++done);
        }
        double rate = run_copy(b);
        if (round >= 0) copy[round] = rate;
    }
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        out->products[i] = shapes[i];
        for (int kind = 0; kind < 3; kind++)
            out->products[i].s[kind] = median(layers[i].times[kind], rounds);
        spreads[i] = spread_of(layers[i].times[0], rounds);
        layer_close(i, &layers[i]);
    }
    for (int op = 0; op < COMPUTE_N_OPS; op++) {
        out->op_s[op] = median(ops[op], rounds) / op_units(b, op);
        spreads[ARRAY_LEN(shapes) + (size_t)op] = spread_of(ops[op], rounds);
    }
    out->spread = median(spreads, (int)each);
    if (show_progress) progress_fini(&progress, done);
    out->copy_bytes_per_s = median(copy, rounds);
    mem_free(ops);
    mem_free(layers);
}

/* ------------------------------------------------------------------ peak */

double compute_measure_peak(compute_t *c, double seconds)
{
    enum { SIDE = 2048 };
    size_t size = compute_dtype_size(compute_act_dtype(c)), n = (size_t)SIDE * SIDE;
    char *operands = mem_map(2 * n * size);
    float *C = mem_map(n * sizeof(float));
    if (!operands || !C) mem_exhausted(2 * n * size + n * sizeof(float));
    struct compute_matmul m = {.transpose_b = true, .M = SIDE, .N = SIDE, .K = SIDE, .alpha = 1};
    m.lda = m.ldb = m.ldc = SIDE;
    m.in = compute_act_dtype(c);
    m.A = operands;
    m.B = operands + n * size;
    m.C = C;
    double best_s = 0, end_s = time_now_s() + seconds;
    for (int run = 0; run < 3 || time_now_s() < end_s; run++) {
        double start_s = time_now_s();
        compute_matmul(c, &m);
        double took_s = time_now_s() - start_s;
        if (run == 1 || (run > 1 && took_s < best_s)) best_s = took_s; /* run 0 warms up */
    }
    mem_unmap(operands, 2 * n * size);
    mem_unmap(C, n * sizeof(float));
    return 2.0 * SIDE * SIDE * SIDE / best_s;
}

int compute_machine_measure(compute_t *c, int rounds, bool show_progress,
                            struct compute_machine *out, struct error *e)
{
    struct bench b;
    _Static_assert(ARRAY_LEN(shapes) <= COMPUTE_MACHINE_PRODUCTS, "room for all shapes");
    memset(out, 0, sizeof *out);
    out->dtype = compute_act_dtype(c);
    out->threads = pool_threads(compute_pool(c));
    out->n_products = ARRAY_LEN(shapes);
    int rc = bench_open(c, &b, e);
    if (rc == 0) {
        measure_rounds(&b, MIN(MAX(rounds, 1), MAX_ROUNDS), show_progress, out);
        for (size_t i = 0; i < out->n_products; i++) {
            const struct compute_machine_product *p = &out->products[i];
            double flops = 2.0 * (double)p->rows * (double)p->in * (double)p->out;
            out->linear_flops = fmax(out->linear_flops, flops / p->s[0]);
        }
        out->peak_flops = fmax(compute_measure_peak(c, 1), out->linear_flops);
    }
    bench_close(&b);
    return rc;
}
