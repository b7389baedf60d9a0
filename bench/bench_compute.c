/* bench_compute.c: the speed of the operations of compute/ on all threads, at the shapes of the two
 * models that `make bench` trains, beside what the machine can do.
 *
 *   build/gcc/bench/bench_compute [-t THREADS] [-p f32|bf16] [-b auto|reference|avx2|avx512]
 *                                 [-r ROUNDS] [-m dense|experts] [PART-OF-A-NAME ...]
 *
 * All operations are run once per round and the median over the rounds is printed (and the best),
 * so that a busy moment of the machine hits all alike; the roofs (products on operands in L1, a
 * square product, a copy) are measured in the same rounds. Linear layers read other arrays every
 * time, as in a step: what a layer leaves in the cache is not there when it comes round again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compute/compute.h"
#include "compute/x86/compute_x86_internal.h"

enum { MAX_CASES = 64, MAX_ROUNDS = 1000, ROTATE = 3 };

struct shape {
    const char *name;
    int64_t layers, D, H, K, h, F, E, top, V, B, T;
};

static const struct shape models[] = {
    {"dense", 12, 768, 12, 12, 64, 2048, 1, 1, 50304, 4, 1024},
    {"experts", 8, 512, 8, 2, 64, 1024, 8, 2, 8192, 8, 512},
};
enum { HEAD_ROWS = 1024 }; /* the loss is computed by chunks of so many rows */

struct context {
    compute_t *c;
    enum compute_dtype dtype;
    char *act[ROTATE][3]; /* activations */
    float *f[6];
    size_t elements;
    int32_t *index[6];
    uint32_t *ids;
};

/* One thing to measure. */
struct bench_case {
    char name[64];
    void (*run)(struct context *x, const struct bench_case *k);
    double flops, bytes; /* of one run; flops 0: speed is bytes */
    double per_step;     /* runs in a training step */
    struct shape s;      /* and the sizes the case needs */
    compute_linear_t *linear;
    int64_t rows, in, out;
    int32_t offset[64];
    int turn;
    double times[MAX_ROUNDS];
};

static struct bench_case cases[MAX_CASES];
static int n_cases;

/* ------------------------------------------------------------------ linear layers */

static struct compute_rows rows_of(const struct bench_case *k)
{
    return (struct compute_rows){k->offset, k->rows};
}

static void run_forward(struct context *x, const struct bench_case *k)
{
    bool logits = k->out == k->s.V;
    compute_linear_forward(k->linear, rows_of(k), x->act[k->turn][0],
                           logits ? (void *)x->f[1] : x->act[k->turn][1],
                           logits ? COMPUTE_F32 : x->dtype);
}

static void run_backward_input(struct context *x, const struct bench_case *k)
{
    compute_linear_backward_input(k->linear, rows_of(k), x->act[k->turn][1], x->act[k->turn][0],
                                  x->dtype);
}

static void run_backward_weight(struct context *x, const struct bench_case *k)
{
    compute_linear_backward_weight(k->linear, rows_of(k), x->act[k->turn][1], x->act[k->turn][0],
                                   k->out == k->s.V);
}

static void run_update(struct context *x, const struct bench_case *k)
{
    (void)x;
    compute_linear_update(k->linear);
}

static struct bench_case *add_case(const struct shape *s, const char *name,
                                   void (*run)(struct context *, const struct bench_case *),
                                   double flops, double bytes, double per_step)
{
    CHECK(n_cases < MAX_CASES);
    struct bench_case *k = &cases[n_cases++];
    snprintf(k->name, sizeof k->name, "%s %s", s->name, name);
    k->s = *s;
    k->run = run;
    k->flops = flops;
    k->bytes = bytes;
    k->per_step = per_step;
    return k;
}

struct layer {
    const char *name;
    int groups, parts;
    int64_t in, out[3], rows;
    double per_step;
};

static compute_linear_t *open_layer(struct context *x, const struct layer *l, int64_t out)
{
    struct compute_linear_desc d = {.groups = l->groups, .in = l->in, .parts = l->parts};
    size_t n = (size_t)(l->groups * out * l->in);
    float *master = mem_map(n * sizeof(float)), *grad = mem_map(n * sizeof(float));
    CHECK(master && grad);
    for (size_t i = 0; i < n; i++)
        master[i] = (float)((double)(i * 2654435761u % 2001) - 1000) * 1e-4f;
    size_t at = 0;
    for (int p = 0; p < l->parts; p++) {
        d.out[p] = l->out[p];
        d.master[p] = master + at;
        d.grad[p] = grad + at;
        at += (size_t)(l->groups * l->out[p] * l->in);
    }
    d.max_rows = l->rows + 64 * 64;
    compute_linear_t *linear = compute_linear_new(x->c, &d);
    compute_linear_update(linear);
    return linear;
}

static void add_layer(struct context *x, const struct shape *s, const struct layer *l)
{
    static const struct {
        const char *what;
        void (*run)(struct context *, const struct bench_case *);
    } kinds[] = {{"forward", run_forward},
                 {"dX", run_backward_input},
                 {"dW", run_backward_weight},
                 {"update", run_update}};
    int64_t out = 0;
    for (int p = 0; p < l->parts; p++)
        out += l->out[p];
    compute_linear_t *linear = open_layer(x, l, out);
    double flops = 2.0 * (double)(l->rows * l->in * out);
    double weights = (double)(l->groups * l->in * out);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        bool update = kinds[i].run == run_update;
        char name[48];
        snprintf(name, sizeof name, "%s %s", l->name, kinds[i].what);
        struct bench_case *k = add_case(s, name, kinds[i].run, update ? 0 : flops, weights * 8,
                                        update && l->rows == HEAD_ROWS ? 1 : l->per_step);
        k->linear = linear;
        k->rows = l->rows;
        k->in = l->in;
        k->out = out;
        /* experts with uneven loads: the first the most */
        for (int g = 0; g < l->groups; g++) {
            int64_t share = l->rows / l->groups;
            int64_t rows = share + share / 4 * (l->groups - 1 - 2 * g) / MAX(l->groups - 1, 1);
            rows = g == l->groups - 1 ? l->rows - k->offset[g] : rows / 32 * 32;
            k->offset[g + 1] = k->offset[g] + (int32_t)rows;
        }
    }
}

static void add_layers(struct context *x, const struct shape *s)
{
    int64_t M = s->B * s->T, D = s->D, q = s->H * s->h, kv = s->K * s->h;
    double n = (double)s->layers;
    add_layer(x, s, &(struct layer){"qkv", 1, 3, D, {q, kv, kv}, M, n});
    add_layer(x, s, &(struct layer){"attn out", 1, 1, q, {D}, M, n});
    int groups = (int)s->E;
    add_layer(x, s, &(struct layer){"gate up", groups, 2, D, {s->F, s->F}, M * s->top, n});
    add_layer(x, s, &(struct layer){"down", groups, 1, s->F, {D}, M * s->top, n});
    add_layer(x, s, &(struct layer){"head", 1, 1, D, {s->V}, HEAD_ROWS, (double)M / HEAD_ROWS});
}

/* ------------------------------------------------------------------ the rest of a step */

static struct compute_attention attention_of(struct context *x, const struct bench_case *k)
{
    const struct shape *s = &k->s;
    struct compute_attention a = {.B = s->B, .T = s->T, .H = s->H, .K = s->K, .h = s->h};
    size_t size = compute_dtype_size(x->dtype), q = (size_t)(s->H * s->h);
    a.ld = (s->H + 2 * s->K) * s->h;
    a.q = x->act[k->turn][0];
    a.k = x->act[k->turn][0] + q * size;
    a.v = x->act[k->turn][0] + (q + (size_t)(s->K * s->h)) * size;
    a.ld_out = s->H * s->h;
    a.out = x->act[k->turn][1];
    a.lse = x->f[0];
    a.multiplier = 0.125f;
    a.cap = 30;
    return a;
}

static void run_attention(struct context *x, const struct bench_case *k)
{
    struct compute_attention a = attention_of(x, k);
    compute_attention_forward(x->c, &a);
}

static void run_attention_backward(struct context *x, const struct bench_case *k)
{
    struct compute_attention a = attention_of(x, k);
    size_t size = compute_dtype_size(x->dtype), q = (size_t)(k->s.H * k->s.h);
    char *dq = x->act[k->turn][2];
    struct compute_attention_grad d = {x->act[(k->turn + 1) % ROTATE][1], dq, dq + q * size,
                                       dq + (q + (size_t)(k->s.K * k->s.h)) * size};
    compute_attention_backward(x->c, &a, &d);
}

static void run_seam(struct context *x, const struct bench_case *k)
{
    struct compute_seam s = {.M = k->s.B * k->s.T, .D = k->s.D, .eps = 1e-5f};
    s.h = s.h_out = x->f[1];
    s.y = x->act[k->turn][0];
    s.g_post = x->f[3];
    s.g_next = x->f[4];
    s.a = x->act[k->turn][1];
    s.rstd_post = x->f[5];
    s.rstd_next = x->f[5] + s.M;
    compute_seam_forward(x->c, &s);
}

static void run_seam_backward(struct context *x, const struct bench_case *k)
{
    struct compute_seam s = {.M = k->s.B * k->s.T, .D = k->s.D, .eps = 1e-5f};
    s.h_out = x->f[1];
    s.y = x->act[k->turn][0];
    s.g_post = x->f[3];
    s.g_next = x->f[4];
    s.rstd_post = x->f[5];
    s.rstd_next = x->f[5] + s.M;
    struct compute_seam_grad d = {x->act[k->turn][1], x->f[2], x->act[k->turn][2], x->f[0],
                                  x->f[0] + s.D,      false};
    compute_seam_backward(x->c, &s, &d);
}

static void run_glu(struct context *x, const struct bench_case *k)
{
    struct compute_glu g = {k->rows, k->s.F, x->act[k->turn][0], x->f[3], x->act[k->turn][1]};
    compute_glu_forward(x->c, &g);
}

static void run_glu_backward(struct context *x, const struct bench_case *k)
{
    struct compute_glu g = {k->rows, k->s.F, x->act[k->turn][0], x->f[3], x->act[k->turn][2]};
    struct compute_glu_grad d = {x->act[k->turn][1], x->act[k->turn][0], x->f[0]};
    compute_glu_backward(x->c, &g, &d);
}

static void run_gather(struct context *x, const struct bench_case *k)
{
    struct compute_gather g = {k->rows,           k->s.D, NULL, x->index[0], x->act[k->turn][0],
                               x->act[k->turn][1]};
    compute_gather(x->c, &g);
}

static void run_combine(struct context *x, const struct bench_case *k)
{
    struct compute_combine m = {.M = k->s.B * k->s.T, .D = k->s.D, .k = k->s.top, .scale = 1};
    m.slot_row = x->index[0];
    m.y = x->act[k->turn][0];
    m.out = x->act[k->turn][1];
    compute_combine(x->c, &m);
}

static void run_cross_entropy(struct context *x, const struct bench_case *k)
{
    struct compute_loss l = {HEAD_ROWS, k->s.V,  x->f[1],           x->ids, 0.5f, 0,
                             1e-3f,     x->f[5], x->act[k->turn][0]};
    compute_cross_entropy(x->c, &l);
}

static void run_adamw(struct context *x, const struct bench_case *k)
{
    float *p = x->f[1], *g = x->f[2];
    size_t half = x->elements / 2;
    struct compute_adamw o = {1e-4f,           0.9f, 0.95f, 1e-8f,    0.1f,    1, 10,
                              (size_t)k->rows, p,    g,     p + half, g + half};
    compute_adamw(x->c, &o);
}

static double parameters_of(const struct shape *s)
{
    double attention = (double)(s->D * s->h * (2 * s->H + 2 * s->K));
    double ffn = (double)(3 * s->E * s->D * s->F);
    return (double)s->layers * (attention + ffn) + (double)(s->V * s->D);
}

static void add_rest(struct context *x, const struct shape *s)
{
    double M = (double)(s->B * s->T), D = (double)s->D, F = (double)s->F, n = (double)s->layers;
    double rows = M * (double)s->top, size = (double)compute_dtype_size(x->dtype);
    /* causal: half of T keys on average, two products forward, five backward */
    double pair = 2.0 * M * (double)(s->H * s->h * s->T) / 2;
    add_case(s, "attention forward", run_attention, 2 * pair, 0, n);
    add_case(s, "attention backward", run_attention_backward, 5 * pair, 0, n);
    add_case(s, "seam forward", run_seam, 0, M * D * (8 + 2 * size), 2 * n);
    add_case(s, "seam backward", run_seam_backward, 0, M * D * (12 + 3 * size), 2 * n);
    add_case(s, "glu forward", run_glu, 0, rows * F * 3 * size, n)->rows = (int64_t)rows;
    add_case(s, "glu backward", run_glu_backward, 0, rows * F * 6 * size, n)->rows = (int64_t)rows;
    if (s->E > 1) {
        add_case(s, "gather", run_gather, 0, rows * D * 2 * size, 3 * n)->rows = (int64_t)rows;
        add_case(s, "combine", run_combine, 0, (rows + M) * D * size, 2 * n);
    }
    add_case(s, "cross entropy", run_cross_entropy, 0, HEAD_ROWS * (double)s->V * (4 + size),
             M / HEAD_ROWS);
    double chunk = 16e6; /* parameters at a time; the cost is the same for each */
    add_case(s, "adamw", run_adamw, 0, chunk * 28, parameters_of(s) / chunk)->rows = (int64_t)chunk;
}

/* ------------------------------------------------------------------ roofs */

static void probe_task(void *ctx, size_t task, int thread)
{
    (void)task;
    (void)thread;
    compute_x86_probe_amx(*(int64_t *)ctx);
}

static void run_probe(struct context *x, const struct bench_case *k)
{
    int64_t steps = k->rows;
    pool_run(compute_pool(x->c), (size_t)pool_threads(compute_pool(x->c)), probe_task, &steps);
}

static void run_square(struct context *x, const struct bench_case *k)
{
    struct compute_matmul m = {.transpose_b = true, .in = x->dtype, .alpha = 1};
    m.M = m.N = m.K = m.lda = m.ldb = m.ldc = k->rows;
    m.A = x->act[0][0];
    m.B = x->act[0][1];
    m.C = x->f[1];
    compute_matmul(x->c, &m);
}

static void copy_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    struct context *x = ctx;
    memcpy((char *)x->f[2] + (task << 20), (char *)x->f[1] + (task << 20), 1 << 20);
}

static void run_copy(struct context *x, const struct bench_case *k)
{
    pool_run(compute_pool(x->c), (size_t)k->rows, copy_task, x);
}

static void add_roofs(struct context *x)
{
    static const struct shape machine = {.name = "machine:"};
    double threads = pool_threads(compute_pool(x->c));
    if (compute_x86_has_amx())
        add_case(&machine, "AMX products in L1", run_probe, threads * 5000 * 2 * 4 * 16384, 0, 0)
            ->rows = 5000;
    add_case(&machine, "square 2048", run_square, 2 * pow(2048, 3), 0, 0)->rows = 2048;
    add_case(&machine, "copy", run_copy, 0, 128.0 * (1 << 20), 0)->rows = 64;
}

/* ------------------------------------------------------------------ running */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void allocate(struct context *x)
{
    x->elements = 80 << 20; /* the largest: logits of a chunk, 1024 x 50304 */
    for (int r = 0; r < ROTATE; r++)
        for (int i = 0; i < 3; i++) {
            x->act[r][i] = mem_map(x->elements * compute_dtype_size(x->dtype));
            CHECK(x->act[r][i]);
        }
    for (size_t i = 0; i < ARRAY_LEN(x->f); i++) {
        size_t n = i == 0 || i >= 3 ? x->elements / 8 : x->elements;
        x->f[i] = mem_map(n * sizeof(float));
        CHECK(x->f[i]);
        for (size_t j = 0; j < n; j += 3)
            x->f[i][j] = (float)((double)(j * 2654435761u % 2001) - 1000) * 1e-3f;
    }
    for (int r = 0; r < ROTATE; r++)
        for (int i = 0; i < 3; i++)
            compute_to_act(x->c, x->f[1], x->elements, x->act[r][i]);
    x->index[0] = mem_calloc(1 << 16, sizeof(int32_t));
    x->ids = mem_calloc(1 << 16, sizeof(uint32_t));
    for (int i = 0; i < 1 << 16; i++) {
        x->index[0][i] = (int32_t)(rng_u64(1, 1, (uint64_t)i) % 4096);
        x->ids[i] = (uint32_t)(rng_u64(1, 2, (uint64_t)i) % 8192);
    }
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strstr(name, argv[i])) return true;
    return argc == 0;
}

static void measure(struct context *x, int rounds, int argc, char **argv)
{
    for (int r = -1; r < rounds; r++) /* the first only warms up */
        for (int i = 0; i < n_cases; i++) {
            struct bench_case *k = &cases[i];
            if (!wanted(k->name, argc, argv) && k->per_step > 0) continue;
            k->turn = (r + 1) % ROTATE;
            double start_s = time_now_s();
            k->run(x, k);
            if (r >= 0) k->times[r] = time_now_s() - start_s;
        }
}

static void report(int rounds, int argc, char **argv)
{
    static const char *const heads[] = {"operation", "median ms", "best ms", "GFLOP/s",
                                        "best",      "GB/s",      "ms/step"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrrrr");
    double total[ARRAY_LEN(models)] = {0};
    for (int i = 0; i < n_cases; i++) {
        struct bench_case *k = &cases[i];
        if (!wanted(k->name, argc, argv) && k->per_step > 0) continue;
        qsort(k->times, (size_t)rounds, sizeof *k->times, by_size);
        double median = k->times[rounds / 2], best = k->times[0];
        char cell[6][32];
        snprintf(cell[0], 32, "%.3f", median * 1e3);
        snprintf(cell[1], 32, "%.3f", best * 1e3);
        snprintf(cell[2], 32, "%.0f", k->flops / median * 1e-9);
        snprintf(cell[3], 32, "%.0f", k->flops / best * 1e-9);
        snprintf(cell[4], 32, "%.1f", k->bytes / median * 1e-9);
        snprintf(cell[5], 32, "%.1f", k->per_step * median * 1e3);
        table_row(t, k->name, cell[0], cell[1], k->flops > 0 ? cell[2] : "",
                  k->flops > 0 ? cell[3] : "", k->flops > 0 ? "" : cell[4],
                  k->per_step > 0 ? cell[5] : "");
        for (size_t m = 0; m < ARRAY_LEN(models); m++)
            if (strcmp(models[m].name, k->s.name) == 0) total[m] += k->per_step * median;
    }
    table_print(t, stdout);
    table_free(t);
    for (size_t m = 0; m < ARRAY_LEN(models); m++)
        if (total[m] > 0)
            printf("%s: these operations, as often as in a step: %.0f ms, %.0f tokens/s\n",
                   models[m].name, total[m] * 1e3, (double)(models[m].B * models[m].T) / total[m]);
}

int main(int argc, char **argv)
{
    int threads = 0, rounds = 7, option;
    const char *model = "";
    struct compute_options o = {.dtype = COMPUTE_BF16};
    while ((option = getopt(argc, argv, "t:p:b:r:m:")) != -1)
        switch (option) {
        case 't': threads = (int)strtol(optarg, NULL, 10); break;
        case 'p': o.dtype = strcmp(optarg, "f32") == 0 ? COMPUTE_F32 : COMPUTE_BF16; break;
        case 'b':
            o.backend = strcmp(optarg, "reference") == 0 ? COMPUTE_REFERENCE
                        : strcmp(optarg, "avx2") == 0    ? COMPUTE_AVX2
                        : strcmp(optarg, "avx512") == 0  ? COMPUTE_AVX512
                                                         : COMPUTE_AUTO;
            break;
        case 'r': rounds = MAX(1, MIN((int)strtol(optarg, NULL, 10), MAX_ROUNDS)); break;
        case 'm': model = optarg; break;
        default: fprintf(stderr, "see the head of bench/bench_compute.c\n"); return 2;
        }
    o.pool = pool_new(threads);
    struct context x = {.dtype = o.dtype};
    struct error e = {0};
    if (compute_new(&o, &x.c, &e) < 0) {
        fprintf(stderr, "bench_compute: %s\n", e.text);
        return 1;
    }
    printf("%s, %s, %d threads\n", compute_backend_name(x.c),
           o.dtype == COMPUTE_F32 ? "float" : "bfloat16", pool_threads(o.pool));
    allocate(&x);
    add_roofs(&x);
    for (size_t m = 0; m < ARRAY_LEN(models); m++) {
        if (*model && strcmp(model, models[m].name) != 0) continue;
        add_layers(&x, &models[m]);
        add_rest(&x, &models[m]);
    }
    measure(&x, rounds, argc - optind, argv + optind);
    report(rounds, argc - optind, argv + optind);
    printf("peak as a run measures it (compute_measure_peak): %.0f GFLOP/s\n",
           compute_measure_peak(x.c, 0.5) * 1e-9);
    return 0;
}
