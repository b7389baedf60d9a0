/* test_train_optim.c: AdamW against its formula in double, and Muon against what it promises. */
#include "test_train_util.h"

struct bench { /* a small model with random weights and gradients */
    struct pool *pool;
    compute_t *compute;
    model_t *model;
    struct train_config config;
};

static void open_bench(struct bench *b, enum compute_dtype dtype, int optimizer, int threads)
{
    struct error e = {0};
    memset(b, 0, sizeof(*b));
    model_config_defaults(&b->config.model);
    options_defaults(train_run_rows, train_run_n_rows, &b->config);
    b->config.optimizer = optimizer;
    struct model_config *m = &b->config.model;
    m->vocab_size = 40;
    m->n_layers = 2;
    m->d_model = 48;
    m->n_heads = 3;
    m->n_kv_heads = 1;
    m->head_dim = 16;
    m->ffn_hidden = 80;
    m->n_experts = 3;
    m->n_experts_used = 2;
    m->dense_ffn_hidden = 32;
    m->context_length = 16;
    m->embedding_multiplier = m->output_multiplier = m->attn_multiplier = 0;
    model_config_derive(m);
    b->pool = pool_new(threads);
    struct compute_options co = {.dtype = dtype, .pool = b->pool};
    assert_true(compute_new(&co, &b->compute, &e) >= 0);
    struct model_options mo = {
        .compute = b->compute, .B = 1, .T = 16, .training = true, .shard = {0, 1, 0, 1}};
    if (model_new(m, &mo, &b->model, &e) < 0) fail_msg("%s", e.text);
    model_init_weights(b->model, 7);
}

static void close_bench(struct bench *b)
{
    model_free(b->model);
    compute_free(b->compute);
    pool_free(b->pool);
}

static void random_gradients(struct bench *b, uint64_t seed)
{
    const struct param_table *t = model_params(b->model);
    for (size_t i = 0; i < t->n_rows; i++) {
        float *g = model_gradients(b->model) + t->rows[i].offset;
        for (size_t j = 0; j < t->rows[i].count; j++)
            g[j] = (float)(0.1 * rng_normal(seed, i, j));
    }
}

/* Three AdamW updates of every tensor, in double. */
static void test_adamw_is_its_formula(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, COMPUTE_F32, TRAIN_OPTIMIZER_ADAMW, 2);
    const struct param_table *t = model_params(b.model);
    const struct train_config *c = &b.config;
    double *p = mem_calloc(t->total, sizeof(double)), *m = mem_calloc(t->total, sizeof(double));
    double *v = mem_calloc(t->total, sizeof(double));
    for (size_t i = 0; i < t->total; i++)
        p[i] = (double)model_weights(b.model)[i];
    train_optim_t *o = train_optim_new(b.compute, b.model, c, NULL, NULL);
    assert_non_null(o);
    for (int step = 1; step <= 3; step++) {
        const double fraction = 0.5 * step, scale = 0.7;
        random_gradients(&b, (uint64_t)step);
        train_optim_step(o, fraction, step, scale);
        for (size_t i = 0; i < t->n_rows; i++) {
            const struct param *row = &t->rows[i];
            double lr = c->lr * fraction * row->lr_multiplier;
            for (size_t j = row->offset; j < row->offset + row->count; j++) {
                double g = scale * (double)model_gradients(b.model)[j];
                m[j] = c->beta1 * m[j] + (1 - c->beta1) * g;
                v[j] = c->beta2 * v[j] + (1 - c->beta2) * g * g;
                double mh = m[j] / (1 - pow(c->beta1, step)), vh = v[j] / (1 - pow(c->beta2, step));
                double decay = row->decay ? c->weight_decay : 0;
                p[j] -= lr * (mh / (sqrt(vh) + c->eps) + decay * p[j]);
            }
        }
    }
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *row = &t->rows[i];
        for (size_t j = row->offset; j < row->offset + row->count; j++) {
            if (fabs((double)model_weights(b.model)[j] - p[j]) > 2e-6 * fmax(1, fabs(p[j])))
                fail_msg("%s[%zu]: %.9g, wanted %.9g", row->name, j - row->offset,
                         (double)model_weights(b.model)[j], p[j]);
        }
    }
    mem_free(p);
    mem_free(m);
    mem_free(v);
    train_optim_free(o);
    close_bench(&b);
}

static void test_multipliers_can_be_off(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, COMPUTE_F32, TRAIN_OPTIMIZER_ADAMW, 1);
    const struct param *p = param_find(model_params(b.model), "blk.0.attn_q.weight");
    assert_true(p->lr_multiplier > 2); /* 512 / 48: else this test shows nothing */
    b.config.mup = false;
    b.config.weight_decay = 0;
    train_optim_t *o = train_optim_new(b.compute, b.model, &b.config, NULL, NULL);
    random_gradients(&b, 1);
    float before = model_weights(b.model)[p->offset];
    train_optim_step(o, 1, 1, 1);
    double moved = fabs((double)model_weights(b.model)[p->offset] - (double)before);
    assert_true(fabs(moved - b.config.lr) < 1e-6); /* Adam's first step is lr in each weight */
    train_optim_free(o);
    close_bench(&b);
}

/* x [rows, cols] -> x x^T, or x^T x where there are more rows; its side. */
static int64_t gram(const float *x, int64_t rows, int64_t cols, double *out)
{
    int64_t n = MIN(rows, cols), k = MAX(rows, cols);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += rows <= cols ? (double)x[i * cols + l] * (double)x[j * cols + l]
                                    : (double)x[l * cols + i] * (double)x[l * cols + j];
            out[i * n + j] = sum;
        }
    }
    return n;
}

/* Smallest and largest eigenvalue of a symmetric matrix, by Jacobi rotations. */
static void eigenvalues(double *a, int64_t n, double *smallest, double *largest)
{
    for (int sweep = 0; sweep < 30; sweep++) {
        for (int64_t p = 0; p < n; p++) {
            for (int64_t q = p + 1; q < n; q++) {
                if (fabs(a[p * n + q]) < 1e-14) continue;
                double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                double t = copysign(1, theta) / (fabs(theta) + sqrt(theta * theta + 1));
                double c = 1 / sqrt(t * t + 1), s = t * c;
                for (int64_t k = 0; k < n; k++) {
                    double x = a[k * n + p], y = a[k * n + q];
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for (int64_t k = 0; k < n; k++) {
                    double x = a[p * n + k], y = a[q * n + k];
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                }
            }
        }
    }
    *smallest = *largest = a[0];
    for (int64_t i = 1; i < n; i++) {
        *smallest = fmin(*smallest, a[i * n + i]);
        *largest = fmax(*largest, a[i * n + i]);
    }
}

/* u [out, in] becomes the orthogonal factor of itself, which is what a step of rate 1 takes from
 * weights of 0, but for the sign and the factor of its shape. */
static void orthogonalize(struct bench *b, int64_t out, int64_t in, float *u)
{
    size_t n = (size_t)(out * in);
    struct param p = {.kind = PARAM_MATRIX, .n_dims = 2, .shape = {out, in}, .count = n};
    memcpy(p.whole, p.shape, sizeof(p.whole));
    struct param_table table = {.rows = &p, .n_rows = 1, .total = n};
    float *momenta = mem_calloc(n, sizeof(float)), *weights = mem_calloc(n, sizeof(float));
    train_muon_t *m =
        train_muon_new(b->compute, &table, &(struct train_muon_options){&b->config, NULL, NULL});
    train_muon_step(m, 1, 1, u, momenta, weights);
    for (size_t i = 0; i < n; i++)
        u[i] = -weights[i] / (float)sqrt(fmax(1, (double)out / (double)in));
    train_muon_free(m);
    mem_free(momenta);
    mem_free(weights);
}

static void check_orthogonal(enum compute_dtype dtype, int64_t out, int64_t in)
{
    struct bench b;
    open_bench(&b, dtype, TRAIN_OPTIMIZER_MUON, 2);
    size_t n = (size_t)(out * in);
    float *u = mem_calloc(n, sizeof(float));
    double *g = mem_calloc(n, sizeof(double)), smallest, largest, agree = 0, before = 0;
    for (size_t i = 0; i < n; i++)
        u[i] = (float)rng_normal(3, 0, i);
    float *x = mem_alloc(n * sizeof(float));
    memcpy(x, u, n * sizeof(float));
    orthogonalize(&b, out, in, u);
    eigenvalues(g, gram(u, out, in, g), &smallest, &largest);
    /* Singular values, the roots of these, end near 1: the polynomial's band is 0.68 to 1.13 for
     * those that started above 0.02, which a random matrix of such shapes has. */
    assert_true(sqrt(smallest) > 0.6 && sqrt(largest) < 1.25);
    for (size_t i = 0; i < n; i++) { /* and it points where the gradient does */
        agree += (double)x[i] * (double)u[i];
        before += (double)x[i] * (double)x[i];
    }
    assert_true(agree / sqrt(before * (double)MIN(out, in)) > 0.7);
    mem_free(u);
    mem_free(x);
    mem_free(g);
    close_bench(&b);
}

static void test_muon_orthogonalizes(void **state)
{
    (void)state;
    check_orthogonal(COMPUTE_F32, 48, 80);
    check_orthogonal(COMPUTE_F32, 80, 48);
    check_orthogonal(COMPUTE_F32, 16, 48);
    check_orthogonal(COMPUTE_BF16, 48, 80);
    check_orthogonal(COMPUTE_BF16, 80, 48);
    /* squares of several panels, the last of them narrower */
    check_orthogonal(COMPUTE_F32, 200, 520);
    check_orthogonal(COMPUTE_F32, 520, 200);
    check_orthogonal(COMPUTE_BF16, 200, 520);
}

/* One iteration in double: what the polynomial must give to a matrix of known singular values. */
static void test_muon_polynomial(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, COMPUTE_F32, TRAIN_OPTIMIZER_MUON, 1);
    b.config.muon_steps = 1;
    float u[4 * 6] = {0};
    const double s[4] = {4, 2, 1, 0.5}; /* a diagonal matrix: its singular values */
    double norm = sqrt(16 + 4 + 1 + 0.25);
    for (int i = 0; i < 4; i++)
        u[i * 6 + i] = (float)s[i];
    orthogonalize(&b, 4, 6, u);
    for (int i = 0; i < 4; i++) {
        double x = s[i] / norm, x3 = x * x * x;
        double want = 3.4445 * x - 4.7750 * x3 + 2.0315 * x3 * x * x;
        assert_true(fabs((double)u[i * 6 + i] - want) < 1e-6);
    }
    close_bench(&b);
}

static void test_muon_updates_matrices_only(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, COMPUTE_F32, TRAIN_OPTIMIZER_MUON, 1);
    const struct param_table *t = model_params(b.model);
    b.config.weight_decay = 0;
    train_optim_t *o = train_optim_new(b.compute, b.model, &b.config, NULL, NULL);
    float *before = mem_alloc(t->total * sizeof(float));
    memcpy(before, model_weights(b.model), t->total * sizeof(float));
    random_gradients(&b, 5);
    train_optim_step(o, 1, 1, 1);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        bool muon = p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS;
        assert_int_equal(train_optim_uses_v(&b.config, p), !muon);
        double v = compute_sum_squares(b.compute, train_optim_v(o) + p->offset, p->count);
        assert_int_equal(v > 0, !muon);
        if (!muon) continue;
        /* an orthogonal update of n = min(out, in) singular values near 1 has |u|^2 about n */
        int64_t in = p->shape[p->n_dims - 1], out = p->shape[p->n_dims - 2];
        double n = (double)(MIN(in, out) * (p->n_dims == 3 ? p->shape[0] : 1)), moved = 0;
        for (size_t j = p->offset; j < p->offset + p->count; j++)
            moved += pow((double)model_weights(b.model)[j] - (double)before[j], 2);
        double want = b.config.muon_lr * sqrt(fmax(1, (double)out / (double)in)) * sqrt(n);
        assert_true(sqrt(moved) > 0.7 * want && sqrt(moved) < 1.2 * want);
    }
    mem_free(before);
    train_optim_free(o);
    close_bench(&b);
}

static void test_muon_survives_a_silent_expert(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, COMPUTE_F32, TRAIN_OPTIMIZER_MUON, 1);
    const struct param *p = param_find(model_params(b.model), "blk.0.ffn_up_exps.weight");
    train_optim_t *o = train_optim_new(b.compute, b.model, &b.config, NULL, NULL);
    random_gradients(&b, 5);
    size_t one = p->count / 3;
    memset(model_gradients(b.model) + p->offset + one, 0, one * sizeof(float));
    train_optim_step(o, 1, 1, 1);
    assert_true(compute_all_finite(b.compute, model_weights(b.model) + p->offset, p->count));
    train_optim_free(o);
    close_bench(&b);
}

static void test_same_for_any_number_of_threads(void **state)
{
    (void)state;
    for (int optimizer = 0; optimizer < 2; optimizer++) {
        struct bench b[2];
        for (int i = 0; i < 2; i++) {
            open_bench(&b[i], COMPUTE_F32, optimizer, i == 0 ? 1 : 3);
            train_optim_t *o = train_optim_new(b[i].compute, b[i].model, &b[i].config, NULL, NULL);
            for (int step = 1; step <= 3; step++) {
                random_gradients(&b[i], (uint64_t)step);
                train_optim_step(o, 1, step, 1);
            }
            train_optim_free(o);
        }
        assert_memory_equal(model_weights(b[0].model), model_weights(b[1].model),
                            model_params(b[0].model)->total * sizeof(float));
        close_bench(&b[0]);
        close_bench(&b[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_its_formula),
        cmocka_unit_test(test_multipliers_can_be_off),
        cmocka_unit_test(test_muon_orthogonalizes),
        cmocka_unit_test(test_muon_polynomial),
        cmocka_unit_test(test_muon_updates_matrices_only),
        cmocka_unit_test(test_muon_survives_a_silent_expert),
        cmocka_unit_test(test_same_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
