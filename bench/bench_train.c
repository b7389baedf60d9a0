/* bench_train.c: speed of whole training steps on the two shapes of docs/benchmarks.md.
 *
 * Builds the model as a run would, feeds it random tokens, and times forward, backward, clipping
 * and AdamW, with a profile of every operation. One line of JSON for bench_compare.py, or tables
 * for people. Nothing here is asserted: speed is measured, not tested. */
#include "lib/bench_profile.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum shape { SHAPE_DENSE, SHAPE_EXPERTS };
static const char *const shape_names[] = {"dense", "experts", NULL};
static const char *const dtype_names[] = {"auto", "fp32", "bf16", NULL};
static const char *const backend_names[] = {"auto", "reference", "avx2", "avx512", NULL};

struct bench_options {
    int shape, dtype, backend;
    int64_t threads, steps, warmup, B, T;
    double peak_seconds;
    bool json, profile;
};

#define AT(field) offsetof(struct bench_options, field)
static const struct option rows[] = {
    {"shape", 's', OPTION_ENUM, AT(shape), NULL, "dense", 0, 0, shape_names, "what is trained"},
    {"dtype", 'd', OPTION_ENUM, AT(dtype), NULL, "auto", 0, 0, dtype_names,
     "of activations; auto: bf16 where it is fast"},
    {"backend", 0, OPTION_ENUM, AT(backend), NULL, "auto", 0, 0, backend_names, "kernels"},
    {"threads", 't', OPTION_INT, AT(threads), NULL, "0", 0, 1024, NULL, "0: all processors"},
    {"steps", 'n', OPTION_INT, AT(steps), NULL, "4", 1, 1000, NULL, "that are timed"},
    {"warmup", 'w', OPTION_INT, AT(warmup), NULL, "2", 0, 1000, NULL, "steps before those"},
    {"batch", 'B', OPTION_INT, AT(B), "rows", "0", 0, 4096, NULL, "0: 4 dense, 8 experts"},
    {"seq", 'T', OPTION_INT, AT(T), "tokens", "0", 0, 65536, NULL, "0: 1024 dense, 512 experts"},
    {"peak-seconds", 0, OPTION_REAL, AT(peak_seconds), "s", "0.5", 0, 60, NULL,
     "spent on measuring the peak of matrix products"},
    {"json", 0, OPTION_BOOL, AT(json), NULL, "false", 0, 0, NULL, "one line of JSON"},
};
#undef AT
static const struct option_table table = {
    "bench_train", "[options]", "time whole training steps on random tokens",
    NULL,          rows,        ARRAY_LEN(rows)};

/* ------------------------------------------------------------------ what is trained */

static struct model_config config_of(enum shape shape, int64_t T)
{
    struct model_config c;
    model_config_defaults(&c);
    c.head_dim = 64;
    c.context_length = T;
    c.tied_embeddings = true;
    if (shape == SHAPE_DENSE) {
        c.vocab_size = 50304;
        c.n_layers = 12;
        c.d_model = 768;
        c.n_heads = c.n_kv_heads = 12; /* as many keys and values as GPT-2, for an equal rival */
        c.ffn_hidden = 2048;
        c.n_experts = c.n_experts_used = 1;
    } else {
        c.vocab_size = 8192;
        c.n_layers = 8;
        c.d_model = 512;
        c.n_heads = 8;
        c.n_kv_heads = 2;
        c.ffn_hidden = 1024;
        c.n_experts = 8;
        c.n_experts_used = 2;
        c.router_aux_coef = 0.01;
        c.router_z_coef = 0.001;
    }
    model_config_derive(&c);
    return c;
}

enum { N_BATCHES = 8 };

struct bench {
    struct bench_options o;
    struct train_config cfg;
    struct model_config model_config;
    struct pool *pool;
    compute_t *compute;
    model_t *model;
    train_optim_t *optim;
    int64_t B, T;
    uint32_t *tokens; /* [N_BATCHES, B, T + 1], inputs and targets are cut from it */
    uint32_t *inputs, *targets;
    double peak_flops;
};

struct step_times {
    double all_s, forward_s, backward_s, clip_s, optimizer_s;
    double loss;
    uint64_t allocations;
};

static void draw_tokens(struct bench *b)
{
    size_t n = (size_t)(N_BATCHES * b->B * (b->T + 1));
    b->tokens = mem_alloc(n * sizeof(*b->tokens));
    b->inputs = mem_alloc((size_t)(b->B * b->T) * sizeof(*b->inputs));
    b->targets = mem_alloc((size_t)(b->B * b->T) * sizeof(*b->targets));
    for (size_t i = 0; i < n; i++)
        b->tokens[i] = (uint32_t)(rng_u64(1337, 0, i) % (uint64_t)b->model_config.vocab_size);
}

static void take_batch(struct bench *b, int64_t step)
{
    const uint32_t *at = b->tokens + (step % N_BATCHES) * b->B * (b->T + 1);
    for (int64_t r = 0; r < b->B; r++, at += b->T + 1) {
        memcpy(b->inputs + r * b->T, at, (size_t)b->T * sizeof(*at));
        memcpy(b->targets + r * b->T, at + 1, (size_t)b->T * sizeof(*at));
    }
}

static int bench_open(struct bench *b, struct error *e)
{
    static const int64_t default_B[] = {4, 8}, default_T[] = {1024, 512};
    b->B = b->o.B ? b->o.B : default_B[b->o.shape];
    b->T = b->o.T ? b->o.T : default_T[b->o.shape];
    b->model_config = config_of((enum shape)b->o.shape, b->T);
    TRY(model_config_check(&b->model_config, e));
    options_defaults(train_run_rows, train_run_n_rows, &b->cfg);
    b->cfg.model = b->model_config;
    b->cfg.lr = 3e-4;
    bool bf16 = b->o.dtype == 2 || (b->o.dtype == 0 && compute_has_fast_bf16());
    b->pool = pool_new((int)b->o.threads);
    struct compute_options c = {.dtype = bf16 ? COMPUTE_BF16 : COMPUTE_F32,
                                .backend = (enum compute_backend)b->o.backend,
                                .pool = b->pool};
    TRY(compute_new(&c, &b->compute, e));
    if (b->o.peak_seconds > 0) b->peak_flops = compute_measure_peak(b->compute, b->o.peak_seconds);
    struct model_options m = {
        .compute = b->compute, .B = b->B, .T = b->T, .training = true, .shard = {0, 1, 0, 1}};
    TRY(model_new(&b->model_config, &m, &b->model, e));
    model_init_weights(b->model, 1);
    b->optim = train_optim_new(b->compute, b->model, &b->cfg, NULL, NULL);
    if (!b->optim) return error_set(e, "not enough memory for the optimiser's state");
    draw_tokens(b);
    return 0;
}

static void bench_close(struct bench *b)
{
    train_optim_free(b->optim);
    model_free(b->model);
    compute_free(b->compute);
    pool_free(b->pool);
    mem_free(b->tokens);
    mem_free(b->inputs);
    mem_free(b->targets);
}

/* ------------------------------------------------------------------ a step */

static struct step_times run_step(struct bench *b, int64_t step)
{
    struct step_times t = {0};
    struct model_stats stats = {0};
    struct model_batch batch = {.B = b->B, .T = b->T, .inputs = b->inputs, .targets = b->targets};
    take_batch(b, step);
    uint64_t allocations = mem_alloc_count();
    profile_mark();
    double t0 = time_now_s();
    model_train_step(b->model, &batch, 1.0, true, &stats);
    double t1 = time_now_s();
    double norm = sqrt(
        compute_sum_squares(b->compute, model_gradients(b->model), model_params(b->model)->total));
    double t2 = time_now_s();
    train_optim_step(b->optim, 1.0, step + 1, norm > 1.0 ? 1.0 / norm : 1.0);
    double t3 = time_now_s();
    t.allocations = mem_alloc_count() - allocations;
    t.forward_s = profile_backward_began_s() - t0;
    t.backward_s = t1 - profile_backward_began_s();
    t.clip_s = t2 - t1;
    t.optimizer_s = t3 - t2;
    t.all_s = t3 - t0;
    t.loss = stats.nll / stats.tokens;
    return t;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of one member of all steps; `at` is its offset. */
static double median_of(const struct step_times *t, size_t n, size_t at)
{
    double *values = mem_alloc(n * sizeof(*values));
    for (size_t i = 0; i < n; i++)
        memcpy(&values[i], (const char *)&t[i] + at, sizeof(double));
    qsort(values, n, sizeof(*values), compare_doubles);
    double median = n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
    mem_free(values);
    return median;
}

/* The profile is a sum over all steps, so its shares are of the mean. */
static double mean_ms(const struct step_times *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += 1e3 * t[i].all_s;
    return sum / (double)n;
}
#define MEDIAN_MS(field) (1e3 * median_of(t, n, offsetof(struct step_times, field)))

/* ------------------------------------------------------------------ reports */

static double peak_rss_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static void print_json(const struct bench *b, const struct step_times *t, size_t n)
{
    struct str text = {0};
    struct json_writer w;
    double median_ms = MEDIAN_MS(all_s), tokens = (double)(b->B * b->T);
    jsonw_begin(&w, &text);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "program", "colossus");
    jsonw_string(&w, "shape", shape_names[b->o.shape]);
    jsonw_string(&w, "dtype", compute_act_dtype(b->compute) == COMPUTE_BF16 ? "bf16" : "fp32");
    jsonw_string(&w, "backend", compute_backend_name(b->compute));
    jsonw_int(&w, "threads", pool_threads(b->pool));
    jsonw_int(&w, "B", b->B);
    jsonw_int(&w, "T", b->T);
    jsonw_int(&w, "params", (int64_t)model_config_total_params(&b->model_config));
    jsonw_open(&w, "step_ms", '[');
    for (size_t i = 0; i < n; i++)
        jsonw_real(&w, NULL, 1e3 * t[i].all_s);
    jsonw_close(&w, ']');
    jsonw_real(&w, "median_ms", median_ms);
    jsonw_real(&w, "mean_ms", mean_ms(t, n));
    jsonw_real(&w, "forward_ms", MEDIAN_MS(forward_s));
    jsonw_real(&w, "backward_ms", MEDIAN_MS(backward_s));
    jsonw_real(&w, "clip_ms", MEDIAN_MS(clip_s));
    jsonw_real(&w, "optimizer_ms", MEDIAN_MS(optimizer_s));
    jsonw_real(&w, "tokens_per_s", 1e3 * tokens / median_ms);
    jsonw_real(&w, "flops_per_token", model_config_train_flops_per_token(&b->model_config, b->T));
    jsonw_real(&w, "peak_flops", b->peak_flops);
    jsonw_real(&w, "loss_first", t[0].loss);
    jsonw_real(&w, "loss_last", t[n - 1].loss);
    jsonw_int(&w, "allocations_last_step", (int64_t)t[n - 1].allocations);
    jsonw_real(&w, "rss_gib", peak_rss_bytes() / (1 << 30));
    size_t n_ops;
    const struct profile_row *ops = profile_rows(&n_ops);
    jsonw_open(&w, "profile", '[');
    for (size_t i = 0; i < n_ops; i++) {
        jsonw_open(&w, NULL, '{');
        jsonw_string(&w, "op", ops[i].name);
        jsonw_string(&w, "group", ops[i].group);
        jsonw_real(&w, "ms", 1e3 * ops[i].seconds / (double)n);
        jsonw_real(&w, "calls", ops[i].calls / (double)n);
        jsonw_real(&w, "flops", ops[i].flops / (double)n);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    puts(text.data);
    str_fini(&text);
}

static void print_profile(const struct bench *b, size_t n, double step_ms)
{
    static const char *const heads[] = {"operation", "group",   "calls",    "ms",
                                        "%",         "GFLOP/s", "% of peak"};
    struct table *out = table_new(heads, ARRAY_LEN(heads), "llrrrrr");
    size_t n_ops;
    const struct profile_row *ops = profile_rows(&n_ops);
    double rest = step_ms;
    for (size_t i = 0; i < n_ops; i++) {
        char calls[32], ms[32], share[32], rate[32], peak[32];
        double op_ms = 1e3 * ops[i].seconds / (double)n;
        double flops = ops[i].flops / ops[i].seconds;
        rest -= op_ms;
        snprintf(calls, sizeof(calls), "%.0f", ops[i].calls / (double)n);
        snprintf(ms, sizeof(ms), "%.2f", op_ms);
        snprintf(share, sizeof(share), "%.1f", 100 * op_ms / step_ms);
        snprintf(rate, sizeof(rate), "%.0f", flops / 1e9);
        snprintf(peak, sizeof(peak), "%.0f", 100 * flops / b->peak_flops);
        bool product = ops[i].flops > 0;
        table_row(out, ops[i].name, ops[i].group, calls, ms, share, product ? rate : "",
                  product && b->peak_flops > 0 ? peak : "");
    }
    char ms[32], share[32];
    snprintf(ms, sizeof(ms), "%.2f", rest);
    snprintf(share, sizeof(share), "%.1f", 100 * rest / step_ms);
    table_rule(out);
    table_row(out, "between operations", "", "", ms, share, "", "");
    table_print(out, stdout);
    table_free(out);
}

static void print_text(const struct bench *b, const struct step_times *t, size_t n)
{
    char params[32], rss[32], peak[32], speed[32];
    double median_ms = MEDIAN_MS(all_s), tokens = (double)(b->B * b->T);
    double flops =
        model_config_train_flops_per_token(&b->model_config, b->T) * tokens * 1e3 / median_ms;
    printf("%s Grok, %s parameters, B=%lld T=%lld, %s, %d threads, %s\n", shape_names[b->o.shape],
           format_count(params, (double)model_config_total_params(&b->model_config)),
           (long long)b->B, (long long)b->T,
           compute_act_dtype(b->compute) == COMPUTE_BF16 ? "bf16" : "fp32", pool_threads(b->pool),
           compute_backend_name(b->compute));
    printf("step %.1f ms (forward %.1f, backward with loss %.1f, clip %.1f, AdamW %.1f), median of "
           "%zu\n",
           median_ms, MEDIAN_MS(forward_s), MEDIAN_MS(backward_s), MEDIAN_MS(clip_s),
           MEDIAN_MS(optimizer_s), n);
    printf("%.1f tokens/s, %s of %s measured peak = %.1f %%; memory %s; %llu allocations in the "
           "last step; loss %.4f to %.4f\n\n",
           1e3 * tokens / median_ms, format_si(speed, flops, "FLOP/s"),
           b->peak_flops > 0 ? format_si(peak, b->peak_flops, "FLOP/s") : "N/A",
           b->peak_flops > 0 ? 100 * flops / b->peak_flops : NAN,
           format_bytes(rss, peak_rss_bytes()), (unsigned long long)t[n - 1].allocations, t[0].loss,
           t[n - 1].loss);
    print_profile(b, n, mean_ms(t, n));
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct error e = {0};
    struct arena a = {0};
    struct option_line line = {.table = &table, .argc = argc, .argv = argv, .arena = &a};
    options_defaults(rows, ARRAY_LEN(rows), &b.o);
    if (options_parse(&line, &b.o, &e) < 0) {
        fprintf(stderr, "bench_train: %s\nhint: %s\n", e.text, e.hint);
        return 2;
    }
    if (line.help) {
        options_print_help(&table, stdout);
        return 0;
    }
    if (bench_open(&b, &e) < 0) {
        fprintf(stderr, "bench_train: %s\nhint: %s\n", e.text, e.hint);
        return 1;
    }
    size_t n = (size_t)b.o.steps;
    struct step_times *t = mem_calloc(n, sizeof(*t));
    for (int64_t i = 0; i < b.o.warmup; i++)
        run_step(&b, i);
    profile_reset();
    for (size_t i = 0; i < n; i++)
        t[i] = run_step(&b, b.o.warmup + (int64_t)i);
    if (b.o.json)
        print_json(&b, t, n);
    else
        print_text(&b, t, n);
    mem_free(t);
    bench_close(&b);
    arena_fini(&a);
    return 0;
}
