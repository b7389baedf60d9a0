/* test_model_stage.c: a model in parts of its layers. Stages one after the other, with several
 * microbatches under way in slots of their own, give the bits of the whole model: losses, every
 * gradient, what is announced and when; under every backend, in both formats, whatever is computed
 * again. */
#include "test_model_support.h"

enum { B = 2, T = 19, M = B * T, LAYERS = 3, BATCHES = 3, MOST = 3 };

static struct model_config kinds(int i)
{
    struct model_config c = i == 0 ? small_config() : i == 1 ? small_grok2() : small_dense();
    c.n_layers = LAYERS;
    return c;
}

struct batches {
    uint32_t inputs[BATCHES][M], targets[BATCHES][M];
    struct model_batch of[BATCHES];
};

static void batches_init(struct batches *s, const struct model_config *c)
{
    for (uint64_t i = 0; i < BATCHES; i++) {
        random_tokens(s->inputs[i], M, c->vocab_size, 10 + i);
        random_tokens(s->targets[i], M, c->vocab_size, 20 + i);
        s->of[i] =
            (struct model_batch){.B = B, .T = T, .inputs = s->inputs[i], .targets = s->targets[i]};
    }
}

/* ------------------------------------------------------------------ stages */

struct announced {
    size_t next; /* rows of the table from here on were announced */
};

/* Layers come last first, and each row once; the table in front of them comes at the end. */
static void announce(void *ctx, size_t first, size_t count)
{
    struct announced *a = ctx;
    assert_int_equal(first + count, a->next);
    assert_true(count > 0);
    a->next = first;
}

struct stage {
    model_t *model;
    model_slot_t *slots[BATCHES]; /* the first is the model's own */
    float *in[BATCHES], *d_out[BATCHES];
    struct announced announced;
};

static void copy_by_name(model_t *to, model_t *from)
{
    const struct param_table *t = model_params(to);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i], *q = param_find(model_params(from), p->name);
        assert_non_null(q);
        assert_int_equal(p->count, q->count);
        model_put(to, i, 0, (int64_t)p->count / p->shape[p->n_dims - 1],
                  model_weights(from) + q->offset);
    }
    model_weights_changed(to);
}

static void stage_open(struct stage *s, const struct model_config *c, const struct rig *like,
                       struct model_options o)
{
    struct error e = {0};
    *s = (struct stage){0};
    o.compute = like->compute;
    o.hooks = (struct model_hooks){.ctx = &s->announced, .grads_ready = announce};
    if (model_new(c, &o, &s->model, &e) < 0) fail_with(&e);
    copy_by_name(s->model, like->model);
    for (int i = 0; i < BATCHES; i++) {
        if (i > 0 && model_slot_new(s->model, &s->slots[i], &e) < 0) fail_with(&e);
        s->in[i] = mem_alloc((size_t)(2 * M * c->d_model) * sizeof(float));
        s->d_out[i] = s->in[i] + M * c->d_model;
    }
    assert_true(model_slot_bytes(s->model) > 0);
}

static void stage_close(struct stage *s)
{
    for (int i = 0; i < BATCHES; i++) {
        model_slot_free(s->slots[i]);
        mem_free(s->in[i]);
    }
    model_free(s->model);
}

/* All forward passes of a stage, then all backward passes, in the same order. */
static void run_stages(struct stage *s, int n, const struct batches *b, struct model_stats *stats)
{
    for (int k = 0; k < n; k++)
        for (int i = 0; i < BATCHES; i++)
            model_stage_forward(s[k].model, s[k].slots[i], &b->of[i], k ? s[k].in[i] : NULL,
                                k + 1 < n ? s[k + 1].in[i] : NULL, stats);
    for (int k = n - 1; k >= 0; k--)
        for (int i = 0; i < BATCHES; i++) {
            struct model_stage_grad g = {.scale = 0.25, .first = i == 0};
            if (k + 1 < n) g.d_out = s[k].d_out[i];
            if (k > 0) g.d_in = s[k - 1].d_out[i];
            s[k].announced.next = model_params(s[k].model)->n_rows;
            model_stage_backward(s[k].model, s[k].slots[i], &b->of[i], &g, stats);
            assert_int_equal(s[k].announced.next, 0);
        }
}

/* ------------------------------------------------------------------ comparison */

static float *gradient_of(model_t *m, const char *name, size_t *count)
{
    const struct param *p = param_find(model_params(m), name);
    if (!p) return NULL;
    *count = p->count;
    return model_gradients(m) + p->offset;
}

/* Every gradient of the whole is the stages'; a tied table's is the sum of two. */
static void compare_gradients(model_t *whole, const struct stage *s, int n)
{
    const struct param_table *t = model_params(whole);
    size_t held = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        const float *want = model_gradients(whole) + p->offset;
        float sum[61 * 24] = {0};
        size_t count = 0, parts = 0;
        const float *have = NULL;
        for (int k = 0; k < n; k++) {
            const float *g = gradient_of(s[k].model, p->name, &count);
            if (!g) continue;
            have = g;
            parts++;
            held++;
            for (size_t j = 0; j < count && p->kind == PARAM_EMBEDDING; j++)
                sum[j] += g[j];
        }
        assert_true(have && (parts == 1 || (parts == 2 && p->kind == PARAM_EMBEDDING)));
        if (parts == 2)
            assert_true(relative_l2(sum, want, count) < 1e-6);
        else if (!have || memcmp(have, want, count * sizeof(float)) != 0)
            fail_msg("the gradient of %s differs", p->name);
    }
    for (int k = 0; k < n; k++)
        held -= model_params(s[k].model)->n_rows;
    assert_int_equal(held, 0);
}

static void check(const struct model_config *c, struct rig_options o, const int64_t *cuts, int n)
{
    struct rig whole;
    struct batches b;
    struct stage s[MOST];
    double load[2][LAYERS * 4] = {{0}};
    struct model_stats want = {.load = load[0]}, have = {.load = load[1]};
    batches_init(&b, c);
    rig_open(&whole, c, B, T, o);
    random_weights(whole.model, 5);
    for (int i = 0; i < BATCHES; i++)
        model_train_step(whole.model, &b.of[i], 0.25, i == 0, &want);
    for (int k = 0; k < n; k++) {
        struct model_options so = {.B = B, .T = T, .training = true, .recompute = o.recompute};
        so.shard.first_layer = cuts[k];
        so.shard.end_layer = cuts[k + 1];
        stage_open(&s[k], c, &whole, so);
    }
    run_stages(s, n, &b, &have);
    assert_true(have.nll == want.nll && have.tokens == want.tokens);
    assert_true(fabs(have.aux - want.aux) <= 1e-12 * fabs(want.aux));
    assert_true(fabs(have.z - want.z) <= 1e-12 * fabs(want.z));
    assert_memory_equal(load[0], load[1], sizeof(load[0]));
    compare_gradients(whole.model, s, n);
    for (int k = 0; k < n; k++)
        stage_close(&s[k]);
    rig_close(&whole);
}

static void test_stages_are_the_whole(void **state)
{
    (void)state;
    static const int64_t two[] = {0, 1, LAYERS}, three[] = {0, 1, 2, LAYERS};
    for (int kind = 0; kind < 3; kind++)
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++)
            for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++) {
                struct model_config c = kinds(kind);
                struct rig_options o = {(enum compute_dtype)dtype, BACKENDS[k], 1, false};
                if (!backend_present(BACKENDS[k])) continue;
                for (int r = 0; r <= MODEL_RECOMPUTE_FULL; r++) {
                    o.recompute = (enum model_recompute)r;
                    check(&c, o, two, 2);
                }
                check(&c, o, three, 3);
            }
}

/* ------------------------------------------------------------------ files, errors */

/* A stage takes its tensors from the whole model's file. */
static void test_a_stage_loads_its_part(void **state)
{
    (void)state;
    static const char dir[] = "tests/golden/data/grok-2-small";
    struct error e = {0};
    struct model_config c;
    struct rig whole;
    if (model_config_load("tests/golden/data/grok-2-small/config.json", &c, &e) < 0) fail_with(&e);
    rig_open(&whole, &c, 1, 4, (struct rig_options){COMPUTE_F32, COMPUTE_AUTO, 1, false});
    if (model_load_weights(whole.model, dir, &e) < 0) fail_with(&e);
    for (int64_t first = 0; first < c.n_layers; first++) {
        struct model_options o = {.compute = whole.compute, .B = 1, .T = 4, .training = true};
        model_t *m;
        o.shard.first_layer = first;
        o.shard.end_layer = first + 1;
        if (model_new(&c, &o, &m, &e) < 0) fail_with(&e);
        if (model_load_weights(m, dir, &e) < 0) fail_with(&e);
        const struct param_table *t = model_params(m);
        for (size_t i = 0; i < t->n_rows; i++) {
            const struct param *p = param_find(model_params(whole.model), t->rows[i].name);
            assert_memory_equal(model_weights(m) + t->rows[i].offset,
                                model_weights(whole.model) + p->offset, p->count * sizeof(float));
        }
        model_free(m);
    }
    rig_close(&whole);
}

static void test_wrong_layers_are_refused(void **state)
{
    (void)state;
    static const int64_t wrong[][2] = {{-1, 2}, {2, 2}, {3, 0}, {0, 4}};
    struct model_config c = kinds(0);
    struct compute_options co = {.dtype = COMPUTE_F32};
    struct error e = {0};
    compute_t *compute;
    if (compute_new(&co, &compute, &e) < 0) fail_with(&e);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct model_options o = {.compute = compute, .B = 1, .T = 4, .training = true};
        model_t *m;
        o.shard.first_layer = wrong[i][0];
        o.shard.end_layer = wrong[i][1];
        assert_int_equal(model_new(&c, &o, &m, &e), ERROR_CONFIG);
        assert_non_null(strstr(e.text, "of a model of 3"));
    }
    compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_are_the_whole),
        cmocka_unit_test(test_a_stage_loads_its_part),
        cmocka_unit_test(test_wrong_layers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
