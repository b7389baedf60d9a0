/* cuda_model.c: whole models on the GPU that is not there, by the program's own driver code: every
 * gradient of training steps, losses, and decoding over pages, beside the same on the CPU.
 *
 *     cuda_model [--quick]      LD_LIBRARY_PATH leads to the fake libcuda.so.1
 *
 * Prints "ok NAME" and "not ok NAME: WHY". Bounds: fp32 differs by the order of sums; bf16 by roundings
 * that fall the other way, which later layers carry on. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_model_support.h"

enum { B = 2, T = 12, M = B * T, MOST = 64 };

static int failed;
static char why[256];

static void want(const char *what, double off, double bound)
{
    if (off <= bound || why[0]) return; /* not a number: not within the bound */
    snprintf(why, sizeof(why), "%s: off by %.3g, at most %.3g", what, off, bound);
}

static void tell(const char *name)
{
    failed += why[0] != 0;
    printf(why[0] ? "not ok %s: %s\n" : "ok %s\n", name, why);
    fflush(stdout);
    why[0] = 0;
}

static void must(int rc, const struct error *e)
{
    if (rc >= 0) return;
    fprintf(stderr, "cuda_model: %s (%s)\n", e->text, e->hint);
    exit(2);
}

/* ------------------------------------------------------------------ what runs */

static struct rig open_rig(const struct model_config *c, enum compute_dtype dtype, bool gpu,
                           struct model_options o)
{
    struct rig r = {0};
    struct error e = {0};
    struct compute_options co = {.dtype = dtype, .backend = gpu ? COMPUTE_CUDA : COMPUTE_REFERENCE};
    must(compute_new(&co, &r.compute, &e), &e);
    o.compute = r.compute;
    must(model_new(c, &o, &r.model, &e), &e);
    return r;
}

/* ------------------------------------------------------------------ training */

struct outcome {
    struct model_stats stats;
    double load[MOST], prob[MOST], bias[MOST];
    float nll[M], *gradients;
};

static void train(const struct model_config *c, enum compute_dtype dtype, bool gpu,
                  struct outcome *o)
{
    uint32_t tokens[M + 1];
    int32_t doc_start[M];
    struct rig r =
        open_rig(c, dtype, gpu, (struct model_options){.B = B, .T = T, .training = true});
    size_t n = model_params(r.model)->total;
    random_weights(r.model, 3);
    random_tokens(tokens, M + 1, c->vocab_size, 5);
    for (int i = 0; i < M; i++)
        doc_start[i] = i % T >= 7 ? 7 : 0;
    o->stats = (struct model_stats){.load = o->load, .prob = o->prob, .bias = o->bias};
    struct model_batch b = {.B = B, .T = T, .inputs = tokens, .targets = tokens + 1};
    model_train_step(r.model, &b, 0.5, true, &o->stats);
    b.doc_start = doc_start;
    b.balance = c->n_experts > 1 && dtype == COMPUTE_F32; /* a choice may fall the other way */
    model_train_step(r.model, &b, 0.5, false, &o->stats);
    model_score(r.model, &b, o->nll);
    o->gradients = mem_alloc(n * sizeof(float));
    compute_download(r.compute, o->gradients, model_gradients(r.model), n * sizeof(float));
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)o->gradients[i] * (double)o->gradients[i];
    double sum = compute_sum_squares(r.compute, model_gradients(r.model), n);
    want("sum of squares", fabs(sum / squares - 1), 1e-6);
    want("numbers that are not finite", !compute_all_finite(r.compute, model_gradients(r.model), n),
         0);
    rig_close(&r);
}

static void compare_gradients(const struct model_config *c, const struct outcome *gpu,
                              const struct outcome *cpu, double bound)
{
    struct param_table t;
    struct arena a;
    arena_init(&a);
    model_params_build(c, &a, &t);
    for (size_t i = 0; i < t.n_rows; i++)
        want(t.rows[i].name,
             relative_l2(gpu->gradients + t.rows[i].offset, cpu->gradients + t.rows[i].offset,
                         t.rows[i].count),
             bound);
    arena_fini(&a);
}

/* In bf16 a choice of experts may fall the other way: there all are chosen. */
static void check_training(const char *name, struct model_config config, enum compute_dtype dtype)
{
    const struct model_config *c = &config;
    if (dtype == COMPUTE_BF16) config.n_experts_used = config.n_experts;
    struct outcome *o = mem_calloc(2, sizeof(*o));
    double bound = dtype == COMPUTE_F32 ? 2e-5 : 0.01;
    char text[96];
    snprintf(text, sizeof(text), "training %s %s", name, dtype == COMPUTE_F32 ? "fp32" : "bf16");
    train(c, dtype, true, &o[0]);
    train(c, dtype, false, &o[1]);
    want("loss", fabs(o[0].stats.nll / o[1].stats.nll - 1), bound);
    want("losses", relative_l2(o[0].nll, o[1].nll, M), bound);
    want("aux", fabs(o[0].stats.aux - o[1].stats.aux), 10 * bound);
    want("z", fabs(o[0].stats.z - o[1].stats.z), 10 * bound * (1 + o[1].stats.z));
    for (int i = 0; i < MOST && dtype == COMPUTE_F32; i++) {
        want("slots", fabs(o[0].load[i] - o[1].load[i]), 0);
        want("probabilities", fabs(o[0].prob[i] - o[1].prob[i]), 1e-4);
        want("biases", fabs(o[0].bias[i] - o[1].bias[i]), 1e-5);
    }
    compare_gradients(c, &o[0], &o[1], dtype == COMPUTE_F32 ? 2e-5 : 0.1);
    tell(text);
    mem_free(o[0].gradients);
    mem_free(o[1].gradients);
    mem_free(o);
}

/* ------------------------------------------------------------------ decoding */

/* A prompt, then tokens one by one, of two sequences that share their beginning. */
static void decode(const char *dir, const struct model_config *c, enum compute_dtype dtype,
                   bool gpu, float *logits)
{
    struct error e = {0};
    model_decoder_t *d;
    uint32_t tokens[48];
    struct model_row rows[48];
    struct rig r = open_rig(c, dtype, gpu, (struct model_options){.B = 1, .T = 4});
    must(model_load_weights(r.model, dir, &e), &e);
    must(model_decoder_new(r.model, &d, &e), &e);
    random_tokens(tokens, ARRAY_LEN(tokens), c->vocab_size, 5);
    int32_t s = model_sequence_open(d);
    for (int i = 0; i < 40; i++)
        rows[i] = (struct model_row){s, tokens[i], i, i >= 38};
    must(model_decode_rows(d, rows, 40, logits, &e), &e);
    int32_t fork = model_sequence_fork(d, s, 36);
    for (int i = 0; i < 4; i++)
        rows[i] =
            (struct model_row){i % 2 ? fork : s, tokens[40 + i], (i % 2 ? 36 : 40) + i / 2, true};
    must(model_decode_rows(d, rows, 4, logits + 2 * c->vocab_size, &e), &e);
    model_decoder_free(d);
    rig_close(&r);
}

static void check_decoding(const char *form, enum compute_dtype dtype)
{
    struct model_config c;
    struct error e = {0};
    struct arena a;
    char text[96];
    arena_init(&a);
    const char *dir = file_join(&a, "tests/golden/forms", form);
    must(model_config_load(file_join(&a, dir, "config.json"), &c, &e), &e);
    size_t n = (size_t)(6 * c.vocab_size);
    float *logits = mem_calloc(2 * n, sizeof(*logits));
    snprintf(text, sizeof(text), "decoding %s %s", form, dtype == COMPUTE_F32 ? "fp32" : "bf16");
    decode(dir, &c, dtype, true, logits);
    decode(dir, &c, dtype, false, logits + n);
    want("logits", relative_l2(logits, logits + n, n), dtype == COMPUTE_F32 ? 2e-5 : 0.02);
    tell(text);
    mem_free(logits);
    arena_fini(&a);
}

int main(int argc, char **argv)
{
    static const char *const forms[] = {"qwen3-experts",  "window-period", "qwen2",
                                        "rope-yarn-size", "output-bias",   "silu",
                                        "renormalised",   "rope-pairs"};
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    const struct model_config configs[] = {small_config(), small_grok2(), small_dense()};
    const char *const names[] = {"experts", "experts beside a dense branch", "dense"};
    for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++) {
        for (size_t i = 0; i < ARRAY_LEN(configs); i++)
            if (!quick || i == 1) check_training(names[i], configs[i], (enum compute_dtype)dtype);
        for (size_t i = 0; i < ARRAY_LEN(forms); i++)
            if (!quick || i == 0) check_decoding(forms[i], (enum compute_dtype)dtype);
    }
    return failed ? 1 : 0;
}
