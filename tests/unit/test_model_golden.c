/* test_model_golden.c: the model against the float64 reference, in every golden folder: those made
 * by tests/golden/make_golden.py, and the larger ones under ../shared where they are.
 *
 * fp32 bars: logits 2e-5 of the largest, gradients 2e-4 relative L2 per tensor, losses 1e-5
 * relative, the greedy continuation identical.
 *
 * bf16: the error must be what bf16 explains. A rounding to 8 significant bits is off by rho =
 * 2^-9.3 in the mean square (uniform in half a unit of the last place, the significand spread
 * evenly in logarithm), and roundings are independent enough to add in squares. On the way of a
 * value through one layer there are 14: input, weight, output, rotation, attention output, weight,
 * output; input, weight, gate and up, hidden, weight, expert output, sum. Four of them are roundings
 * of weights. How much such a rounding moves logits and gradients depends on the model (a sharp
 * softmax multiplies it, a post-norm of a small output too), and is measured: the fp32 model is run
 * with weights off by a random rho, a few times, and the mean square taken. All 14 in place of the 4
 * move logits by sqrt(14 / 4) of that, and gradients, which meet twice as many, by sqrt(28 / 4).
 * The bound is twice the expected error. A choice of expert that flips is an error of another kind:
 * runs that give the experts other loads than exact arithmetic are not compared. */
#include "test_model_support.h"

#define FP32_LOGITS    2e-5
#define FP32_GRADIENTS 2e-4
#define FP32_LOSSES    1e-5

#define BF16_RHO       0.0016 /* 2^-9.3 */
#define BF16_SAMPLES   4
#define BF16_TRIES     40
#define BF16_LOGITS    (2 * sqrt(14.0 / 4))
#define BF16_GRADIENTS (2 * sqrt(28.0 / 4))

#define GENERATED "tests/golden/data"

/* ------------------------------------------------------------------ one folder */

struct golden {
    struct arena arena;
    struct model_config config;
    struct safetensors batch, expected;
    int64_t B, T;
    uint32_t *inputs, *targets; /* [B, T] of step 0 */
    const char *dir;
};

static void golden_open(struct golden *g, const char *dir)
{
    struct error e = {0};
    *g = (struct golden){.dir = dir};
    arena_init(&g->arena);
    if (model_config_load(file_join(&g->arena, dir, "config.json"), &g->config, &e) < 0 ||
        safetensors_open(file_join(&g->arena, dir, "batch.safetensors"), &g->batch, &e) < 0 ||
        safetensors_open(file_join(&g->arena, dir, "expected.safetensors"), &g->expected, &e) < 0)
        fail_with(&e);
    const struct safetensors_entry *t = safetensors_find(&g->batch, "tokens");
    assert_non_null(t);
    assert_int_equal(t->dtype, ST_I32);
    g->B = t->shape[1];
    g->T = t->shape[2] - 1;
    g->inputs = arena_alloc(&g->arena, (size_t)(g->B * g->T) * sizeof(uint32_t));
    g->targets = arena_alloc(&g->arena, (size_t)(g->B * g->T) * sizeof(uint32_t));
    for (int64_t b = 0; b < g->B; b++) {
        const uint8_t *row = (const uint8_t *)t->data + (size_t)(b * (g->T + 1)) * 4;
        memcpy(g->inputs + b * g->T, row, (size_t)g->T * 4);
        memcpy(g->targets + b * g->T, row + 4, (size_t)g->T * 4);
    }
}

static void golden_close(struct golden *g)
{
    safetensors_close(&g->batch);
    safetensors_close(&g->expected);
    arena_fini(&g->arena);
}

static const struct safetensors_entry *expected(const struct golden *g, const char *name)
{
    const struct safetensors_entry *t = safetensors_find(&g->expected, name);
    if (!t) fail_msg("%s: no '%s'", g->dir, name);
    return t;
}

static float *expected_f32(struct golden *g, const char *name, size_t *n)
{
    const struct safetensors_entry *t = expected(g, name);
    struct error e = {0};
    *n = t->bytes / (t->dtype == ST_F64 ? 8 : 4);
    float *x = arena_alloc(&g->arena, *n * sizeof(float));
    if (safetensors_read_f32(t, x, *n, &e) < 0) fail_with(&e);
    return x;
}

static double expected_number(const struct golden *g, const char *name)
{
    double x;
    memcpy(&x, expected(g, name)->data, sizeof(x));
    return x;
}

/* ------------------------------------------------------------------ what is compared */

/* A gradient that is exactly zero (queries and keys of a single token) cannot be off relatively:
 * it is held against this share of all gradients. */
#define FLOOR 1e-3

static double l2(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static double tensor_error(const float *have, const float *want, size_t n, double floor)
{
    return l2(want, n) > 0 ? relative_l2(have, want, n) : l2(have, n) / floor;
}

struct errors {
    double logits, gradients, losses;
    char worst[64]; /* tensor of the largest gradient error */
    bool greedy;
};

static void compare_loss(struct golden *g, const char *name, double value, struct errors *out)
{
    double want = expected_number(g, name);
    double error = value == want ? 0 : fabs(value - want) / fmax(fabs(want), 1e-12);
    out->losses = fmax(out->losses, error);
}

static void compare_step(struct golden *g, model_t *m, struct errors *out)
{
    struct model_batch b = {.B = g->B, .T = g->T, .inputs = g->inputs, .targets = g->targets};
    struct model_stats s = {0};
    size_t n;
    model_train_step(m, &b, 1, true, &s);
    double ce = s.nll / s.tokens;
    compare_loss(g, "ce", ce, out);
    compare_loss(g, "aux", s.aux, out);
    compare_loss(g, "z", s.z, out);
    compare_loss(g, "loss", ce + g->config.router_aux_coef * s.aux + g->config.router_z_coef * s.z,
                 out);
    const struct param_table *t = model_params(m);
    double floor = FLOOR * l2(model_gradients(m), t->total);
    for (size_t i = 0; i < t->n_rows; i++) {
        const float *want =
            expected_f32(g, arena_printf(&g->arena, "grad.%s", t->rows[i].name), &n);
        assert_int_equal(n, t->rows[i].count);
        double error = tensor_error(model_gradients(m) + t->rows[i].offset, want, n, floor);
        if (error > out->gradients) {
            out->gradients = error;
            memcpy(out->worst, t->rows[i].name, sizeof(out->worst));
        }
    }

    const float *want = expected_f32(g, "logits", &n);
    float *logits = arena_alloc(&g->arena, n * sizeof(float));
    model_logits(m, &b, logits);
    out->logits = relative_max(logits, want, n);
}

/* The reference continues the first 8 tokens (or all there are) of sequence 0 greedily. */
static bool greedy_agrees(struct golden *g, struct rig *r)
{
    const struct safetensors_entry *t = expected(g, "greedy");
    int64_t total = t->shape[0], prompt = total - 16;
    const uint32_t *want = t->data;
    float *logits = arena_alloc(&g->arena, (size_t)g->config.vocab_size * sizeof(float));
    model_t *m = inference_of(r, &g->config, NULL);
    model_cache_t *cache = model_cache_new(m, total);
    bool same = true;
    model_decode(m, cache, want, prompt, logits);
    for (int64_t i = prompt; i < total && same; i++) {
        uint32_t next = (uint32_t)argmax(logits, (size_t)g->config.vocab_size);
        same = next == want[i];
        if (i + 1 < total) model_decode(m, cache, &next, 1, logits);
    }
    model_cache_free(cache);
    model_free(m);
    return same;
}

static void check_fp32(const char *dir, enum compute_backend backend)
{
    struct golden g;
    struct rig r;
    struct error e = {0};
    struct errors x = {0};
    golden_open(&g, dir);
    rig_open(&r, &g.config, g.B, g.T, (struct rig_options){COMPUTE_F32, backend, 1, false});
    if (model_load_weights(r.model, dir, &e) < 0) fail_with(&e);
    compare_step(&g, r.model, &x);
    x.greedy = greedy_agrees(&g, &r);
    print_message("%-44s fp32 %-9s logits %.1e  gradients %.1e (%s)  losses %.1e  greedy %s\n", dir,
                  BACKEND_NAMES[backend], x.logits, x.gradients, x.worst, x.losses,
                  x.greedy ? "same" : "DIFFERENT");
    assert_true(x.logits <= FP32_LOGITS);
    assert_true(x.gradients <= FP32_GRADIENTS);
    assert_true(x.losses <= FP32_LOSSES);
    assert_true(x.greedy);
    rig_close(&r);
    golden_close(&g);
}

/* ------------------------------------------------------------------ bf16 */

/* What one training step gives; kept flat for comparison. */
struct outcome {
    float *logits, *gradients;
    double *load;
    size_t n_logits, n_loads;
};

static struct outcome outcome_of(struct golden *g, model_t *m)
{
    struct model_batch b = {.B = g->B, .T = g->T, .inputs = g->inputs, .targets = g->targets};
    size_t total = model_params(m)->total;
    struct outcome o = {.n_logits = (size_t)(g->B * g->T * g->config.vocab_size),
                        .n_loads = (size_t)(g->config.n_layers * MAX(g->config.n_experts, 1))};
    o.logits = arena_alloc(&g->arena, o.n_logits * sizeof(float));
    o.gradients = arena_alloc(&g->arena, total * sizeof(float));
    o.load = arena_alloc(&g->arena, o.n_loads * sizeof(double));
    struct model_stats s = {.load = o.load};
    model_train_step(m, &b, 1, true, &s);
    model_logits(m, &b, o.logits);
    memcpy(o.gradients, model_gradients(m), total * sizeof(float));
    return o;
}

/* Weights off by rho as rounding would move them: not norms and router, which stay fp32. */
static void add_noise(model_t *m, uint64_t seed)
{
    const struct param_table *t = model_params(m);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (p->kind == PARAM_NORM || p->kind == PARAM_ROUTER) continue;
        for (size_t j = 0; j < p->count; j++)
            model_weights(m)[p->offset + j] *= 1 + (float)(BF16_RHO * rng_normal(seed, i, j));
    }
    model_weights_changed(m);
}

static struct outcome outcome_with(struct golden *g, enum compute_dtype dtype,
                                   enum compute_backend backend, uint64_t noise_seed)
{
    struct rig r;
    struct error e = {0};
    rig_open(&r, &g->config, g->B, g->T, (struct rig_options){dtype, backend, 1, false});
    if (model_load_weights(r.model, g->dir, &e) < 0) fail_with(&e);
    if (noise_seed) add_noise(r.model, noise_seed);
    struct outcome o = outcome_of(g, r.model);
    rig_close(&r);
    return o;
}

static bool same_choices(const struct outcome *a, const struct outcome *b)
{
    return memcmp(a->load, b->load, a->n_loads * sizeof(double)) == 0;
}

/* Mean square relative change of n values over the noisy runs: logits or gradients from `at` on. */
static double noise_effect(const struct outcome *noisy, const struct outcome *exact, bool gradients,
                           size_t at, size_t n)
{
    double sum = 0;
    for (int k = 0; k < BF16_SAMPLES; k++) {
        const float *x = gradients ? noisy[k].gradients : noisy[k].logits;
        const float *y = gradients ? exact->gradients : exact->logits;
        sum += pow(relative_l2(x + at, y + at, n), 2);
    }
    return sqrt(sum / BF16_SAMPLES);
}

/* The largest share of its bound that a tensor's gradient error takes. */
static double worst_gradient(struct golden *g, const struct outcome *bf16,
                             const struct outcome *exact, const struct outcome *noisy,
                             const char **name)
{
    struct param_table t;
    model_params_build(&g->config, &g->arena, &t);
    double worst = 0, floor = FLOOR * l2(exact->gradients, t.total);
    for (size_t i = 0; i < t.n_rows; i++) {
        const struct param *p = &t.rows[i];
        const float *want = exact->gradients + p->offset;
        double error = tensor_error(bf16->gradients + p->offset, want, p->count, floor);
        double bound = BF16_GRADIENTS * noise_effect(noisy, exact, true, p->offset, p->count);
        if (l2(want, p->count) == 0) bound = BF16_GRADIENTS * BF16_RHO;
        if (error > worst * bound) {
            worst = error / bound;
            *name = p->name;
        }
    }
    return worst;
}

/* Runs with noise that keep the choices of experts; false where there are too few. */
static bool noisy_runs(struct golden *g, const struct outcome *exact, struct outcome *noisy)
{
    int found = 0;
    for (uint64_t seed = 1; seed <= BF16_TRIES && found < BF16_SAMPLES; seed++) {
        noisy[found] = outcome_with(g, COMPUTE_F32, COMPUTE_REFERENCE, seed);
        found += same_choices(&noisy[found], exact);
    }
    return found == BF16_SAMPLES;
}

/* False where bf16 chose other experts. */
static bool check_bf16(const char *dir, enum compute_backend backend)
{
    struct golden g;
    golden_open(&g, dir);
    struct outcome noisy[BF16_SAMPLES];
    struct outcome exact = outcome_with(&g, COMPUTE_F32, COMPUTE_REFERENCE, 0);
    struct outcome bf16 = outcome_with(&g, COMPUTE_BF16, backend, 0);
    bool fit = same_choices(&bf16, &exact) && noisy_runs(&g, &exact, noisy);
    if (fit) {
        const char *name = "";
        double logits = relative_l2(bf16.logits, exact.logits, exact.n_logits);
        double bound = BF16_LOGITS * noise_effect(noisy, &exact, false, 0, exact.n_logits);
        double gradients = worst_gradient(&g, &bf16, &exact, noisy, &name);
        print_message("%-44s bf16 %-9s logits %.1e of at most %.1e  gradients %.2f of the bound "
                      "(%s)\n",
                      dir, BACKEND_NAMES[backend], logits, bound, gradients, name);
        assert_true(logits <= bound);
        assert_true(gradients <= 1);
    } else {
        print_message("%-44s bf16 %-9s not compared: other experts are chosen\n", dir,
                      BACKEND_NAMES[backend]);
    }
    golden_close(&g);
    return fit;
}

/* ------------------------------------------------------------------ all folders */

static void list_folders(struct arena *a, const char *parent, char ***paths, size_t *n)
{
    struct error e = {0};
    if (file_list_dir(parent, a, paths, n, &e) < 0) fail_with(&e);
    for (size_t i = 0; i < *n; i++)
        (*paths)[i] = file_join(a, parent, (*paths)[i]);
    assert_true(*n > 0);
}

static const char *shared_golden(struct arena *a)
{
    const char *shared = getenv("COLOSSUS_SHARED");
    return file_join(a, shared ? shared : "../shared", "reference/golden");
}

static void check_folders(const char *parent)
{
    struct arena a;
    char **paths;
    size_t n, compared = 0;
    arena_init(&a);
    list_folders(&a, parent, &paths, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
            if (!backend_present(BACKENDS[k])) continue;
            check_fp32(paths[i], BACKENDS[k]);
            compared += check_bf16(paths[i], BACKENDS[k]);
        }
    assert_true(compared * 2 > n); /* most folders must be fit for bf16 */
    arena_fini(&a);
}

static void test_generated_folders(void **state)
{
    (void)state;
    check_folders(GENERATED);
}

static void test_shared_folders(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    const char *parent = shared_golden(&a);
    if (!file_is_dir(parent)) {
        print_message("SKIPPED: no folder '%s' (set COLOSSUS_SHARED)\n", parent);
        arena_fini(&a);
        skip();
    }
    check_folders(parent);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated_folders),
        cmocka_unit_test(test_shared_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
