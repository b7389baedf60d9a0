/* test_model_step.c: properties of a training step that no golden folder can show: the same bits
 * for any number of threads, no allocation, how gradients add up, documents kept apart, experts
 * without tokens, selection bias, the numbers of evaluation. Every backend of this machine. */
#include "test_model_support.h"

enum { B = 3, T = 19, M = B * T };

struct sample {
    uint32_t inputs[M], targets[M];
    struct model_batch batch;
};

static void sample_init(struct sample *s, const struct model_config *c, uint64_t seed)
{
    random_tokens(s->inputs, M, c->vocab_size, seed);
    random_tokens(s->targets, M, c->vocab_size, seed + 1);
    s->batch = (struct model_batch){.B = B, .T = T, .inputs = s->inputs, .targets = s->targets};
}

static struct model_config kinds(int i)
{
    return i == 0 ? small_config() : i == 1 ? small_grok2() : small_dense();
}

static void open_random(struct rig *r, const struct model_config *c, struct rig_options o)
{
    rig_open(r, c, B, T, o);
    random_weights(r->model, 5);
}

/* Runs `check` for each kind of model, backend and number format. */
static void for_all(void (*check)(const struct model_config *c, struct rig_options o))
{
    for (int kind = 0; kind < 3; kind++)
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
            if (!backend_present(BACKENDS[k])) continue;
            struct model_config c = kinds(kind);
            check(&c, (struct rig_options){COMPUTE_F32, BACKENDS[k], 1, false});
            check(&c, (struct rig_options){COMPUTE_BF16, BACKENDS[k], 1, false});
        }
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof(float)) == 0;
}

/* ------------------------------------------------------------------ threads, memory */

static void check_threads(const struct model_config *c, struct rig_options o)
{
    struct rig one, two;
    struct sample s;
    struct model_stats x = {0}, y = {0};
    float a[M], b[M];
    sample_init(&s, c, 3);
    s.batch.balance = c->n_experts > 1;
    open_random(&one, c, o);
    o.threads = 2;
    open_random(&two, c, o);
    for (int i = 0; i < 2; i++) {
        model_train_step(one.model, &s.batch, 0.5, i == 0, &x);
        model_train_step(two.model, &s.batch, 0.5, i == 0, &y);
    }
    assert_true(x.nll == y.nll && x.aux == y.aux && x.z == y.z);
    assert_true(same_bits(model_gradients(one.model), model_gradients(two.model),
                          model_params(one.model)->total));
    model_score(one.model, &s.batch, a);
    model_score(two.model, &s.batch, b);
    assert_true(same_bits(a, b, M));
    rig_close(&one);
    rig_close(&two);
}

static void test_threads(void **state)
{
    (void)state;
    for_all(check_threads);
}

static void check_allocation(const struct model_config *c, struct rig_options o)
{
    struct rig r;
    struct sample s;
    struct model_stats x = {0};
    o.threads = 2;
    open_random(&r, c, o);
    uint64_t count = 0;
    for (int i = 0; i < 5; i++) {
        sample_init(&s, c, 10 + (uint64_t)i); /* other routing each time */
        if (i == 2) count = mem_alloc_count();
        model_train_step(r.model, &s.batch, 1, i % 2 == 0, &x);
        model_weights_changed(r.model);
    }
    assert_int_equal(mem_alloc_count(), count);
    rig_close(&r);
}

static void test_no_allocation_after_the_second_step(void **state)
{
    (void)state;
    for_all(check_allocation);
}

/* ------------------------------------------------------------------ recomputation */

/* All gradients and the losses of two microbatches: model_params()->total + 4 floats. */
static void step_numbers(struct rig *r, const struct model_config *c, double *load, float *out)
{
    struct sample s, t;
    struct model_stats x = {.load = load};
    sample_init(&s, c, 3);
    sample_init(&t, c, 30);
    model_train_step(r->model, &s.batch, 1, true, &x);
    model_train_step(r->model, &t.batch, 1, false, &x);
    memcpy(out, model_gradients(r->model), model_params(r->model)->total * sizeof(float));
    out += model_params(r->model)->total;
    *out++ = (float)x.nll;
    *out++ = (float)x.aux;
    *out++ = (float)x.z;
    *out++ = (float)x.microbatches;
}

static void check_recompute(const struct model_config *c, struct rig_options o)
{
    double load[3][8] = {{0}};
    float *have[3] = {NULL};
    for (int kind = MODEL_RECOMPUTE_NONE; kind <= MODEL_RECOMPUTE_FULL; kind++) {
        struct rig r;
        o.recompute = (enum model_recompute)kind;
        open_random(&r, c, o);
        size_t n = model_params(r.model)->total + 4;
        have[kind] = mem_calloc(n, sizeof(float));
        step_numbers(&r, c, load[kind], have[kind]);
        assert_true(same_bits(have[kind], have[0], n));
        assert_memory_equal(load[kind], load[0], sizeof(load[0]));
        rig_close(&r);
    }
    for (int kind = 0; kind < 3; kind++)
        mem_free(have[kind]);
}

static void test_recomputation_gives_the_same_bits(void **state)
{
    (void)state;
    for_all(check_recompute);
}

/* The table's line "activations", per token. */
static double activation_bytes(int64_t layers, enum model_recompute kind)
{
    struct rig r;
    struct model_config c = small_dense();
    struct model_memory rows[16];
    rig_open(&r, &c, 1, 4, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    c.n_layers = layers;
    struct model_options o = {
        .compute = r.compute, .B = 4, .T = 1024, .training = true, .recompute = kind};
    size_t n = model_plan_memory(&c, &o, rows, 16);
    double bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].what, "activations") == 0) bytes = (double)rows[i].bytes;
    rig_close(&r);
    return bytes / 4096;
}

static void test_recomputation_keeps_less(void **state)
{
    (void)state;
    /* D 24, H 4, K 2, h 8, Fd 20, 4 bytes an activation: x_attn, y_attn, x_ffn, y_ffn; q, k, v, o;
     * gate and up; lse; four rstd; the residual twice */
    const double hidden = 4 * 2 * 20;
    const double all = 4 * (4 * 24 + (2 * 4 + 2 * 2) * 8) + hidden + 4 * (4 + 4) + 8 * 24;
    const double want[] = {all, all - hidden, 4 * 24};
    for (int kind = MODEL_RECOMPUTE_NONE; kind <= MODEL_RECOMPUTE_FULL; kind++) {
        enum model_recompute k = (enum model_recompute)kind;
        double layer = activation_bytes(9, k) - activation_bytes(8, k);
        assert_true(layer == want[kind]);
    }
}

/* ------------------------------------------------------------------ how gradients add up */

static void check_accumulation(const struct model_config *c, struct rig_options o)
{
    struct rig r;
    struct sample s, t;
    struct model_stats x = {0};
    sample_init(&s, c, 3);
    sample_init(&t, c, 30);
    open_random(&r, c, o);
    size_t n = model_params(r.model)->total;
    float *one = mem_calloc(3 * n, sizeof(float)), *two = one + n, *sum = two + n;
    const float *g = model_gradients(r.model);

    model_train_step(r.model, &s.batch, 1, true, &x);
    memcpy(one, g, n * sizeof(float));
    model_train_step(r.model, &t.batch, 1, true, &x);
    memcpy(two, g, n * sizeof(float));
    /* `first` overwrites whatever is there, also where a step has no gradient of its own */
    for (size_t i = 0; i < model_params(r.model)->n_rows; i++) {
        const struct param *p = &model_params(r.model)->rows[i];
        for (size_t k = 0; k < p->count; k++)
            model_gradients(r.model)[p->offset + k] = NAN;
    }
    model_train_step(r.model, &s.batch, 1, true, &x);
    assert_true(same_bits(g, one, n));
    model_train_step(r.model, &t.batch, 1, false, &x);
    for (size_t i = 0; i < n; i++)
        sum[i] = one[i] + two[i];
    assert_true(relative_l2(g, sum, n) < 1e-6);
    /* the scale is that of the loss */
    model_train_step(r.model, &s.batch, 0.25, true, &x);
    for (size_t i = 0; i < n; i++)
        sum[i] = one[i] * 0.25f;
    assert_true(relative_l2(g, sum, n) < 1e-6);
    mem_free(one);
    rig_close(&r);
}

static void test_gradients_add_up(void **state)
{
    (void)state;
    for_all(check_accumulation);
}

/* Along the gradient the loss must fall as fast as the gradient says: a check of the whole against
 * finite differences that does not lean on the reference. */
static double total_loss(struct rig *r, const struct model_config *c, const struct model_batch *b,
                         double load[8])
{
    struct model_stats s = {.load = load};
    memset(load, 0, 8 * sizeof(*load));
    model_evaluate(r->model, b, &s);
    return s.nll / s.tokens + c->router_aux_coef * s.aux + c->router_z_coef * s.z;
}

/* False where a choice of experts changes between the two points: the loss has a step there. */
static bool check_slope(const struct model_config *c, const struct model_batch *b)
{
    struct rig r;
    struct model_stats s = {0};
    open_random(&r, c, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    size_t n = model_params(r.model)->total;
    float *w = model_weights(r.model), *saved = mem_alloc(n * sizeof(float));
    memcpy(saved, w, n * sizeof(float));
    model_train_step(r.model, b, 1, true, &s);
    const float *g = model_gradients(r.model);
    double norm = 0, value[2], load[2][8];
    for (size_t i = 0; i < n; i++)
        norm += (double)g[i] * (double)g[i];
    const double step = 2e-4 / sqrt(norm);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++)
            w[i] = saved[i] + (float)((k ? step : -step) * (double)g[i]);
        model_weights_changed(r.model);
        value[k] = total_loss(&r, c, b, load[k]);
    }
    bool smooth = memcmp(load[0], load[1], sizeof(load[0])) == 0;
    double slope = (value[1] - value[0]) / (2 * step);
    if (smooth && fabs(slope / norm - 1) > 5e-3) fail_msg("slope %g, gradient %g", slope, norm);
    mem_free(saved);
    rig_close(&r);
    return smooth;
}

static void test_loss_falls_as_the_gradient_says(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct model_config c = kinds(kind);
        struct sample s;
        int32_t doc_start[M];
        int smooth = 0, masked = 0;
        c.router_aux_coef = 0.3;
        c.router_z_coef = 0.05;
        c.attn_softcap = 2;
        c.router_softcap = 2;
        for (int i = 0; i < M; i++)
            doc_start[i] = i % T >= 7 ? 7 : 0;
        for (uint64_t seed = 0; seed < 8; seed++) {
            sample_init(&s, &c, 40 + 2 * seed);
            smooth += check_slope(&c, &s.batch);
            s.batch.doc_start = doc_start;
            masked += check_slope(&c, &s.batch);
        }
        assert_true(smooth >= 6 && masked >= 6);
    }
}

/* ------------------------------------------------------------------ documents */

/* A row of several documents with masking is each document alone. Rotary positions are relative,
 * so that only rounding differs; the temperature counts from the row's start and is off. */
static void check_documents(const struct model_config *c, struct rig_options o)
{
    static const int starts[] = {0, 5, 6, 13, T};
    struct rig r;
    struct sample s;
    int32_t doc_start[M];
    float together[M], apart[M];
    struct model_config plain = *c;
    plain.attn_temperature_len = 0;
    open_random(&r, &plain, o);
    sample_init(&s, c, 8);
    for (int row = 0; row < B; row++)
        for (int d = 0; d < 4; d++)
            for (int t = starts[d]; t < starts[d + 1]; t++)
                doc_start[row * T + t] = starts[d];
    s.batch.doc_start = doc_start;
    model_score(r.model, &s.batch, together);
    for (int row = 0; row < B; row++)
        for (int d = 0; d < 4; d++) {
            int at = row * T + starts[d];
            struct model_batch one = {.B = 1, .T = starts[d + 1] - starts[d]};
            one.inputs = s.inputs + at;
            one.targets = s.targets + at;
            model_score(r.model, &one, apart + at);
        }
    double bound = o.dtype == COMPUTE_F32 ? 1e-5 : 0.05;
    assert_true(relative_l2(together, apart, M) < bound);
    s.batch.doc_start = NULL; /* and without masking they are not */
    model_score(r.model, &s.batch, together);
    assert_true(relative_l2(together, apart, M) > bound);
    rig_close(&r);
}

static void test_documents_are_kept_apart(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
        if (!backend_present(BACKENDS[k])) continue;
        struct model_config c[] = {small_dense(), small_grok2()};
        for (size_t i = 0; i < ARRAY_LEN(c); i++)
            check_documents(&c[i], (struct rig_options){COMPUTE_F32, BACKENDS[k], 1, false});
        /* in bf16 a choice of experts may flip: dense only */
        check_documents(&c[0], (struct rig_options){COMPUTE_BF16, BACKENDS[k], 1, false});
    }
}

/* ------------------------------------------------------------------ experts */

/* A bias chooses experts but does not weigh them: with all chosen it changes nothing. */
static void test_selection_bias(void **state)
{
    (void)state;
    struct model_config c = small_config();
    struct rig r;
    struct sample s;
    float before[M], after[M];
    double load[2 * 4] = {0};
    c.n_experts_used = c.n_experts;
    sample_init(&s, &c, 2);
    struct rig_options o = {COMPUTE_F32, COMPUTE_REFERENCE, 1, true};
    open_random(&r, &c, o);
    model_score(r.model, &s.batch, before);
    model_router_bias(r.model)[2] = 100;
    model_score(r.model, &s.batch, after);
    /* the order of the sum over experts changes, the values do not */
    assert_true(relative_l2(after, before, M) < 1e-6);
    rig_close(&r);

    c.n_experts_used = 1;
    open_random(&r, &c, o);
    for (int i = 0; i < 8; i++)
        assert_true(model_router_bias(r.model)[i] == 0);
    model_router_bias(r.model)[2] = 100;      /* layer 0 */
    model_router_bias(r.model)[4 + 1] = -100; /* layer 1 */
    struct model_stats stats = {.load = load};
    model_evaluate(r.model, &s.batch, &stats);
    assert_true(load[2] == M && load[0] == 0 && load[4 + 1] == 0);
    assert_true(load[4] + load[6] + load[7] == M);
    rig_close(&r);

    struct model_config dense = small_dense();
    open_random(&r, &dense, o);
    assert_null(model_router_bias(r.model));
    rig_close(&r);
}

/* A balanced batch: every layer's experts get their share of the rows; the biases of that are told
 * and those of the model stay, whatever they were; scoring goes by the model's. */
static void check_balanced_batch(const struct model_config *c, struct rig_options o)
{
    if (c->n_experts <= 1) return;
    struct rig r;
    struct sample s;
    int64_t n = c->n_layers * c->n_experts;
    const double share = (double)(M * c->n_experts_used) / (double)c->n_experts;
    double load[2 * 4] = {0}, bias[2 * 4] = {0}, scored[2 * 4] = {0};
    struct model_stats x = {.load = load, .bias = bias}, y = {.load = scored};
    sample_init(&s, c, 3);
    open_random(&r, c, o);
    float *kept = model_router_bias(r.model);
    kept[0] = kept[c->n_experts + 3] = 0.5f; /* far from balance */
    s.batch.balance = true;
    model_train_step(r.model, &s.batch, 1, true, &x);
    for (int64_t i = 0; i < n; i++)
        assert_true(fabs(load[i] - share) <= 0.2 * share);
    for (int64_t i = 0; i < n; i++)
        assert_true(kept[i] == (i == 0 || i == c->n_experts + 3 ? 0.5f : 0));
    s.batch.balance = false;
    model_evaluate(r.model, &s.batch, &y);
    assert_true(scored[0] > 1.5 * share && scored[c->n_experts + 3] > 1.5 * share);
    /* told in the unit of the kept ones: with them the same rows are dealt the same way */
    for (int64_t i = 0; i < c->n_experts; i++)
        kept[i] = (float)bias[i];
    memset(scored, 0, sizeof(scored));
    model_evaluate(r.model, &s.batch, &y);
    for (int64_t i = 0; i < c->n_experts; i++)
        assert_true(scored[i] == load[i]); /* the first layer's, whose rows are the same */
    rig_close(&r);
}

static void test_balanced_batch(void **state)
{
    (void)state;
    for_all(check_balanced_batch);
    struct model_config c = small_config(); /* every token to every expert: nothing to balance */
    struct rig r;
    struct sample s;
    double load[2 * 4] = {0}, bias[2 * 4] = {0};
    struct model_stats x = {.load = load, .bias = bias};
    c.n_experts_used = c.n_experts;
    sample_init(&s, &c, 3);
    s.batch.balance = true;
    open_random(&r, &c, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    model_train_step(r.model, &s.batch, 1, true, &x);
    for (int i = 0; i < 2 * 4; i++)
        assert_true(bias[i] == 0 && load[i] == M);
    rig_close(&r);
}

/* Experts without tokens: their gradients are zero, and overwrite what was there. */
static void check_idle_experts(const struct model_config *c, struct rig_options o)
{
    if (c->n_experts <= 1) return;
    struct rig r;
    struct sample s;
    struct model_stats x = {0};
    sample_init(&s, c, 3);
    open_random(&r, c, o);
    for (int64_t l = 0; l < c->n_layers; l++)
        for (int64_t e = 0; e < c->n_experts; e++)
            model_router_bias(r.model)[l * c->n_experts + e] = e == 1 || e == 3 ? 100 : 0;
    const struct param_table *t = model_params(r.model);
    float *g = model_gradients(r.model);
    for (size_t i = 0; i < t->rows[t->n_rows - 1].offset; i++)
        g[i] = 7;
    model_train_step(r.model, &s.batch, 1, true, &x);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (p->kind != PARAM_EXPERTS) continue;
        size_t each = p->count / 4;
        for (size_t e = 0; e < 4; e++) {
            double size = 0;
            for (size_t k = 0; k < each; k++)
                size += fabs((double)g[p->offset + e * each + k]);
            assert_true((size == 0) == (e == 0 || e == 2));
        }
    }
    rig_close(&r);
}

static void test_idle_experts(void **state)
{
    (void)state;
    for_all(check_idle_experts);
}

/* ------------------------------------------------------------------ shapes, evaluation */

/* One token, one row, less than planned, more rows than planned of fewer tokens. */
static void check_shapes(const struct model_config *c, struct rig_options o)
{
    static const int64_t shapes[][2] = {{1, 1}, {1, T}, {2, 5}, {M, 1}, {7, 8}};
    struct rig r, exact;
    struct sample s;
    float whole[M], part[M];
    sample_init(&s, c, 6);
    open_random(&r, c, o);
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct model_batch b = s.batch;
        struct model_stats x = {0}, y = {0};
        b.B = shapes[i][0];
        b.T = shapes[i][1];
        rig_open(&exact, c, b.B, b.T, o);
        random_weights(exact.model, 5);
        model_score(r.model, &b, whole);
        model_score(exact.model, &b, part);
        assert_true(relative_l2(whole, part, (size_t)(b.B * b.T)) < 1e-6);
        model_train_step(r.model, &b, 1, true, &x);
        model_train_step(exact.model, &b, 1, true, &y);
        assert_true(relative_l2(model_gradients(r.model), model_gradients(exact.model),
                                model_params(r.model)->total) < 1e-5);
        assert_true(x.tokens == (double)(b.B * b.T) && x.microbatches == 1);
        rig_close(&exact);
    }
    rig_close(&r);
}

static void test_shapes(void **state)
{
    (void)state;
    for_all(check_shapes);
}

/* Scores, losses and logits are three views of one thing; training does not change them. A model for
 * inference computes the same up to rounding, and in bfloat16 has a rounded embedding. */
static void check_evaluation(const struct model_config *c, struct rig_options o)
{
    struct rig r, inference;
    struct sample s;
    float nll[M];
    struct model_stats x = {0}, y = {0};
    double *load = mem_calloc(16, sizeof(double)), *prob = load + 8;
    sample_init(&s, c, 9);
    open_random(&r, c, o);
    o.inference = true;
    open_random(&inference, c, o);
    assert_null(model_gradients(inference.model));
    x.load = load;
    x.prob = prob;
    model_train_step(r.model, &s.batch, 1, true, &x);
    model_evaluate(r.model, &s.batch, &y);
    model_evaluate(r.model, &s.batch, &y); /* sums */
    assert_true(2 * x.nll == y.nll && 2 * x.aux == y.aux && 2 * x.z == y.z);
    assert_true(y.tokens == 2 * M && y.microbatches == 2);
    y = (struct model_stats){0};
    model_evaluate(inference.model, &s.batch, &y);
    assert_true(fabs(y.nll / x.nll - 1) < (o.dtype == COMPUTE_F32 ? 1e-5 : 0.02));
    if (c->n_experts > 1)
        for (int l = 0; l < 2; l++) {
            double slots = 0, p = 0;
            for (int e = 0; e < 4; e++) {
                slots += load[l * 4 + e];
                p += prob[l * 4 + e];
            }
            assert_true(slots == (double)(M * c->n_experts_used));
            assert_true(fabs(p - M) < 1e-3);
        }
    model_score(r.model, &s.batch, nll);
    float *logits = mem_alloc((size_t)(M * c->vocab_size) * sizeof(float));
    model_logits(r.model, &s.batch, logits);
    double sum = 0;
    for (int i = 0; i < M; i++) {
        const float *z = logits + i * c->vocab_size;
        double total = 0;
        for (int64_t v = 0; v < c->vocab_size; v++)
            total += exp((double)z[v]);
        double want = log(total) - (double)z[s.targets[i]];
        assert_true(fabs((double)nll[i] - want) < 1e-4);
        sum += (double)nll[i];
    }
    assert_true(sum == x.nll);
    mem_free(logits);
    mem_free(load);
    rig_close(&r);
    rig_close(&inference);
}

static void test_evaluation(void **state)
{
    (void)state;
    for_all(check_evaluation);
}

/* More rows than the head takes at once: chunks must join without a seam. */
static void test_head_in_chunks(void **state)
{
    (void)state;
    struct model_config c = small_dense();
    enum { ROWS = 2500 };
    struct rig r;
    c.vocab_size = 300;
    uint32_t *tokens = mem_alloc(2 * ROWS * sizeof(*tokens));
    float *nll = mem_alloc(2 * ROWS * sizeof(float)), *alone = nll + ROWS;
    random_tokens(tokens, 2 * ROWS, c.vocab_size, 1);
    rig_open(&r, &c, ROWS / 10, 10, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 2, false});
    random_weights(r.model, 5);
    struct model_batch b = {.B = ROWS / 10, .T = 10, .inputs = tokens, .targets = tokens + ROWS};
    struct model_stats s = {0};
    model_train_step(r.model, &b, 1, true, &s);
    size_t n = model_params(r.model)->total;
    float *whole = mem_alloc(2 * n * sizeof(float)), *sum = whole + n;
    memcpy(whole, model_gradients(r.model), n * sizeof(float));
    model_score(r.model, &b, nll);
    for (int i = 0; i < ROWS / 10; i += 50) {
        struct model_batch part = {.B = 50, .T = 10};
        part.inputs = tokens + i * 10;
        part.targets = tokens + ROWS + i * 10;
        model_score(r.model, &part, alone + i * 10);
        model_train_step(r.model, &part, 50.0 / (ROWS / 10), i == 0, &s);
    }
    assert_true(relative_l2(nll, alone, ROWS) < 1e-6);
    memcpy(sum, model_gradients(r.model), n * sizeof(float));
    assert_true(relative_l2(sum, whole, n) < 1e-5);
    mem_free(tokens);
    mem_free(nll);
    mem_free(whole);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_allocation_after_the_second_step),
        cmocka_unit_test(test_recomputation_gives_the_same_bits),
        cmocka_unit_test(test_recomputation_keeps_less),
        cmocka_unit_test(test_gradients_add_up),
        cmocka_unit_test(test_loss_falls_as_the_gradient_says),
        cmocka_unit_test(test_documents_are_kept_apart),
        cmocka_unit_test(test_selection_bias),
        cmocka_unit_test(test_balanced_batch),
        cmocka_unit_test(test_idle_experts),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_head_in_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
