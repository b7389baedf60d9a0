/* test_model_closed.c: no code of the host touches what would lie on a device. Microbatches of training,
 * evaluation, stages and decoding run with all such memory closed but to operations (struct
 * compute_options): an access from outside ends the program. And what comes out is the bits of an open
 * context, so nothing was left unwritten, either. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_model_support.h"

enum { B = 2, T = 12, M = B * T, V = 61, MOST = 64 };

/* ------------------------------------------------------------------ what a pass gives */

struct outcome {
    struct model_stats stats;
    double load[MOST], prob[MOST], bias[MOST];
    float nll[M], logits[M * V], *gradients;
    size_t n;
};

static void compare(const char *what, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes) != 0) fail_msg("%s differ", what);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    assert_true(a->stats.nll == b->stats.nll && a->stats.aux == b->stats.aux);
    assert_true(a->stats.z == b->stats.z && a->stats.tokens == b->stats.tokens);
    compare("loads", a->load, b->load, sizeof(a->load));
    compare("probabilities", a->prob, b->prob, sizeof(a->prob));
    compare("biases", a->bias, b->bias, sizeof(a->bias));
    compare("losses", a->nll, b->nll, sizeof(a->nll));
    compare("logits", a->logits, b->logits, sizeof(a->logits));
    assert_true(a->n == b->n);
    if (a->gradients) compare("gradients", a->gradients, b->gradients, a->n * sizeof(float));
}

static void take_gradients(struct rig *r, struct outcome *o)
{
    o->n = model_params(r->model)->total;
    o->gradients = mem_alloc(o->n * sizeof(float));
    compute_download(r->compute, o->gradients, model_gradients(r->model), o->n * sizeof(float));
}

static void stats_init(struct outcome *o)
{
    o->stats.load = o->load;
    o->stats.prob = o->prob;
    o->stats.bias = o->bias;
}

/* ------------------------------------------------------------------ training */

struct texts {
    uint32_t tokens[M + 1];
    int32_t doc_start[M];
};

static struct texts make_texts(void)
{
    struct texts t;
    random_tokens(t.tokens, M + 1, V, 5);
    for (int i = 0; i < M; i++)
        t.doc_start[i] = i % T >= 7 ? 7 : 0;
    return t;
}

/* Two microbatches, of which the second has documents; then what is asked of a trained model. */
static struct outcome train(const struct model_config *c, struct rig_options options)
{
    struct outcome o = {0};
    struct texts t = make_texts();
    struct rig r;
    rig_open(&r, c, B, T, options);
    random_weights(r.model, 3);
    for (int64_t e = 0; e < c->n_layers * c->n_experts && c->n_experts > 1; e++)
        model_router_bias(r.model)[e] = 0.01f * (float)(e % 3);
    stats_init(&o);
    struct model_batch b = {.B = B, .T = T, .inputs = t.tokens, .targets = t.tokens + 1};
    model_train_step(r.model, &b, 0.5, true, &o.stats);
    b.doc_start = t.doc_start;
    b.balance = c->n_experts > 1;
    model_train_step(r.model, &b, 0.5, false, &o.stats);
    take_gradients(&r, &o);
    model_evaluate(r.model, &b, &o.stats);
    model_score(r.model, &b, o.nll);
    model_logits(r.model, &b, o.logits);
    rig_close(&r);
    return o;
}

static void both(const struct model_config *c, struct rig_options options)
{
    options.closed = false;
    struct outcome open = train(c, options);
    options.closed = true;
    struct outcome closed = train(c, options);
    same(&closed, &open);
    mem_free(open.gradients);
    mem_free(closed.gradients);
}

static void training(void **state)
{
    const struct model_config configs[] = {small_config(), small_grok2(), small_dense()};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(configs); i++)
        for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++)
            for (int recompute = MODEL_RECOMPUTE_NONE; recompute <= MODEL_RECOMPUTE_FULL;
                 recompute++)
                both(&configs[i],
                     (struct rig_options){.dtype = (enum compute_dtype)dtype,
                                          .threads = 2,
                                          .recompute = (enum model_recompute)recompute});
    both(&configs[0], (struct rig_options){.backend = COMPUTE_REFERENCE, .threads = 1});
}

/* ------------------------------------------------------------------ stages */

static model_t *stage_new(const struct rig *r, const struct model_config *c, int64_t first)
{
    struct error e = {0};
    struct model_options o = {.compute = r->compute, .B = B, .T = T, .training = true};
    o.shard = (struct model_shard){.first_layer = first, .end_layer = first + 1};
    model_t *m;
    if (model_new(c, &o, &m, &e) < 0) fail_with(&e);
    random_weights(m, 3 + (uint64_t)first);
    return m;
}

static void run_stages(bool closed, struct outcome *o)
{
    struct model_config c = small_grok2();
    struct texts t = make_texts();
    struct rig r = {0};
    struct error e = {0};
    struct compute_options co = {.closed = closed};
    if (compute_new(&co, &r.compute, &e) < 0) fail_with(&e);
    model_t *front = stage_new(&r, &c, 0), *back = stage_new(&r, &c, 1);
    model_slot_t *slot;
    if (model_slot_new(front, &slot, &e) < 0) fail_with(&e);
    float *h = mem_alloc(2 * (size_t)(M * c.d_model) * sizeof(float)), *d = h + M * c.d_model;
    stats_init(o);
    const struct model_batch b = {.B = B, .T = T, .inputs = t.tokens, .targets = t.tokens + 1};
    model_stage_forward(front, slot, &b, NULL, h, &o->stats);
    model_stage_forward(back, NULL, &b, h, NULL, &o->stats);
    model_stage_backward(back, NULL, &b, &(struct model_stage_grad){1, true, NULL, d}, &o->stats);
    model_stage_backward(front, slot, &b, &(struct model_stage_grad){1, true, d, NULL}, &o->stats);
    r.model = front;
    take_gradients(&r, o);
    mem_free(h);
    model_slot_free(slot);
    model_free(front);
    model_free(back);
    compute_free(r.compute);
}

static void stages(void **state)
{
    struct outcome open = {0}, closed = {0};
    (void)state;
    run_stages(false, &open);
    run_stages(true, &closed);
    same(&closed, &open);
    mem_free(open.gradients);
    mem_free(closed.gradients);
}

/* ------------------------------------------------------------------ decoding */

/* A prompt, a fork that writes to a shared page, single tokens, and states in front of the head. */
static void decode(struct rig *r, int64_t vocabulary, float *logits, float *states)
{
    struct error e = {0};
    model_decoder_t *d;
    uint32_t tokens[48];
    struct model_row rows[48];
    random_tokens(tokens, ARRAY_LEN(tokens), vocabulary, 8);
    if (model_decoder_new(r->model, &d, &e) < 0) fail_with(&e);
    int32_t s = model_sequence_open(d);
    for (int i = 0; i < 40; i++)
        rows[i] = (struct model_row){s, tokens[i], i, i >= 38};
    if (model_decode_rows(d, rows, 40, logits, &e) < 0) fail_with(&e);
    int32_t fork = model_sequence_fork(d, s, 36);
    for (int i = 0; i < 4; i++)
        rows[i] =
            (struct model_row){i % 2 ? fork : s, tokens[40 + i], (i % 2 ? 36 : 40) + i / 2, true};
    if (model_decode_rows(d, rows, 4, logits + 2 * vocabulary, &e) < 0) fail_with(&e);
    rows[0] = (struct model_row){s, tokens[45], 42, false};
    if (model_decode_states(d, rows, 1, states, &e) < 0) fail_with(&e);
    model_decoder_free(d);
}

static void decode_folder(const char *dir, enum compute_dtype dtype)
{
    float logits[2][6 * 256], states[2][256];
    for (int closed = 0; closed < 2; closed++) {
        struct model_config c;
        struct error e = {0};
        struct rig r;
        struct arena a;
        arena_init(&a);
        if (model_config_load(file_join(&a, dir, "config.json"), &c, &e) < 0) fail_with(&e);
        assert_true(c.vocab_size <= 256 && c.d_model <= 256);
        rig_open(&r, &c, 1, 4,
                 (struct rig_options){.dtype = dtype, .inference = true, .closed = closed});
        if (model_load_weights(r.model, dir, &e) < 0) fail_with(&e);
        memset(logits[closed], 0, sizeof(logits[closed]));
        memset(states[closed], 0, sizeof(states[closed]));
        decode(&r, c.vocab_size, logits[closed], states[closed]);
        rig_close(&r);
        arena_fini(&a);
    }
    compare("logits", logits[0], logits[1], sizeof(logits[0]));
    compare("states", states[0], states[1], sizeof(states[0]));
}

static void decoding(void **state)
{
    static const char *const folders[] = {
        "tests/golden/forms/window-period", "tests/golden/forms/qwen2",
        "tests/golden/forms/qwen3-experts", "tests/golden/forms/rope-yarn-size",
        "tests/golden/forms/output-bias"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++)
            decode_folder(folders[i], (enum compute_dtype)dtype);
}

/* ------------------------------------------------------------------ the proof itself */

/* A touch does end the program: in a process of its own. */
static void touches_are_found(void **state)
{
    struct model_config c = small_config();
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rig r;
        signal(SIGSEGV, SIG_DFL);
        rig_open(&r, &c, B, T, (struct rig_options){.threads = 1, .closed = true});
        model_gradients(r.model)[0] = 1;
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(stages),
        cmocka_unit_test(decoding),
        cmocka_unit_test(touches_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
