/* test_model_shard.c: the hooks of a model that is one of several. Two halves of a model in two
 * threads, whose hooks sum, are the whole model: losses, scores, decoding, and every gradient's
 * part. And gradients are announced once, in order, when they are final. */
#include "test_model_support.h"
#include "weights_file.h"

#include <pthread.h>

enum { B = 3, T = 13, M = B * T }; /* two processes divide 39 rows: 19 and 20 */

static struct model_config kinds(int i)
{
    return i == 0 ? small_config() : i == 1 ? small_grok2() : small_dense();
}

/* ------------------------------------------------------------------ a group of two in memory */

struct group {
    pthread_barrier_t barrier;
    float *offered[2];
    size_t n[2];
};

struct member {
    struct group *group;
    int rank;
    const struct model_config *config;
    const struct model_batch *batch;
    struct rig rig;
    struct model_stats stats;
    float nll[M], logits[64];
    int sums;
    struct model_options options;
};

/* Both offer their array; the first adds the second's and copies the sum there. */
static void group_sum(void *ctx, void *x, size_t n, enum compute_dtype dtype)
{
    struct member *me = ctx;
    struct group *g = me->group;
    assert_int_equal(dtype, COMPUTE_F32);
    g->offered[me->rank] = x;
    g->n[me->rank] = n;
    me->sums++;
    pthread_barrier_wait(&g->barrier);
    if (me->rank == 0) {
        assert_int_equal(g->n[0], g->n[1]);
        for (size_t i = 0; i < n; i++)
            g->offered[1][i] = g->offered[0][i] += g->offered[1][i];
    }
    pthread_barrier_wait(&g->barrier);
}

/* Sums [first, end) of x for process `owner`. */
static void sum_part(struct member *me, float *x, size_t first, size_t end, int owner)
{
    struct group *g = me->group;
    g->offered[me->rank] = x;
    pthread_barrier_wait(&g->barrier);
    if (me->rank == owner)
        for (size_t i = first; i < end; i++)
            x[i] = g->offered[0][i] + g->offered[1][i];
    pthread_barrier_wait(&g->barrier);
}

static void group_sum_rows(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype)
{
    struct member *me = ctx;
    assert_int_equal(dtype, COMPUTE_F32);
    for (int owner = 0; owner < 2; owner++)
        sum_part(me, x, bounds[owner], bounds[owner + 1], owner);
}

static void group_gather_rows(void *ctx, void *x, const size_t *bounds, enum compute_dtype dtype)
{
    struct member *me = ctx;
    struct group *g = me->group;
    int other = 1 - me->rank;
    assert_int_equal(dtype, COMPUTE_F32);
    g->offered[me->rank] = x;
    pthread_barrier_wait(&g->barrier);
    memcpy((float *)x + bounds[other], g->offered[other] + bounds[other],
           (bounds[other + 1] - bounds[other]) * sizeof(float));
    pthread_barrier_wait(&g->barrier);
}

static void member_open(struct member *me)
{
    struct error e = {0};
    struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
    if (compute_new(&co, &me->rig.compute, &e) < 0) fail_with(&e);
    struct model_options o = {.compute = me->rig.compute, .B = B, .T = T, .training = true};
    o.shard = (struct model_shard){me->rank, 2, 0, 1};
    o.hooks = (struct model_hooks){.ctx = me,
                                   .sum_tensor = group_sum,
                                   .sum_rows = group_sum_rows,
                                   .gather_rows = group_gather_rows};
    if (model_new(me->config, &o, &me->rig.model, &e) < 0) fail_with(&e);
    me->options = o;
}

static void *member_run(void *ctx)
{
    struct member *me = ctx;
    model_t *m = me->rig.model;
    model_train_step(m, me->batch, 0.7, true, &me->stats);
    const struct param_table *t = model_params(m);
    for (size_t i = 0; i < t->n_rows; i++)
        if (param_is_of_rows(&t->rows[i]))
            group_sum(me, model_gradients(m) + t->rows[i].offset, t->rows[i].count, COMPUTE_F32);
    model_score(m, me->batch, me->nll);
    model_t *inference = inference_of(&me->rig, me->config, &me->options);
    model_cache_t *c = model_cache_new(inference, T);
    model_decode(inference, c, me->batch->inputs, T, me->logits);
    model_cache_free(c);
    model_free(inference);
    return NULL;
}

/* The part of the whole tensor w that a member of two holds, as loading cuts it. */
static void cut(const struct param *whole, const struct param *part, int rank, const float *w,
                float *out)
{
    for (size_t i = 0; i < part->count; i++) {
        size_t index[3] = {0}, rest = i, at = 0;
        for (int d = part->n_dims - 1; d >= 0; d--) {
            index[d] = rest % (size_t)part->shape[d];
            rest /= (size_t)part->shape[d];
            if (part->shape[d] < whole->shape[d]) index[d] += (size_t)(rank * part->shape[d]);
        }
        for (int d = 0; d < part->n_dims; d++)
            at = at * (size_t)whole->shape[d] + index[d];
        out[i] = w[at];
    }
}

static void compare_gradients(const struct rig *whole, const struct member *me)
{
    const struct param_table *t = model_params(whole->model), *s = model_params(me->rig.model);
    float *want = mem_alloc(t->total * sizeof(float));
    assert_int_equal(t->n_rows, s->n_rows);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &s->rows[i];
        assert_string_equal(p->name, t->rows[i].name);
        assert_true(p->lr_multiplier == t->rows[i].lr_multiplier);
        assert_true(p->init_std == t->rows[i].init_std && p->fan_in == t->rows[i].fan_in);
        cut(&t->rows[i], p, me->rank, model_gradients(whole->model) + t->rows[i].offset, want);
        double error = relative_l2(model_gradients(me->rig.model) + p->offset, want, p->count);
        if (error > 1e-5) fail_msg("rank %d, %s: %g", me->rank, p->name, error);
    }
    mem_free(want);
}

static void check_halves(const struct model_config *c)
{
    uint32_t inputs[M], targets[M];
    struct model_batch b = {.B = B, .T = T, .inputs = inputs, .targets = targets};
    struct group group = {0};
    struct member members[2];
    struct rig whole;
    struct model_stats stats = {0};
    struct error e = {0};
    pthread_t threads[2];
    char dir[] = "/tmp/colossus-test-XXXXXX";
    struct arena a;
    arena_init(&a);
    assert_non_null(mkdtemp(dir));
    random_tokens(inputs, M, c->vocab_size, 1);
    random_tokens(targets, M, c->vocab_size, 2);
    rig_open(&whole, c, B, T, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    random_weights(whole.model, 3);
    const char *file = file_join(&a, dir, "w.safetensors");
    if (weights_file_write(whole.model, c, false, file, &e) < 0) fail_with(&e);

    pthread_barrier_init(&group.barrier, NULL, 2);
    for (int i = 0; i < 2; i++) {
        members[i] = (struct member){.group = &group, .rank = i, .config = c, .batch = &b};
        member_open(&members[i]);
        if (model_load_weights(members[i].rig.model, file, &e) < 0) fail_with(&e);
        assert_int_equal(pthread_create(&threads[i], NULL, member_run, &members[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    float nll[M], logits[64];
    model_train_step(whole.model, &b, 0.7, true, &stats);
    model_score(whole.model, &b, nll);
    model_t *inference = inference_of(&whole, c, NULL);
    model_cache_t *cache = model_cache_new(inference, T);
    model_decode(inference, cache, inputs, T, logits);
    model_cache_free(cache);
    model_free(inference);
    for (int i = 0; i < 2; i++) {
        struct member *me = &members[i];
        assert_true(fabs(me->stats.nll / stats.nll - 1) < 1e-6);
        assert_true(fabs(me->stats.aux - stats.aux) < 1e-6);
        assert_true(relative_l2(me->nll, nll, M) < 1e-5);
        assert_true(relative_l2(me->logits, logits, (size_t)c->vocab_size) < 1e-5);
        assert_true(me->sums > 0 &&
                    model_params(me->rig.model)->total < model_params(whole.model)->total);
        compare_gradients(&whole, me);
        rig_close(&me->rig);
    }
    pthread_barrier_destroy(&group.barrier);
    rig_close(&whole);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

static void test_two_halves_are_the_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct model_config c = kinds(i);
        check_halves(&c);
    }
}

/* Halves drawn by themselves are the halves of the whole. */
static void test_halves_are_drawn_alike(void **state)
{
    (void)state;
    struct model_config c = small_grok2();
    struct rig whole;
    rig_open(&whole, &c, B, T, (struct rig_options){COMPUTE_F32, COMPUTE_REFERENCE, 1, false});
    model_init_weights(whole.model, 9);
    const struct param_table *t = model_params(whole.model);
    float *want = mem_alloc(t->total * sizeof(float));
    for (int rank = 0; rank < 2; rank++) {
        struct group group = {0};
        struct member me = {.group = &group, .rank = rank, .config = &c};
        member_open(&me);
        model_init_weights(me.rig.model, 9);
        const struct param_table *s = model_params(me.rig.model);
        for (size_t i = 0; i < t->n_rows; i++) {
            cut(&t->rows[i], &s->rows[i], rank, model_weights(whole.model) + t->rows[i].offset,
                want);
            assert_memory_equal(model_weights(me.rig.model) + s->rows[i].offset, want,
                                s->rows[i].count * sizeof(float));
        }
        rig_close(&me.rig);
    }
    mem_free(want);
    rig_close(&whole);
}

/* ------------------------------------------------------------------ announcements */

struct announcements {
    model_t *m;
    float *copy; /* gradients as they were when announced */
    int *times;
    size_t last; /* first row of the announcement before */
};

static void announced(void *ctx, size_t first, size_t count)
{
    struct announcements *a = ctx;
    const struct param_table *t = model_params(a->m);
    assert_true(first < a->last && first + count <= t->n_rows);
    a->last = first;
    for (size_t i = first; i < first + count; i++) {
        const struct param *p = &t->rows[i];
        memcpy(a->copy + p->offset, model_gradients(a->m) + p->offset, p->count * sizeof(float));
        a->times[i]++;
    }
}

static void test_gradients_are_announced(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct model_config c = kinds(i);
        uint32_t tokens[2 * M];
        struct announcements a = {.last = SIZE_MAX};
        struct error e = {0};
        struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
        struct model_options o = {.B = B, .T = T, .training = true};
        o.hooks = (struct model_hooks){.ctx = &a, .grads_ready = announced};
        if (compute_new(&co, &o.compute, &e) < 0) fail_with(&e);
        if (model_new(&c, &o, &a.m, &e) < 0) fail_with(&e);
        random_weights(a.m, 1);
        random_tokens(tokens, 2 * M, c.vocab_size, 1);
        const struct param_table *t = model_params(a.m);
        a.copy = mem_calloc(t->total, sizeof(float));
        a.times = mem_calloc(t->n_rows, sizeof(int));
        struct model_batch b = {.B = B, .T = T, .inputs = tokens, .targets = tokens + M};
        struct model_stats s = {0};
        model_train_step(a.m, &b, 1, true, &s);
        for (size_t k = 0; k < t->n_rows; k++)
            assert_int_equal(a.times[k], 1);
        assert_memory_equal(a.copy, model_gradients(a.m), t->total * sizeof(float));
        mem_free(a.copy);
        mem_free(a.times);
        model_free(a.m);
        compute_free(o.compute);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_halves_are_the_whole),
        cmocka_unit_test(test_halves_are_drawn_alike),
        cmocka_unit_test(test_gradients_are_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
